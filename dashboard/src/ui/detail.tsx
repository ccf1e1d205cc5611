// One utterance, with all that the monitor said about it.

import { useEffect, useRef } from "preact/hooks";
import { streamTime, timeOfDay } from "../clock";
import { CLASSIFIERS, EMOTIONS } from "../events";
import type { Spoken } from "../stream";
import { labelText, reasonText, TEXT } from "../text";
import { Fact, Shape } from "./emotion";
import { salienceArea, weights } from "./words";

interface Props {
  spoken: Spoken;
  onClose: () => void;
  /** 1 for the newer, -1 for the older one. */
  onMove: (by: number) => void;
}

export function Detail({ spoken, onClose, onMove }: Props) {
  const { said, event, stream } = spoken;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  const { fact } = TEXT;
  return (
    <aside class="detail card" aria-labelledby="detail-heading" data-emotion={said.label}>
      <header>
        <h2 id="detail-heading" ref={heading} tabIndex={-1}>
          {TEXT.detail} {said.utterance}
        </h2>
        <button type="button" onClick={() => onMove(1)}>
          {TEXT.previous}
        </button>
        <button type="button" onClick={() => onMove(-1)}>
          {TEXT.next}
        </button>
        <button type="button" onClick={onClose}>
          {TEXT.close}
        </button>
      </header>
      <p class="label">
        <Shape label={said.label} />
        {labelText(said.label)}
        {said.label !== "uncertain" && <b class="share">{TEXT.percent(said.confidence)}</b>}
      </p>
      {said.abstained.length > 0 && (
        <>
          <h3>{TEXT.why}</h3>
          <ul class="reasons">
            {said.abstained.map((reason) => (
              <li key={reason}>{reasonText(reason)}</li>
            ))}
          </ul>
        </>
      )}
      <h3>{TEXT.salience}</h3>
      <Salience spoken={spoken} />
      <h3>{TEXT.verdict}</h3>
      <Verdicts spoken={spoken} />
      <h3>{TEXT.facts}</h3>
      <dl class="facts">
        <Fact name={fact.stream}>{stream.name}</Fact>
        <Fact name={fact.time}>{timeOfDay(event.time)}</Fact>
        <Fact name={fact.position}>
          {streamTime(said.start_ms)} – {streamTime(said.end_ms)}
        </Fact>
        <Fact name={fact.duration}>{TEXT.seconds(said.end_ms - said.start_ms)}</Fact>
        <Fact name={fact.agreement}>{said.agreement.toFixed(2)}</Fact>
        {said.transcript && <Fact name={fact.words}>{TEXT.percent(said.transcript.confidence)}</Fact>}
        <Fact name={fact.level}>{said.audio.level_dbfs.toFixed(1)} dBFS</Fact>
        <Fact name={fact.noise}>{said.audio.noise_floor_dbfs.toFixed(1)} dBFS</Fact>
        <Fact name={fact.snr}>{said.audio.snr_db.toFixed(1)} dB</Fact>
        <Fact name={fact.model}>
          {said.model.name} {said.model.version}
        </Fact>
      </dl>
      <h3>{TEXT.latency}</h3>
      <dl class="facts">
        {Object.entries(said.latency_ms).map(([stage, ms]) => (
          <Fact key={stage} name={TEXT.stages[stage] ?? stage}>
            {ms.toFixed(1)} ms
          </Fact>
        ))}
      </dl>
    </aside>
  );
}

/** Attention over the voice as an area; the words stand where they were said, as heavy as they weighed. */
function Salience({ spoken: { said } }: { spoken: Spoken }) {
  const words = said.transcript?.words ?? [];
  const heaviness = weights(said);
  const whole = Math.max(1, said.end_ms - said.start_ms);
  const place = (seconds: number) =>
    Math.min(100, Math.max(0, (100 * (1000 * seconds - said.start_ms)) / whole));
  return (
    <figure class="salience">
      <svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">
        <path d={salienceArea(said)} />
      </svg>
      <div class="spans" aria-hidden="true">
        {words.map(({ start, end }, index) => (
          <span
            key={index}
            style={{
              left: `${place(start)}%`,
              width: `${place(end) - place(start)}%`,
              opacity: Math.min(1, 0.25 + 0.35 * (heaviness[index] ?? 1)),
            }}
          />
        ))}
      </div>
      <p class="transcript">
        {words.length === 0 && (said.transcript === null ? TEXT.noTranscript : TEXT.noWords)}
        {words.map(({ word, conf }, index) => (
          <span
            key={index}
            title={TEXT.percent(conf)}
            style={{ fontWeight: Math.round(Math.min(900, 300 + 200 * (heaviness[index] ?? 1)) / 100) * 100 }}
          >
            {word}{" "}
          </span>
        ))}
      </p>
      <figcaption class="small">{TEXT.salienceWords}</figcaption>
    </figure>
  );
}

function Verdicts({ spoken: { said } }: { spoken: Spoken }) {
  const columns = [
    { name: TEXT.ensemble, posterior: said.posterior },
    ...CLASSIFIERS.map((name) => ({ name: TEXT.classifiers[name]!, posterior: said.classifiers[name] })),
  ];
  return (
    <table class="grid verdicts">
      <thead>
        <tr>
          <th scope="col">{TEXT.emotion}</th>
          {columns.map(({ name }) => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {EMOTIONS.map((emotion) => (
          <tr key={emotion} data-emotion={emotion}>
            <th scope="row">
              <Shape label={emotion} />
              {labelText(emotion)}
            </th>
            {columns.map(({ name, posterior }) => (
              <td key={name}>
                {posterior ? TEXT.percent(posterior[emotion]) : "–"}
                <div class="mini" style={{ width: `${100 * (posterior?.[emotion] ?? 0)}%` }} />
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
