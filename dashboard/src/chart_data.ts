// What the chart draws, as uPlot wants it.

import type { AlignedData } from "uplot";
import { EMOTIONS } from "./events";
import { firstFrom } from "./order";
import type { Stream } from "./stream";

/** Provisional verdicts come twice a second: after a longer pause, somebody else speaks. */
const PAUSE_MS = 1_500;

/** Columns of time and of each emotion so far, for what lies between two times; a line ends at null. */
export function columns({ provisional }: Stream, from: number, to: number): AlignedData {
  const times: number[] = [];
  const shares = EMOTIONS.map((): (number | null)[] => []);
  const time = (i: number) => provisional[i]!.run.origin_ms + provisional[i]!.at_ms;
  const first = firstFrom(provisional.length, (i) => time(i) >= from);
  let last = Number.NEGATIVE_INFINITY;
  for (let i = Math.max(0, first - 1); i < provisional.length; i++) {
    const t_ms = time(i);
    if (t_ms > to) break;
    if (t_ms - last > PAUSE_MS) {
      times.push(t_ms - 1);
      for (const column of shares) column.push(null);
    }
    times.push(t_ms);
    EMOTIONS.forEach((name, index) => {
      shares[index]!.push(provisional[i]!.posterior[name]);
    });
    last = t_ms;
  }
  return [times, ...shares];
}

/** Steps between the marks of an axis of time: those of a clock. */
export const STEPS_MS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400,
].map((seconds) => 1000 * seconds);
