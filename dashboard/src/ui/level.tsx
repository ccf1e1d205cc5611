// How loud it is, and how loud the noise.

import type { Utterance } from "../events";
import { TEXT } from "../text";

const QUIETEST_DB = -90;

const fromLeft = (dbfs: number) => `${100 * Math.min(1, Math.max(0, 1 - dbfs / QUIETEST_DB))}%`;

export function Level({ audio }: { audio: Utterance["audio"] | undefined }) {
  return (
    <>
      <LevelBar level={audio?.level_dbfs} floor={audio?.noise_floor_dbfs} clipped={audio?.clipped ?? false} />
      <p class="small">
        {audio ? TEXT.levelWords(audio.level_dbfs, audio.noise_floor_dbfs, audio.snr_db) : TEXT.levelNone}
      </p>
      {audio?.clipped && <p class="small warning">{TEXT.clipped}</p>}
    </>
  );
}

interface BarProps {
  level: number | undefined;
  floor?: number | undefined;
  clipped?: boolean;
}

/** Says nothing to who cannot see it: the words stand beside it. */
export function LevelBar({ level, floor, clipped = false }: BarProps) {
  return (
    <div class="level" aria-hidden="true" data-clipped={clipped}>
      {level !== undefined && <div class="level-fill" style={{ width: fromLeft(level) }} />}
      {floor !== undefined && <div class="level-floor" style={{ width: fromLeft(floor) }} />}
    </div>
  );
}
