// How the monitor fares, in words, with what to do about it.

import type { StreamHealth } from "../health";
import type { Session } from "../session";
import { percentile } from "../statistics";
import type { Started } from "../stream";
import { TEXT } from "../text";
import { started, warnings } from "../warnings";
import { Fact } from "./emotion";

export function HealthView({ session }: { session: Session }) {
  const { health } = session;
  const notice = started(session)?.notice;
  const found = warnings(session);
  return (
    <div class="session">
      <section class="card wide" aria-labelledby="warnings-heading">
        <h2 id="warnings-heading">{TEXT.warnings}</h2>
        {found.length === 0 ? (
          <p class="hint">{session.connection === "stopped" ? TEXT.stoppedWords : TEXT.noWarnings}</p>
        ) : (
          <ul class="reasons">
            {found.map((words) => (
              <li key={words} class="warning">
                {words}
              </li>
            ))}
          </ul>
        )}
        {notice && (
          <>
            <h3>{TEXT.notice}</h3>
            <p class="notice">{notice}</p>
          </>
        )}
      </section>
      {health && health.streams.length > 0 && <Devices streams={health.streams} />}
      <Monitor session={session} />
      <Delivery session={session} />
    </div>
  );
}

function Devices({ streams }: { streams: readonly StreamHealth[] }) {
  return (
    <section class="card wide" aria-labelledby="devices-heading">
      <h2 id="devices-heading">{TEXT.streams}</h2>
      <table class="grid devices">
        <thead>
          <tr>
            <th scope="col">{TEXT.fact.stream}</th>
            <th scope="col">{TEXT.device}</th>
            <th scope="col">{TEXT.condition}</th>
          </tr>
        </thead>
        <tbody>
          {streams.map(({ name, device, ...stream }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{device || "–"}</td>
              <td>{condition(stream)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function condition({ listening, muted, degraded }: Omit<StreamHealth, "name" | "device">): string {
  if (!listening) return TEXT.notListening;
  if (muted) return TEXT.mutedNow;
  return [TEXT.listening, ...degraded.map(TEXT.degraded)].join(", ");
}

function Monitor({ session }: { session: Session }) {
  const begun = started(session);
  const last = session.utterances.at(-1)?.said;
  const model = begun?.model ?? last?.model;
  const hears = begun?.modalities ?? last?.modalities;
  return (
    <section class="card" aria-labelledby="monitor-heading">
      <h2 id="monitor-heading">{TEXT.monitor}</h2>
      <dl class="facts">
        <Fact name={TEXT.model}>{model ? `${model.name} ${model.version}` : TEXT.unknown}</Fact>
        <Fact name={TEXT.recogniser}>{begun ? recogniser(begun) : TEXT.unknown}</Fact>
        <Fact name={TEXT.hears}>
          {hears ? hears.map((name) => TEXT.classifiers[name] ?? name).join(", ") : TEXT.unknown}
        </Fact>
        <Fact name={TEXT.lostAudio}>{session.lost_ms} ms</Fact>
      </dl>
      <h3>{TEXT.percentiles}</h3>
      <Percentiles session={session} />
    </section>
  );
}

function recogniser({ recogniser, embedded }: Started): string {
  if (recogniser === "off") return TEXT.noRecogniser;
  return embedded === undefined ? recogniser : `${recogniser} (${embedded ? TEXT.embedded : TEXT.fullModel})`;
}

function Percentiles({ session }: { session: Session }) {
  const latencies = session.utterances.slice(-1000).flatMap(({ said }) => said.latency_ms.total ?? []);
  return (
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
  );
}

function Delivery({ session }: { session: Session }) {
  const { health } = session;
  const mqtt = health?.mqtt;
  return (
    <section class="card" aria-labelledby="delivery-heading">
      <h2 id="delivery-heading">{TEXT.delivery}</h2>
      <dl class="facts">
        <Fact name={TEXT.clients}>{health ? health.clients : TEXT.unknown}</Fact>
        <Fact name={TEXT.broker}>
          {mqtt
            ? `${mqtt.broker} ${mqtt.connected ? TEXT.connected : TEXT.notConnected}`
            : health
              ? TEXT.noBroker
              : TEXT.unknown}
        </Fact>
        {mqtt && <Fact name={TEXT.waitingForBroker}>{mqtt.waiting}</Fact>}
        <Fact name={TEXT.journal}>
          {health ? (health.durable ? TEXT.durable : TEXT.volatile) : TEXT.unknown}
        </Fact>
        <Fact name={TEXT.events}>{session.received}</Fact>
        <Fact name={TEXT.missed}>{String(session.missed)}</Fact>
        <Fact name={TEXT.reconnects}>{session.reconnects}</Fact>
      </dl>
    </section>
  );
}
