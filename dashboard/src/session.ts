// All that this page has heard, of every stream. No part of it knows the screen.

import { asLevel, type Label, type MonitorEvent } from "./events";
import type { Health } from "./health";
import { Observable } from "./observable";
import { insert } from "./order";
import { type Entry, type Spoken, Stream, streamOf, type Told, trim } from "./stream";

/** Utterances that are kept. Beyond, the oldest tenth goes: a page may stay open for days. */
const MOST_ENTRIES = 20_000;

const MOST_LANES = 8;

/** `stopped`: the monitor has ended in order. */
export type Connection = "connecting" | "live" | "lost" | "stopped" | "token";

export class Session extends Observable {
  /** By name, in the order in which they were heard first. */
  readonly streams = new Map<string, Stream>();
  entries: Entry[] = [];
  utterances: Spoken[] = [];
  lines: { stream: Stream; body: string }[] = [];
  connection: Connection = "connecting";
  health: Health | undefined;
  received = 0;
  reconnects = 0;
  answer = "";
  node = "";

  readonly #ids = new Set<string>();
  readonly #now: () => number;
  readonly #most: number;
  #key = 0;
  /** The monitor's clock less this machine's. Whatever it tells was told a moment ago, so the greatest is right. */
  #ahead_ms = Number.NEGATIVE_INFINITY;
  #frozen_ms = 0;
  #resumed = false;

  constructor(now: () => number = Date.now, most = MOST_ENTRIES) {
    super();
    this.#now = now;
    this.#most = most;
  }

  get missed(): bigint {
    return [...this.streams.values()].reduce((sum, { missed }) => sum + missed, 0n);
  }

  get lost_ms(): number {
    return [...this.streams.values()].reduce((sum, { lost_ms }) => sum + lost_ms, 0);
  }

  /** The monitor's time in milliseconds, which stands still while the monitor is not heard. */
  clock(): number {
    return this.connection === "live" ? this.#monitorTime() : this.#frozen_ms;
  }

  /** `resumed`: the monitor itself sends what was missed, and says what it no longer has. */
  setConnection(connection: Connection, resumed = false): void {
    if (this.connection === "live" && (connection === "lost" || connection === "stopped"))
      this.reconnects += 1;
    if (connection === "live") {
      this.#ahead_ms = Number.NEGATIVE_INFINITY;
      this.answer = "";
    } else if (this.connection === "live") this.#frozen_ms = this.#monitorTime();
    if (connection === "stopped") this.health = undefined;
    this.connection = connection;
    this.#resumed = resumed;
    for (const stream of this.streams.values()) stream.reconnected(resumed);
    this.changed();
  }

  setHealth(health: Health | undefined): void {
    this.health = health;
    if (health) this.#tellTime(health.time_ms);
    // Who comes while a stream is muted was not told by an event.
    for (const { name, muted } of health?.streams ?? []) {
      const stream = this.streams.get(name);
      if (stream) stream.muted = muted;
    }
    this.changed();
  }

  setAnswer(answer: string): void {
    this.answer = answer;
    this.changed();
  }

  take(event: MonitorEvent, line: string): void {
    // That the past of a stream is no longer kept says nothing to who never heard of it.
    if (event.kind === "stream.gap" && !this.streams.has(streamOf(event.source))) return;
    if (event.kind === "audio.level") {
      this.streams.get(streamOf(event.source))?.meter.show(asLevel(event.data));
      return;
    }
    const stream = this.#stream(event.source);
    const old = stream.takeOldState(event);
    if (!old && !this.#ids.has(event.id)) {
      this.#remember(event.id);
      this.received += 1;
      this.#tellTime(Date.parse(event.time));
      for (const told of stream.take(event)) this.#add(told);
      if (event.sequence !== undefined) {
        this.lines.push({ stream, body: line });
        trim(this.lines, 3 * this.#most);
      }
    }
    this.changed();
  }

  #stream(source: string): Stream {
    const name = streamOf(source);
    let stream = this.streams.get(name);
    if (stream === undefined) {
      stream = new Stream(source, this.#most);
      stream.reconnected(this.#resumed);
      this.streams.set(name, stream);
      this.node = source.split("/").at(-2) ?? "";
    }
    return stream;
  }

  #add(told: Told): void {
    const entry: Entry = { key: this.#key++, ...told };
    insert(this.entries, entry);
    trim(this.entries, this.#most);
    entry.stream.keep(entry);
    if (entry.said === undefined) return;
    insert(this.utterances, entry);
    trim(this.utterances, this.#most);
  }

  #tellTime(time_ms: number): void {
    if (!Number.isNaN(time_ms)) this.#ahead_ms = Math.max(this.#ahead_ms, time_ms - this.#now());
  }

  #monitorTime(): number {
    const now = this.#now();
    return this.#ahead_ms === Number.NEGATIVE_INFINITY
      ? Math.max(now, this.#frozen_ms)
      : now + this.#ahead_ms;
  }

  #remember(id: string): void {
    this.#ids.add(id);
    if (this.#ids.size > 3 * this.#most) this.#ids.delete(this.#ids.values().next().value as string);
  }
}

/** What is looked at: one stream, or all of them together. */
export interface View {
  streams: Stream[];
  utterances: readonly Spoken[];
}

/** `name`: of one stream; where there is none of that name, all. */
export function view(session: Session, name: string): View {
  const one = session.streams.get(name);
  if (one) return { streams: [one], utterances: one.utterances };
  return { streams: [...session.streams.values()], utterances: session.utterances };
}

/** Streams that have a lane in a chart of several: beyond, those that ended first have none. */
export function lanes(streams: readonly Stream[]): readonly Stream[] {
  if (streams.length <= MOST_LANES) return streams;
  const younger = [...streams].sort((a, b) => Number(a.stopped) - Number(b.stopped) || b.end_ms - a.end_ms);
  const kept = new Set(younger.slice(0, MOST_LANES));
  return streams.filter((stream) => kept.has(stream));
}

/** Where the present of what is looked at is, on the clock of the page: what has ended stands at its end. */
export function present(session: Session, streams: readonly Stream[]): number {
  const ends = streams.map(({ end_ms }) => end_ms).filter(Number.isFinite);
  const last = Math.max(...ends, 0);
  const over = ends.length > 0 && streams.every(({ stopped }) => stopped);
  return over ? last : Math.max(session.clock(), last);
}

export interface Filter {
  stream: string;
  labels: ReadonlySet<Label>;
  words: string;
}

export function matches(entry: Entry, { stream, labels, words }: Filter): boolean {
  if (stream !== "" && entry.stream.name !== stream) return false;
  const wanted = words.trim().toLowerCase();
  if (entry.said === undefined) return wanted === "" || entry.note.toLowerCase().includes(wanted);
  if (!labels.has(entry.said.label)) return false;
  return wanted === "" || (entry.said.transcript?.text ?? "").toLowerCase().includes(wanted);
}
