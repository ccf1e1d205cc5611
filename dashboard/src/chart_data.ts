// What the chart draws, as uPlot wants it.

import type { AlignedData } from "uplot";
import { EMOTIONS } from "./events";
import type { Session, Spoken } from "./session";

/** Provisional verdicts come twice a second: after a longer pause, somebody else speaks. */
const PAUSE_MS = 1_500;

export const start = ({ origin_ms, said }: Spoken) => origin_ms + said.start_ms;
export const end = ({ origin_ms, said }: Spoken) => origin_ms + said.end_ms;

/** Columns of time and of each emotion so far, for what lies between two times; a line ends at null. */
export function columns({ provisional }: Session, from: number, to: number): AlignedData {
  const times: number[] = [];
  const shares = EMOTIONS.map((): (number | null)[] => []);
  const first = firstFrom(provisional.length, (i) => provisional[i]!.t_ms >= from);
  let last = Number.NEGATIVE_INFINITY;
  for (let i = Math.max(0, first - 1); i < provisional.length; i++) {
    const { t_ms, posterior } = provisional[i]!;
    if (t_ms > to) break;
    if (t_ms - last > PAUSE_MS) {
      times.push(t_ms - 1);
      for (const column of shares) column.push(null);
    }
    times.push(t_ms);
    EMOTIONS.forEach((name, index) => {
      shares[index]!.push(posterior[name]);
    });
    last = t_ms;
  }
  return [times, ...shares];
}

/** The first of `count` places that is reached, where all after it are, too. */
export function firstFrom(count: number, reached: (index: number) => boolean): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (reached(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
