// How the monitor fares, in words, with what to do about it.

import type { Session } from "../session";
import { percentile } from "../statistics";
import { TEXT } from "../text";
import { Fact } from "./emotion";

const LATEST = 10;
const SLOW_MS = 1_500;

export function warnings(session: Session): string[] {
  const { warn } = TEXT;
  const latest = session.utterances.slice(-LATEST).map(({ said }) => said);
  const most = (reason: string) =>
    latest.length >= 3 &&
    2 * latest.filter(({ abstained }) => abstained.includes(reason)).length > latest.length;
  const median =
    percentile(
      latest.map(({ latency_ms }) => latency_ms.total ?? 0),
      50,
    ) ?? 0;
  const found: [boolean, string][] = [
    [session.connection === "lost" && !session.stopped, warn.disconnected],
    [session.stopped, warn.stopped],
    [session.missed > 0n, warn.missed(Number(session.missed))],
    [session.lost_ms > 0, warn.audio(session.lost_ms)],
    [most("low_snr"), warn.noisy],
    [most("clipped"), warn.clipped],
    [most("no_transcript") && session.started?.recogniser != null, warn.noWords],
    [median > SLOW_MS, warn.slow(median)],
  ];
  return found.filter(([holds]) => holds).map(([, words]) => words);
}

export function HealthView({ session }: { session: Session }) {
  const { started, utterances } = session;
  const model = started?.model ?? utterances.at(-1)?.said.model;
  const hears = started?.modalities ?? utterances.at(-1)?.said.modalities;
  const latencies = utterances.slice(-1000).flatMap(({ said }) => said.latency_ms.total ?? []);
  const found = warnings(session);
  return (
    <div class="session">
      <section class="card wide" aria-labelledby="warnings-heading">
        <h2 id="warnings-heading">{TEXT.warnings}</h2>
        {found.length === 0 ? (
          <p class="hint">{TEXT.noWarnings}</p>
        ) : (
          <ul class="reasons">
            {found.map((words) => (
              <li key={words} class="warning">
                {words}
              </li>
            ))}
          </ul>
        )}
        {started?.notice && (
          <>
            <h3>{TEXT.notice}</h3>
            <p class="notice">{started.notice}</p>
          </>
        )}
      </section>
      <section class="card" aria-labelledby="monitor-heading">
        <h2 id="monitor-heading">{TEXT.monitor}</h2>
        <dl class="facts">
          <Fact name={TEXT.model}>{model ? `${model.name} ${model.version}` : TEXT.unknown}</Fact>
          <Fact name={TEXT.recogniser}>{started ? (started.recogniser ?? "–") : TEXT.unknown}</Fact>
          <Fact name={TEXT.hears}>
            {hears ? hears.map((name) => TEXT.classifiers[name] ?? name).join(", ") : TEXT.unknown}
          </Fact>
          <Fact name={TEXT.events}>{session.received}</Fact>
          <Fact name={TEXT.missed}>{String(session.missed)}</Fact>
          <Fact name={TEXT.reconnects}>{session.reconnects}</Fact>
          <Fact name={TEXT.lostAudio}>{session.lost_ms} ms</Fact>
        </dl>
      </section>
      <section class="card" aria-labelledby="latency-heading">
        <h2 id="latency-heading">{TEXT.percentiles}</h2>
        <dl class="facts">
          {[50, 95, 99].map((p) => {
            const ms = percentile(latencies, p);
            return (
              <Fact key={p} name={TEXT.percentile(p)}>
                {ms === undefined ? "–" : `${Math.round(ms)} ms`}
              </Fact>
            );
          })}
        </dl>
      </section>
    </div>
  );
}
