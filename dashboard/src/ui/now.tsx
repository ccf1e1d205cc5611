// The state as it is, large and calm.

import type { Session } from "../session";
import { labelText, TEXT } from "../text";
import { Bars } from "./emotion";

const QUIETEST_DB = -90;

const fromLeft = (dbfs: number) => `${100 * Math.min(1, Math.max(0, 1 - dbfs / QUIETEST_DB))}%`;

export function Now({ session }: { session: Session }) {
  const { state, speaking, current, utterances } = session;
  const audio = utterances.at(-1)?.said.audio;
  return (
    <section id="now" class="card" aria-labelledby="now-heading" data-emotion={state?.label ?? "none"}>
      <h2 id="now-heading">{TEXT.now}</h2>
      <p id="state" aria-live="polite">
        {state ? labelText(state.label) : utterances.length > 0 ? TEXT.unclear : TEXT.nobody}
      </p>
      <p id="activity" data-speaking={speaking}>
        {speaking ? TEXT.speaking : TEXT.silent}
      </p>
      <Bars posterior={state?.posterior ?? utterances.at(-1)?.said.posterior} sofar={current?.posterior} />
      <p class="hint" data-shown={current !== undefined}>
        {TEXT.provisional}
      </p>
      <h3>{TEXT.level}</h3>
      <div class="level" aria-hidden="true" data-clipped={audio?.clipped ?? false}>
        {audio && (
          <>
            <div class="level-fill" style={{ width: fromLeft(audio.level_dbfs) }} />
            <div class="level-floor" style={{ width: fromLeft(audio.noise_floor_dbfs) }} />
          </>
        )}
      </div>
      <p class="small">
        {audio ? TEXT.levelWords(audio.level_dbfs, audio.noise_floor_dbfs, audio.snr_db) : TEXT.levelNone}
      </p>
      {audio?.clipped && <p class="small warning">{TEXT.clipped}</p>}
    </section>
  );
}
