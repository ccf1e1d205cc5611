// Runs where the browser hears: gathers what it hears into blocks. Built as a file of its own, for the policy of the page
// lets no script in that is not a file of the monitor.

declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

const BLOCKS_PER_S = 20;

class Recorder extends AudioWorkletProcessor {
  #block = new Float32Array(Math.round(sampleRate / BLOCKS_PER_S));
  #filled = 0;
  #ended = false;

  constructor() {
    super();
    this.port.onmessage = () => {
      this.port.postMessage(this.#block.slice(0, this.#filled));
      this.port.postMessage(null);
      this.#ended = true;
    };
  }

  process([channels]: Float32Array[][]): boolean {
    const [first] = channels ?? [];
    for (let i = 0; i < (first?.length ?? 0) && !this.#ended; i++) {
      let sum = 0;
      for (const channel of channels!) sum += channel[i]!;
      this.#block[this.#filled++] = sum / channels!.length;
      if (this.#filled === this.#block.length) {
        this.port.postMessage(this.#block.slice());
        this.#filled = 0;
      }
    }
    return !this.#ended;
  }
}

registerProcessor("recorder", Recorder);
