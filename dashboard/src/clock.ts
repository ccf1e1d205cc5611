// Times as people read them.

import type { Stream } from "./stream";

/** `68_250` becomes `1:08.2`. */
export function streamTime(ms: number): string {
  const tenths = Math.floor(ms / 100);
  const seconds = `${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  return `${hoursAndMinutes(ms)}:${seconds}`;
}

/** The same in whole seconds. */
export function shortTime(ms: number): string {
  return `${hoursAndMinutes(ms)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;
}

function hoursAndMinutes(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}

/** The time of day of an RFC 3339 time or of milliseconds, or the empty text where it is none. */
export function timeOfDay(time: string | number): string {
  const moment = new Date(time);
  return Number.isNaN(moment.getTime()) ? "" : moment.toLocaleTimeString();
}

/**
 * How an axis counts the clock of the page: a recording from its start, all else as the time of day.
 * `zero_ms` is where the marks of the axis count from.
 */
export function axisTime(streams: readonly Stream[]): { zero_ms: number; words: (ms: number) => string } {
  const run = streams.length === 1 ? streams[0]!.run : undefined;
  if (run?.fast) {
    const zero_ms = run.origin_ms;
    return { zero_ms, words: (ms) => (ms < zero_ms ? "" : shortTime(Math.round(ms - zero_ms))) };
  }
  return { zero_ms: 0, words: timeOfDay };
}
