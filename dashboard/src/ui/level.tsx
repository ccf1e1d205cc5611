// How loud it is, and how loud the noise.

import type { Level, Utterance } from "../events";
import type { Stream } from "../stream";
import { TEXT } from "../text";
import { useChanges } from "./hooks";

const QUIETEST_DB = -90;

const fromLeft = (dbfs: number) => `${100 * Math.min(1, Math.max(0, 1 - dbfs / QUIETEST_DB))}%`;

/** Of the moment; of the last utterance where the stream is not heard. */
export function LevelMeter({ stream }: { stream: Stream }) {
  useChanges(stream.meter);
  const { level } = stream.meter;
  const last = (stream.current ?? stream.utterances.at(-1)?.said)?.audio;
  return (
    <>
      <h3>{level ? TEXT.levelNow : TEXT.level}</h3>
      {level ? <LevelNow level={level} /> : <LevelOf audio={last} ended={stream.stopped} />}
      {last?.clipped && <p class="small warning">{TEXT.clipped}</p>}
    </>
  );
}

function LevelNow({ level: { level_dbfs, noise_floor_dbfs, speech } }: { level: Level }) {
  return (
    <>
      <LevelBar level={level_dbfs} floor={noise_floor_dbfs} speech={speech} />
      <p class="small">{TEXT.levelNowWords(level_dbfs, noise_floor_dbfs, speech)}</p>
    </>
  );
}

function LevelOf({ audio, ended }: { audio: Utterance["audio"] | undefined; ended: boolean }) {
  return (
    <>
      <LevelBar level={audio?.level_dbfs} floor={audio?.noise_floor_dbfs} clipped={audio?.clipped ?? false} />
      <p class="small">
        {audio
          ? TEXT.levelWords(audio.level_dbfs, audio.noise_floor_dbfs, audio.snr_db)
          : TEXT.levelNone(ended)}
      </p>
    </>
  );
}

/** One line, where several streams are seen at once. */
export function SmallMeter({ stream }: { stream: Stream }) {
  useChanges(stream.meter);
  const { level } = stream.meter;
  return (
    <span class="stack">
      <span class="stack-name">{TEXT.levelShort}</span>
      <LevelBar level={level?.level_dbfs} floor={level?.noise_floor_dbfs} speech={level?.speech ?? false} />
    </span>
  );
}

interface BarProps {
  level: number | undefined;
  floor?: number | undefined;
  clipped?: boolean;
  /** Whether what is heard is speech. */
  speech?: boolean;
}

/** Says nothing to who cannot see it: the words stand beside it. */
export function LevelBar({ level, floor, clipped = false, speech = true }: BarProps) {
  return (
    <div class="level" aria-hidden="true" data-clipped={clipped} data-speech={speech}>
      {level !== undefined && <div class="level-fill" style={{ width: fromLeft(level) }} />}
      {floor !== undefined && <div class="level-floor" style={{ width: fromLeft(floor) }} />}
    </div>
  );
}
