// One stream as this page has heard it: events in, what is drawn out. No part of it knows the screen.

import {
  asUtterance,
  isPosterior,
  type Label,
  type MonitorEvent,
  type Posterior,
  type State,
  type Utterance,
} from "./events";
import { Meter } from "./meter";
import { TEXT } from "./text";

/** A stream that tells of its audio so much later than it should has stood still, as a sleeping machine does. */
const STOOD_STILL_MS = 10_000;
/** Audio that comes so much sooner than it could be spoken is a recording, read faster. */
const FASTER_MS = 2_000;

/** A stretch over which the audio of a stream and the clock on the wall go together. */
export interface Run {
  /** Where its audio starts on the clock of the page; stream times are added to it. */
  origin_ms: number;
  /** Where it seemed to start when it began. */
  begun_ms: number;
  /** How much of it was heard. */
  heard_ms: number;
  /** Whether it is faster than the clock on the wall: then it ends now, and began as if it had been spoken. */
  fast: boolean;
  /** It begins after what was heard before. */
  readonly least_ms: number;
}

export interface Spoken {
  /** Counts up over everything that this page has shown. */
  key: number;
  time: string;
  event: MonitorEvent;
  stream: Stream;
  run: Run;
  said: Utterance;
  note?: undefined;
}

export interface Note {
  key: number;
  time: string;
  stream: Stream;
  note: string;
  warning: boolean;
  mark: boolean;
  run: Run;
  /** Where it belongs on the stream's own clock. */
  at_ms: number;
  said?: undefined;
}

export type Entry = Spoken | Note;
/** What an event leads to; the page numbers it. */
export type Told = Omit<Spoken, "key"> | Omit<Note, "key">;

export interface Provisional {
  run: Run;
  at_ms: number;
  posterior: Posterior;
}

export interface Started {
  versions: Record<string, string>;
  model: { name: string; version: string; digest: string };
  modalities: string[];
  /** Name of its model, or `off`. */
  recogniser: string;
  /** Whether that is the one that comes with the monitor; events of earlier versions do not say. */
  embedded?: boolean;
  notice: string;
  /** Whether the audio is kept. */
  recording?: boolean;
}

/** Start and end on the clock of the page. */
export const start = ({ run, said }: Spoken) => run.origin_ms + said.start_ms;
export const end = ({ run, said }: Spoken) => run.origin_ms + said.end_ms;

export class Stream {
  readonly source: string;
  readonly name: string;
  utterances: Spoken[] = [];
  notes: Note[] = [];
  provisional: Provisional[] = [];
  /** What is being said, as far as it is judged. */
  current: Utterance | undefined;
  state: State | undefined;
  readonly meter = new Meter();
  speaking = false;
  speaking_since_ms = 0;
  muted = false;
  stopped = false;
  started: Started | undefined;
  missed = 0n;
  lost_ms = 0;
  /** The greatest sequence so far: where a new connection goes on. */
  last: bigint | undefined;
  run: Run = newRun(Number.NEGATIVE_INFINITY, 0);

  readonly #most: number;
  #fresh = true;
  #resumed = false;

  constructor(source: string, most: number) {
    this.source = source;
    this.name = streamOf(source);
    this.#most = most;
  }

  /** The end of what was heard, on the clock of the page. */
  get end_ms(): number {
    return this.run.origin_ms + this.run.heard_ms;
  }

  get label(): Label | undefined {
    return this.state?.label;
  }

  /** A connection begins or ends. `resumed`: the monitor itself sends what was missed, and says what it lacks. */
  reconnected(resumed: boolean): void {
    this.#fresh = true;
    this.#resumed = resumed;
    this.speaking = false;
    this.current = undefined;
    this.meter.show(undefined);
  }

  take(event: MonitorEvent): Told[] {
    if (event.kind === "stream.gap") return this.#gap(event);
    return [...this.#follow(event), ...this.#show(event)];
  }

  /** On connecting comes first the state as it is, which is older than what follows. */
  takeOldState(event: MonitorEvent): boolean {
    const first = this.#fresh;
    this.#fresh = false;
    const { kind, sequence } = event;
    const old = first && kind === "emotion.state" && (this.last === undefined || sequence !== this.last + 1n);
    if (old) this.#setState(event);
    return old;
  }

  /** Goes on from the last event; says what is missing, and sees where a new run began. */
  #follow(event: MonitorEvent): Told[] {
    const { sequence } = event;
    if (sequence === undefined) return [];
    const [last, resumed] = [this.last, this.#resumed];
    // Only what was missed while away is counted here: on a connection, the monitor tells.
    this.#resumed = true;
    this.last = sequence;
    const again = last !== undefined && (sequence <= last || this.stopped);
    if (event.kind === "monitor.started" || again) {
      this.#newRun(Date.parse(event.time));
    } else if (last !== undefined && sequence > last + 1n && !resumed) {
      return [this.#missed(event.time, sequence - last - 1n)];
    }
    return [];
  }

  #gap({ time, data }: MonitorEvent): Told[] {
    const to = toBigInt(data.to_sequence);
    if (to !== undefined && (this.last === undefined || to > this.last)) this.last = to;
    return [this.#missed(time, toBigInt(data.dropped) ?? 1n)];
  }

  #missed(time: string, dropped: bigint): Told {
    this.missed += dropped;
    return this.#note(time, TEXT.gap(String(dropped)), { warning: true });
  }

  #newRun(origin_ms: number): void {
    this.speaking = false;
    this.stopped = false;
    this.current = undefined;
    const least_ms = Math.max(0, this.end_ms);
    this.run = newRun(Math.max(least_ms, origin_ms), least_ms);
  }

  /** The event of `time` tells of audio at `at_ms`: no event comes before its audio, so the earliest place is right. */
  #heard(time: string, at_ms: unknown): void {
    const origin_ms = Date.parse(time) - Number(at_ms);
    if (typeof at_ms !== "number" || Number.isNaN(origin_ms)) return;
    if (this.run.origin_ms === Number.NEGATIVE_INFINITY) this.run = newRun(origin_ms, 0);
    const late_ms = origin_ms - this.run.origin_ms;
    if (late_ms > STOOD_STILL_MS) {
      const { speaking, current } = this;
      this.#newRun(origin_ms);
      Object.assign(this, { speaking, current });
    } else if (late_ms < 0) {
      this.run.origin_ms = Math.max(this.run.least_ms, origin_ms);
      this.run.fast ||= this.run.begun_ms - origin_ms > FASTER_MS;
    }
    this.run.heard_ms = Math.max(this.run.heard_ms, at_ms);
  }

  #show(event: MonitorEvent): Told[] {
    const { kind, data, time } = event;
    switch (kind) {
      case "emotion.utterance":
        return this.#addUtterance(event);
      case "emotion.provisional":
        this.#setProvisional(time, asUtterance(data));
        return [];
      case "emotion.state":
        this.#setState(event);
        return [];
      case "speech.started":
        this.speaking = true;
        this.#heard(time, data.start_ms);
        this.speaking_since_ms = Number(data.start_ms);
        return [];
      case "speech.ended":
        this.speaking = false;
        this.#heard(time, data.end_ms);
        return [];
      case "monitor.started":
        this.started = data as unknown as Started;
        this.state = undefined;
        this.muted = false;
        return [this.#note(time, TEXT.started)];
      case "monitor.stopped":
        this.#heard(time, data.audio_ms);
        this.speaking = false;
        this.stopped = true;
        this.current = undefined;
        this.meter.show(undefined);
        return [this.#note(time, TEXT.endedNote)];
      case "monitor.degraded":
        return [this.#note(time, TEXT.degraded(String(data.component)), { at: data.at_ms, warning: true })];
      case "monitor.recovered":
        return [this.#note(time, TEXT.recovered(String(data.component)), { at: data.at_ms })];
      case "device.overflow":
        this.lost_ms += Number(data.lost_ms) || 0;
        return [this.#note(time, TEXT.audioLost(Number(data.lost_ms) || 0), { warning: true })];
      case "device.muted":
        this.muted = data.active !== false;
        this.meter.show(undefined);
        return [this.#note(time, this.muted ? TEXT.muted : TEXT.unmuted)];
      case "mark":
        this.#heard(time, data.at_ms);
        return [this.#note(time, TEXT.mark(String(data.text ?? "")), { at: data.at_ms, mark: true })];
      case "device.lost":
        this.meter.show(undefined);
        return [this.#note(time, TEXT.happened[kind]!, { warning: true })];
      default: {
        const over = data.active === false;
        const note = (over ? TEXT.over : TEXT.happened)[kind];
        return note ? [this.#note(time, note, { warning: !over && kind !== "device.recovered" })] : [];
      }
    }
  }

  #addUtterance(event: MonitorEvent): Told[] {
    const said = asUtterance(event.data);
    if (said === undefined) return [];
    this.#heard(event.time, said.end_ms);
    if (this.current && this.current.utterance <= said.utterance) this.current = undefined;
    return [{ time: event.time, event, stream: this, run: this.run, said }];
  }

  /** Numbered by the page. */
  keep(entry: Entry): void {
    if (entry.said === undefined) this.notes.push(entry);
    else this.utterances.push(entry);
    trim(entry.said === undefined ? this.notes : this.utterances, this.#most);
  }

  #setProvisional(time: string, said: Utterance | undefined): void {
    if (said === undefined) return;
    this.current = said;
    this.speaking = true;
    this.speaking_since_ms = said.start_ms;
    this.#heard(time, said.end_ms);
    this.provisional.push({ run: this.run, at_ms: said.end_ms, posterior: said.posterior });
    trim(this.provisional, this.#most);
  }

  #setState({ data }: MonitorEvent): void {
    if (isPosterior(data.posterior)) this.state = data as unknown as State;
  }

  #note(
    time: string,
    note: string,
    { warning = false, mark = false, at }: { warning?: boolean; mark?: boolean; at?: unknown } = {},
  ): Told {
    const at_ms = typeof at === "number" ? at : this.run.heard_ms;
    return { time, stream: this, run: this.run, note, warning, mark, at_ms };
  }
}

/** `/stser/node/mic` is of the stream `mic`. */
export const streamOf = (source: string): string => source.split("/").at(-1) ?? source;

const newRun = (origin_ms: number, least_ms: number): Run => ({
  origin_ms,
  begun_ms: origin_ms,
  heard_ms: 0,
  fast: false,
  least_ms,
});

/** Old entries go before memory does: the oldest tenth of what is kept. */
export function trim(list: unknown[], most: number): void {
  if (list.length > most) list.splice(0, Math.ceil(most / 10));
}

function toBigInt(value: unknown): bigint | undefined {
  if (typeof value === "number" && Number.isInteger(value)) return BigInt(value);
  return typeof value === "string" && /^\d+$/.test(value) ? BigInt(value) : undefined;
}
