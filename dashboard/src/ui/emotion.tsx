// How an emotion looks: a colour and a shape, so that neither has to be told apart alone.

import type { ComponentChildren } from "preact";
import { EMOTIONS, type Emotion, leader, type Posterior } from "../events";
import { labelText, TEXT } from "../text";

/** Outlines in a box of 16 by 16. */
export const SHAPES: Record<string, string> = {
  angry: "M8 2 15 14H1z",
  happy: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 1 1 0-13z",
  neutral: "M2 2h12v12H2z",
  sad: "M8 14 1 2h14z",
  uncertain: "M8 1l7 7-7 7-7-7z",
};

export function Shape({ label }: { label: string }) {
  return (
    <svg class="shape" data-emotion={label} viewBox="0 0 16 16" aria-hidden="true">
      <path d={SHAPES[label] ?? SHAPES.uncertain} />
    </svg>
  );
}

/** One bar an emotion; `sofar` is drawn as a thin line over it. */
export function Bars({
  posterior,
  sofar,
}: {
  posterior: Posterior | undefined;
  sofar?: Posterior | undefined;
}) {
  const leading = posterior && leader(posterior);
  return (
    <table class="bars">
      <caption class="unseen">{TEXT.posterior}</caption>
      <tbody>
        {EMOTIONS.map((name) => (
          <tr key={name} data-emotion={name} class={name === leading ? "leading" : ""}>
            <th scope="row">
              <Shape label={name} />
              {labelText(name)}
            </th>
            <td class="track">
              <div>
                <div class="final" style={{ width: `${100 * (posterior?.[name] ?? 0)}%` }} />
                {sofar && <div class="sofar" style={{ width: `${100 * sofar[name]}%` }} />}
              </div>
            </td>
            <td class="share">{posterior || sofar ? TEXT.percent((posterior ?? sofar)![name]) : ""}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A distribution in one line, always in the same order. */
export function Stack({ name, posterior }: { name: string; posterior: Posterior | null | undefined }) {
  const words = posterior
    ? `${labelText(leader(posterior))} ${TEXT.percent(posterior[leader(posterior)])}`
    : TEXT.absent;
  return (
    <span class="stack" title={`${name}: ${words}`}>
      <span class="stack-name">{name}</span>
      <span class="stack-bar" role="img" aria-label={`${name}: ${words}`}>
        {posterior &&
          EMOTIONS.map((emotion: Emotion) => (
            <span key={emotion} data-emotion={emotion} style={{ flexGrow: posterior[emotion] }} />
          ))}
      </span>
    </span>
  );
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
