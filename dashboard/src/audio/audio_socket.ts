// Audio to the monitor: vosk-server's protocol over `/audio`, as docs/wire.md has it.

import { askWhy, socketAddress } from "../connection";
import { TEXT } from "../text";

const ORDERLY = 1000;
const UPGRADE_REQUIRED = 426;
/** Each message is answered once. So many may wait for their answer: a recording is sent no faster than it is judged. */
const WINDOW = 8;

/** Why no audio goes to the monitor, in words for people. */
export class AudioProblem extends Error {}

export class AudioSocket {
  /** What was understood of the open utterance. */
  onPartial: (words: string) => void = () => {};
  /** The connection has ended before it should. */
  onLost: (problem: AudioProblem) => void = () => {};
  sent = 0;
  answered = 0;
  readonly #socket: WebSocket;
  #end: { orderly: boolean; words: string } | undefined;
  #finishing = false;
  #waiting: (() => void)[] = [];

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#take(String(data));
    socket.onclose = ({ code, reason }) => {
      this.#end = { orderly: code === ORDERLY && this.#finishing, words: TEXT.input.closed(code, reason) };
      if (!this.#end.orderly) this.onLost(new AudioProblem(this.#end.words));
      this.#wake();
    };
  }

  /**
   * Opens a stream of this name.
   *
   * Throws AudioProblem where the monitor does not take it.
   */
  static async open(stream: string, sampleRate: number, token: string): Promise<AudioSocket> {
    const address = socketAddress("audio");
    address.searchParams.set("stream", stream);
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    const opened = await new Promise<boolean>((resolve) => {
      socket.onopen = () => resolve(true);
      socket.onclose = () => resolve(false);
    });
    if (!opened) throw new AudioProblem(await whyRefused(address));
    if (token) socket.send(JSON.stringify({ type: "auth", token }));
    socket.send(JSON.stringify({ config: { sample_rate: sampleRate, events: true } }));
    return new AudioSocket(socket);
  }

  /** How many messages wait for their answer. */
  get behind(): number {
    return this.sent - this.answered;
  }

  send(samples: Int16Array): void {
    if (this.#end) return;
    this.#socket.send(samples as Int16Array<ArrayBuffer>);
    this.sent += 1;
  }

  /**
   * Waits until few messages wait for their answer.
   *
   * Throws AudioProblem where the connection has ended.
   */
  async room(): Promise<void> {
    while (this.behind >= WINDOW && !this.#end) await this.#news();
    if (this.#end) throw new AudioProblem(this.#end.words);
  }

  /**
   * Says that no more comes, and waits until all is judged.
   *
   * Throws AudioProblem where the connection ended before.
   */
  async finish(): Promise<void> {
    this.#finishing = true;
    if (!this.#end) this.#socket.send(JSON.stringify({ eof: 1 }));
    while (!this.#end) await this.#news();
    if (!this.#end.orderly) throw new AudioProblem(this.#end.words);
  }

  /** Leaves at once: what was not judged yet is given up. */
  abandon(): void {
    this.onLost = () => {};
    this.#socket.close();
  }

  #take(body: string): void {
    let tree: { specversion?: unknown; partial?: unknown; text?: unknown };
    try {
      tree = JSON.parse(body);
    } catch {
      return;
    }
    // Events come on the page's own connection, too, like those of any other stream.
    if (tree.specversion !== undefined) return;
    this.answered += 1;
    this.onPartial(typeof tree.partial === "string" ? tree.partial : "");
    this.#wake();
  }

  #news(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** Why a handshake failed, in words for people. */
async function whyRefused(address: URL): Promise<string> {
  const answer = await askWhy(address);
  if (answer === undefined) return TEXT.warn.disconnected;
  const words = (await answer.text()).trim();
  return answer.status === UPGRADE_REQUIRED || !words ? TEXT.input.refused : TEXT.refused(words);
}
