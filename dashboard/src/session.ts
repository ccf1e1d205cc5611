// All that this page has heard: events in, what is drawn out. No part of it knows the screen.

import {
  asUtterance,
  isPosterior,
  type Label,
  type MonitorEvent,
  type Posterior,
  type State,
  type Utterance,
} from "./events";
import { TEXT } from "./text";

/** Utterances that are kept. Beyond, the oldest tenth goes: a page may stay open for days. */
const MOST_ENTRIES = 20_000;
const BETWEEN_RUNS_MS = 2_000;

export interface Spoken {
  /** Counts up over everything that this page has shown. */
  key: number;
  time: string;
  /** Start of this run of the monitor on the page's own clock; stream times are added to it. */
  origin_ms: number;
  said: Utterance;
  note?: undefined;
}

export interface Note {
  key: number;
  time: string;
  note: string;
  warning: boolean;
  /** Where it belongs on the page's own clock. */
  at_ms: number;
  mark: boolean;
  said?: undefined;
}

export type Entry = Spoken | Note;

export interface Provisional {
  t_ms: number;
  posterior: Posterior;
}

export interface Started {
  versions: Record<string, string>;
  model: { name: string; version: string; digest: string };
  modalities: string[];
  recogniser: string | null;
  notice: string;
}

export type Connection = "connecting" | "live" | "lost" | "token";

export class Session {
  entries: Entry[] = [];
  utterances: Spoken[] = [];
  provisional: Provisional[] = [];
  /** What is being said, as far as it is judged. */
  current: Utterance | undefined;
  state: State | undefined;
  speaking = false;
  speaking_since_ms = 0;
  muted = false;
  stopped = false;
  connection: Connection = "connecting";
  source = "";
  started: Started | undefined;
  received = 0;
  missed = 0n;
  lost_ms = 0;
  reconnects = 0;
  answer = "";
  lines: string[] = [];
  /** The greatest sequence so far: where a new connection goes on. */
  last: bigint | undefined;
  origin_ms = 0;
  /** The end of what was heard, on the page's own clock, and when that was told. */
  heard_ms = 0;
  heard_at = 0;
  version = 0;

  readonly #ids = new Set<string>();
  readonly #listeners = new Set<() => void>();
  readonly #now: () => number;
  readonly #most: number;
  #key = 0;
  #fresh = true;
  #resumed = false;

  constructor(now: () => number = () => performance.now(), most = MOST_ENTRIES) {
    this.#now = now;
    this.#most = most;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The page's own clock, which goes on between events while the monitor is heard. */
  clock(): number {
    if (this.connection !== "live" || this.stopped) return this.heard_ms;
    return this.heard_ms + (this.#now() - this.heard_at);
  }

  /** `resumed`: the monitor itself sends what was missed, and says what it no longer has. */
  setConnection(connection: Connection, resumed = false): void {
    this.#resumed = resumed;
    if (connection === "lost" && this.connection === "live") this.reconnects += 1;
    if (connection === "live") this.#fresh = true;
    else this.heard_ms = this.clock();
    this.heard_at = this.#now();
    this.connection = connection;
    this.speaking = false;
    this.current = undefined;
    this.#changed();
  }

  setAnswer(answer: string): void {
    this.answer = answer;
    this.#changed();
  }

  take(event: MonitorEvent, line: string): void {
    if (this.#isOldState(event)) {
      this.#setState(event);
      this.#changed();
      return;
    }
    if (this.#ids.has(event.id)) return;
    this.#remember(event.id);
    this.received += 1;
    this.source = event.source;
    if (event.kind === "stream.gap") this.#gap(event);
    else {
      this.#follow(event);
      if (event.sequence !== undefined) this.#keep(line);
      this.#show(event);
    }
    this.#changed();
  }

  /** On connecting comes first the state as it is, which is older than what follows. */
  #isOldState({ kind, sequence }: MonitorEvent): boolean {
    const first = this.#fresh;
    this.#fresh = false;
    return first && kind === "emotion.state" && (this.last === undefined || sequence !== this.last + 1n);
  }

  /** Goes on from the last event; says what is missing, and sees where a new run began. */
  #follow(event: MonitorEvent): void {
    const { sequence } = event;
    if (sequence === undefined) return;
    if (event.kind === "monitor.started") {
      this.#newRun();
    } else if (this.last !== undefined) {
      if (sequence <= this.last) this.#newRun();
      else if (sequence > this.last + 1n && !this.#resumed) {
        this.#addGap(event.time, sequence - this.last - 1n);
      }
    }
    // Only what was missed while away is counted here: on a connection, the monitor tells.
    this.#resumed = true;
    this.last = sequence;
  }

  #gap({ time, data }: MonitorEvent): void {
    const to = toBigInt(data.to_sequence);
    const first = this.last === undefined;
    if (to !== undefined && (this.last === undefined || to > this.last)) this.last = to;
    if (first) this.#addNote(time, TEXT.earlier);
    else this.#addGap(time, toBigInt(data.dropped) ?? 1n);
  }

  #addGap(time: string, dropped: bigint): void {
    this.missed += dropped;
    this.#addNote(time, TEXT.gap(String(dropped)), { warning: true });
  }

  #newRun(): void {
    this.speaking = false;
    this.stopped = false;
    this.current = undefined;
    if (this.entries.length === 0) return;
    this.origin_ms = this.heard_ms = this.clock() + BETWEEN_RUNS_MS;
    this.heard_at = this.#now();
  }

  #heard(stream_ms: unknown): void {
    if (typeof stream_ms !== "number") return;
    this.heard_ms = Math.max(this.heard_ms, this.origin_ms + stream_ms);
    this.heard_at = this.#now();
  }

  #show(event: MonitorEvent): void {
    const { kind, data, time } = event;
    switch (kind) {
      case "emotion.utterance":
        this.#addUtterance(event);
        break;
      case "emotion.provisional":
        this.#setProvisional(asUtterance(data));
        break;
      case "emotion.state":
        this.#setState(event);
        break;
      case "speech.started":
        this.speaking = true;
        this.#heard(data.start_ms);
        this.speaking_since_ms = this.origin_ms + Number(data.start_ms);
        break;
      case "speech.ended":
        this.speaking = false;
        this.#heard(data.end_ms);
        break;
      case "monitor.started":
        this.started = data as unknown as Started;
        this.#addNote(time, TEXT.started);
        break;
      case "monitor.stopped":
        this.heard_ms = this.clock();
        this.speaking = false;
        this.stopped = true;
        this.current = undefined;
        this.#addNote(time, TEXT.stopped);
        break;
      case "device.overflow":
        this.lost_ms += Number(data.lost_ms) || 0;
        this.#addNote(time, TEXT.audioLost(Number(data.lost_ms) || 0), { warning: true });
        break;
      case "device.muted":
        this.muted = data.muted !== false;
        this.#addNote(time, this.muted ? TEXT.muted : TEXT.unmuted);
        break;
      case "mark":
        this.#addNote(time, TEXT.mark(String(data.text ?? "")), { at: data.at_ms, mark: true });
        break;
      default: {
        const note = TEXT.device[kind];
        if (note) this.#addNote(time, note, { warning: kind !== "device.recovered" });
      }
    }
  }

  #addUtterance({ data, time }: MonitorEvent): void {
    const said = asUtterance(data);
    if (said === undefined) return;
    const spoken: Spoken = { key: this.#key++, time, origin_ms: this.origin_ms, said };
    this.#heard(said.end_ms + (said.latency_ms.total ?? 0));
    if (this.current && this.current.utterance <= said.utterance) this.current = undefined;
    this.utterances.push(spoken);
    this.#add(spoken);
    if (this.utterances.length > this.#most) this.utterances.splice(0, this.#most / 10);
  }

  #setProvisional(said: Utterance | undefined): void {
    if (said === undefined) return;
    this.current = said;
    this.speaking = true;
    this.speaking_since_ms = this.origin_ms + said.start_ms;
    this.#heard(said.end_ms);
    this.provisional.push({ t_ms: this.origin_ms + said.end_ms, posterior: said.posterior });
    if (this.provisional.length > this.#most) this.provisional.splice(0, this.#most / 10);
  }

  #setState({ data }: MonitorEvent): void {
    if (isPosterior(data.posterior)) this.state = data as unknown as State;
  }

  #addNote(
    time: string,
    note: string,
    { warning = false, mark = false, at }: { warning?: boolean; mark?: boolean; at?: unknown } = {},
  ): void {
    const at_ms = typeof at === "number" ? this.origin_ms + at : this.clock();
    this.#add({ key: this.#key++, time, note, warning, mark, at_ms });
  }

  #add(entry: Entry): void {
    this.entries.push(entry);
    if (this.entries.length > this.#most) this.entries.splice(0, this.#most / 10);
  }

  #keep(line: string): void {
    this.lines.push(line);
    if (this.lines.length > 3 * this.#most) this.lines.splice(0, this.#most / 10);
  }

  #remember(id: string): void {
    this.#ids.add(id);
    if (this.#ids.size > 3 * this.#most) this.#ids.delete(this.#ids.values().next().value as string);
  }

  #changed(): void {
    this.version += 1;
    for (const listener of this.#listeners) listener();
  }
}

function toBigInt(value: unknown): bigint | undefined {
  if (typeof value === "number" && Number.isInteger(value)) return BigInt(value);
  return typeof value === "string" && /^\d+$/.test(value) ? BigInt(value) : undefined;
}

export interface Filter {
  labels: ReadonlySet<Label>;
  words: string;
}

export function matches(entry: Entry, { labels, words }: Filter): boolean {
  const wanted = words.trim().toLowerCase();
  if (entry.said === undefined) return wanted === "" || entry.note.toLowerCase().includes(wanted);
  if (!labels.has(entry.said.label)) return false;
  return wanted === "" || (entry.said.transcript?.text ?? "").toLowerCase().includes(wanted);
}
