// Times as people read them.

/** `68_250` becomes `1:08.2`. */
export function streamTime(ms: number): string {
  const tenths = Math.floor(ms / 100);
  const seconds = `${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  return `${hoursAndMinutes(ms)}:${seconds}`;
}

/** The same in whole seconds, for axes. */
export function shortTime(ms: number): string {
  return `${hoursAndMinutes(ms)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;
}

function hoursAndMinutes(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}

/** The time of day of an RFC 3339 time, or the empty text where it is none. */
export function timeOfDay(time: string): string {
  const moment = new Date(time);
  return Number.isNaN(moment.getTime()) ? "" : moment.toLocaleTimeString();
}
