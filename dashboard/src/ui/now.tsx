// The state of one stream as it is, large and calm.

import type { Stream } from "../stream";
import { TEXT } from "../text";
import { Bars } from "./emotion";
import { LevelMeter } from "./level";
import { Activity, stateWords } from "./streams";

export function Now({ stream, named }: { stream: Stream | undefined; named: boolean }) {
  const { state, current } = stream ?? {};
  const last = stream?.utterances.at(-1)?.said;
  return (
    <section id="now" class="card" aria-labelledby="now-heading" data-emotion={state?.label ?? "none"}>
      <h2 id="now-heading">{named && stream ? TEXT.nowOf(stream.name) : TEXT.now}</h2>
      <p id="state" aria-live="polite">
        {stream ? stateWords(stream) : TEXT.nobody(false)}
      </p>
      {stream && <Activity stream={stream} />}
      <Bars posterior={state?.posterior ?? last?.posterior} sofar={current?.posterior} />
      <p class="hint" data-shown={current !== undefined}>
        {TEXT.provisional}
      </p>
      {stream && <LevelMeter stream={stream} />}
    </section>
  );
}
