// What the chart draws, as uPlot wants it.

import type { AlignedData } from "uplot";
import { EMOTIONS, type Posterior } from "./events";
import type { Session, Spoken } from "./session";

interface Point {
  x: number;
  final: Posterior | null | undefined;
  sofar: Posterior | null | undefined;
}

type Column = (number | null | undefined)[];

/** Columns of time, final shares and provisional shares, for what lies between two times. */
export function columns(session: Session, from: number, to: number): AlignedData {
  const rows: Point[] = [];
  const { utterances, provisional } = session;
  for (let i = firstFrom(utterances.length, (i) => end(utterances[i]!) >= from); i < utterances.length; i++) {
    const spoken = utterances[i]!;
    if (start(spoken) > to) break;
    rows.push({ x: start(spoken), final: spoken.said.posterior, sofar: undefined });
    rows.push({ x: end(spoken), final: spoken.said.posterior, sofar: undefined });
    rows.push({ x: end(spoken) + 1, final: null, sofar: undefined });
  }
  let last = Number.NEGATIVE_INFINITY;
  for (
    let i = firstFrom(provisional.length, (i) => provisional[i]!.t_ms >= from);
    i < provisional.length;
    i++
  ) {
    const { t_ms, posterior } = provisional[i]!;
    if (t_ms > to) break;
    // They come twice a second: a longer pause is the end of an utterance.
    if (t_ms - last > 1_500) rows.push({ x: t_ms - 1, final: undefined, sofar: null });
    rows.push({ x: t_ms, final: undefined, sofar: posterior });
    last = t_ms;
  }
  rows.sort((a, b) => a.x - b.x);
  closeGaps(rows);
  const column = (of: "final" | "sofar", name: keyof Posterior): Column =>
    rows.map((row) => {
      const posterior = row[of];
      return posterior ? posterior[name] : posterior;
    });
  return [
    rows.map(({ x }) => x),
    ...EMOTIONS.map((name) => column("final", name)),
    ...EMOTIONS.map((name) => column("sofar", name)),
  ] as AlignedData;
}

/**
 * In uPlot, a line ends at null, and undefined is passed over. Between two utterances every row is null, or a
 * stroke would cross what is silence.
 */
function closeGaps(rows: Point[]): void {
  let open = false;
  let after: Point[] = [];
  for (const row of rows) {
    if (row.final !== undefined) open = row.final !== null;
    else if (!open) row.final = null;
    if (row.sofar === undefined) after.push(row);
    else {
      if (row.sofar === null) for (const passed of after) passed.sofar = null;
      after = [];
    }
  }
}

export const start = ({ origin_ms, said }: Spoken) => origin_ms + said.start_ms;
export const end = ({ origin_ms, said }: Spoken) => origin_ms + said.end_ms;

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
