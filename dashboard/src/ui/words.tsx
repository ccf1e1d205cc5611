// The words of an utterance and what weighed in it. Words reach the page as text, never as markup.

import type { Utterance } from "../events";
import { TEXT } from "../text";

const HEAVY = 1.25;

/** Share of attention of each word relative to an even share, or none where they do not belong together. */
export function weights({ transcript, salience }: Utterance): number[] {
  const count = transcript?.words.length ?? 0;
  if (!salience || salience.words.length !== count) return [];
  return salience.words.map((share) => share * count);
}

export function Words({ said }: { said: Utterance }) {
  const { transcript } = said;
  if (transcript === null) return <span class="absent">{TEXT.noTranscript}</span>;
  if (!transcript.text) return <span class="absent">{TEXT.noWords}</span>;
  const heaviness = weights(said);
  if (heaviness.length === 0) return <>{transcript.text}</>;
  return (
    <>
      {transcript.words.map(({ word }, index) => {
        const gap = index > 0 ? " " : "";
        if (heaviness[index]! < HEAVY) return <span key={index}>{gap + word}</span>;
        return (
          <span key={index}>
            {gap}
            <mark title={TEXT.heavy}>{word}</mark>
          </span>
        );
      })}
    </>
  );
}

/** Attention over time as the outline of an area, 1 wide and 1 high. */
export function salienceArea({ salience, start_ms, end_ms }: Utterance): string {
  const speech = salience?.speech ?? [];
  if (!salience || speech.length < 2 || end_ms <= start_ms) return "";
  const highest = Math.max(...speech, 1e-9);
  const x = (index: number) => Math.min(1, ((index + 0.5) * salience.hop_ms) / (end_ms - start_ms));
  const points = speech.map((share, index) => `${x(index).toFixed(4)} ${(1 - share / highest).toFixed(3)}`);
  return `M0 1L0 ${points[0]!.split(" ")[1]}L${points.join("L")}L1 ${points.at(-1)!.split(" ")[1]}L1 1Z`;
}

/** A block as wide as the utterance is long, with what weighed drawn over it. */
export function Track({ said, whole_ms }: { said: Utterance; whole_ms: number }) {
  const width = Math.min(1, (said.end_ms - said.start_ms) / whole_ms);
  return (
    <span class="duration" data-emotion={said.label} style={{ width: `${100 * width}%` }}>
      <svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">
        <path d={salienceArea(said)} />
      </svg>
    </span>
  );
}
