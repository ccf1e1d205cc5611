// What this page sends to the monitor: the microphone of the browser, and recordings, one after the other.

import type { Connection } from "../connection";
import type { Health } from "../health";
import { Observable } from "../observable";
import type { Session } from "../session";
import { TEXT } from "../text";
import { AudioProblem, AudioSocket } from "./audio_socket";
import { type Microphone, openMicrophone } from "./microphone";
import { isClipped, levelDbfs, toPcm16 } from "./pcm";
import { freeName, RATE_HZ, readRecording, streamName } from "./recording";

/** Blocks of the microphone, 20 a second, that wait for the monitor. A microphone cannot wait for longer. */
const MOST_BEHIND = 600;

export type Phase = "waiting" | "asking" | "sending" | "finishing" | "done" | "failed";

/** One microphone or file on its way. */
export interface Input {
  readonly key: number;
  readonly title: string;
  phase: Phase;
  /** Name of its stream, once that has begun. */
  stream: string;
  /** Share of the file that is judged. */
  progress: number;
  level_dbfs: number;
  clipped: boolean;
  /** What was understood of the open utterance. */
  partial: string;
  problem: string;
}

export class Inputs extends Observable {
  microphone: Input | undefined;
  /** What was chosen last is first. */
  files: Input[] = [];
  /** Called with the name of a stream that this page has begun. */
  onStream: (name: string) => void = () => {};

  readonly #session: Session;
  readonly #connection: Connection;
  #key = 0;
  #end: (() => Promise<void>) | undefined;
  #queue: Promise<void> = Promise.resolve();
  readonly #sockets = new Map<Input, AudioSocket>();

  constructor(session: Session, connection: Connection) {
    super();
    this.#session = session;
    this.#connection = connection;
  }

  get speaking(): boolean {
    const phase = this.microphone?.phase;
    return phase === "asking" || phase === "sending" || phase === "finishing";
  }

  /** Listens through this browser, in a stream of this name. */
  async speak(wanted: string): Promise<void> {
    if (this.speaking) return;
    const input = this.#input(TEXT.input.microphone, "asking");
    this.microphone = input;
    this.changed();
    let microphone: Microphone | undefined;
    try {
      // A monitor that is away is said to be, before the browser asks for a microphone.
      await this.#reach();
      microphone = await openMicrophone();
      const socket = await this.#open(input, wanted, microphone.sampleRate);
      await this.#send(input, microphone, socket);
      input.phase = "done";
    } catch (error) {
      this.#fail(input, error);
      await microphone?.end();
    }
    this.changed();
  }

  /** Ends what the microphone says, and waits for its last verdict. */
  async stop(): Promise<void> {
    await this.#end?.();
  }

  analyse(files: Iterable<File>): void {
    const added: Input[] = [];
    for (const file of files) {
      const input = this.#input(file.name, "waiting");
      added.push(input);
      this.#queue = this.#queue.then(() => this.#analyse(input, file));
    }
    this.files = [...added, ...this.files];
    this.changed();
  }

  /** Gives a file up, or takes it from the list. */
  remove(input: Input): void {
    this.files = this.files.filter((other) => other !== input);
    this.#sockets.get(input)?.abandon();
    this.changed();
  }

  async #send(input: Input, microphone: Microphone, socket: AudioSocket): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#end = async () => {
        this.#end = undefined;
        input.phase = "finishing";
        this.changed();
        await microphone.end();
        resolve(socket.finish());
      };
      socket.onLost = reject;
      socket.onPartial = (words) => {
        input.partial = words;
      };
      microphone.listen(
        (samples) => {
          input.level_dbfs = levelDbfs(samples);
          input.clipped = isClipped(samples);
          socket.send(toPcm16(samples));
          if (socket.behind > MOST_BEHIND) reject(new AudioProblem(TEXT.input.behind));
          this.changed();
        },
        () => {
          input.problem = TEXT.input.gone;
          void this.stop();
        },
      );
    }).finally(() => {
      this.#end = undefined;
      if (input.phase !== "finishing") socket.abandon();
    });
  }

  async #analyse(input: Input, file: File): Promise<void> {
    if (!this.files.includes(input)) return;
    try {
      input.phase = "asking";
      this.changed();
      const recording = await readRecording(file);
      if (!this.files.includes(input)) return;
      const socket = await this.#open(input, streamName(file.name), RATE_HZ);
      for (const block of recording.blocks) {
        socket.send(block);
        await socket.room();
        input.progress = socket.answered / recording.count;
        this.changed();
      }
      input.phase = "finishing";
      this.changed();
      await socket.finish();
      input.progress = 1;
      input.phase = "done";
    } catch (error) {
      this.#fail(input, error);
    }
    this.#sockets.delete(input);
    this.changed();
  }

  async #open(input: Input, wanted: string, rate: number): Promise<AudioSocket> {
    const health = await this.#reach();
    const running = new Set(health.streams.map(({ name }) => name));
    // A name that was here before is another recording; a microphone goes on under its own.
    const taken =
      input === this.microphone ? running : new Set([...running, ...this.#session.streams.keys()]);
    const name = freeName(wanted, taken);
    const socket = await AudioSocket.open(name, rate, this.#connection.token);
    this.#sockets.set(input, socket);
    input.stream = name;
    input.phase = "sending";
    this.changed();
    this.onStream(name);
    return socket;
  }

  /** How the monitor fares; throws AudioProblem where it is away. */
  async #reach(): Promise<Health> {
    const health = await this.#connection.look();
    if (health) return health;
    throw new AudioProblem(
      this.#session.connection === "stopped" ? TEXT.stoppedWords : TEXT.warn.disconnected,
    );
  }

  #input(title: string, phase: Phase): Input {
    return {
      key: this.#key++,
      title,
      phase,
      stream: "",
      progress: 0,
      level_dbfs: Number.NEGATIVE_INFINITY,
      clipped: false,
      partial: "",
      problem: "",
    };
  }

  #fail(input: Input, error: unknown): void {
    input.phase = "failed";
    input.problem = error instanceof Error ? error.message : String(error);
  }
}
