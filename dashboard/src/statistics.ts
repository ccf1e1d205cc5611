// Figures over a session.

import { EMOTIONS, LABELS, type Label, type Posterior } from "./events";
import { end, type Run, type Spoken, start } from "./stream";

const TREND_STEPS_MS = [5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000];
const TREND_POINTS = 60;

export interface Share {
  label: Label;
  ms: number;
  share: number;
}

const duration = ({ said }: Spoken) => said.end_ms - said.start_ms;

/** How much of the time in which somebody spoke went to each label. */
export function shares(utterances: readonly Spoken[]): Share[] {
  const sums = new Map<Label, number>(LABELS.map((label) => [label, 0]));
  for (const spoken of utterances) {
    sums.set(spoken.said.label, (sums.get(spoken.said.label) ?? 0) + duration(spoken));
  }
  const whole = [...sums.values()].reduce((sum, ms) => sum + ms, 0);
  return LABELS.map((label) => {
    const ms = sums.get(label) ?? 0;
    return { label, ms, share: whole > 0 ? ms / whole : 0 };
  });
}

/** `counts[a][b]`: how often `b` came right after `a` within one run of one stream. */
export function transitions(utterances: readonly Spoken[]): Record<Label, Record<Label, number>> {
  const zero = () => Object.fromEntries(LABELS.map((label) => [label, 0]));
  const counts = Object.fromEntries(LABELS.map((label) => [label, zero()])) as Record<
    Label,
    Record<Label, number>
  >;
  const before = new Map<Run, Label>();
  for (const { run, said } of utterances) {
    const row = counts[before.get(run) ?? said.label];
    if (row && before.has(run)) row[said.label] += 1;
    before.set(run, said.label);
  }
  return counts;
}

/** From the first word to the last, on the clock of the page. */
export function extent(utterances: readonly Spoken[]): { from: number; to: number } {
  let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const spoken of utterances) {
    from = Math.min(from, start(spoken));
    to = Math.max(to, end(spoken));
  }
  return utterances.length > 0 ? { from, to } : { from: 0, to: 0 };
}

/** Mean posterior over steps of time, weighted with duration; a step in which nobody spoke is left out. */
export function trend(utterances: readonly Spoken[]): { at_ms: number; posterior: Posterior }[] {
  const { from, to } = extent(utterances);
  const whole_ms = to - from;
  const step_ms = TREND_STEPS_MS.find((step) => whole_ms <= step * TREND_POINTS) ?? TREND_STEPS_MS.at(-1)!;
  const steps = new Map<number, { ms: number; sums: Posterior }>();
  for (const spoken of utterances) {
    const step = Math.floor(start(spoken) / step_ms);
    let bin = steps.get(step);
    if (bin === undefined) {
      bin = { ms: 0, sums: { angry: 0, happy: 0, neutral: 0, sad: 0 } };
      steps.set(step, bin);
    }
    const ms = Math.max(1, duration(spoken));
    bin.ms += ms;
    for (const name of EMOTIONS) bin.sums[name] += ms * spoken.said.posterior[name];
  }
  return [...steps.entries()]
    .sort(([a], [b]) => a - b)
    .map(([step, { ms, sums }]) => ({
      at_ms: (step + 0.5) * step_ms,
      posterior: Object.fromEntries(EMOTIONS.map((name) => [name, sums[name] / ms])) as Posterior,
    }));
}

/** Nearest-rank percentile; undefined for no values. */
export function percentile(values: readonly number[], percent: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
}
