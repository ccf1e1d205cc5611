// Several streams: which one is looked at, and how each of them is, large and calm.

import type { Stream } from "../stream";
import { labelText, TEXT } from "../text";
import { Shape, Stack } from "./emotion";
import { SmallMeter } from "./level";

interface Props {
  streams: Stream[];
  /** Its name; the empty text for all. */
  chosen: string;
  onChoose: (name: string) => void;
}

export function Chooser({ streams, chosen, onChoose }: Props) {
  return (
    <section id="streams" aria-label={TEXT.streams}>
      <button type="button" aria-pressed={chosen === ""} onClick={() => onChoose("")}>
        {TEXT.allStreams}
      </button>
      {streams.map((stream) => (
        <button
          key={stream.name}
          type="button"
          aria-pressed={chosen === stream.name}
          data-stopped={stream.stopped}
          onClick={() => onChoose(stream.name)}
        >
          {stream.name}
          {stream.stopped && <span class="small"> {TEXT.ended}</span>}
        </button>
      ))}
    </section>
  );
}

interface OverviewProps {
  /** What they have in common. */
  title: string;
  streams: Stream[];
  onChoose: (name: string) => void;
}

/** One card a stream. */
export function Overview({ title, streams, onChoose }: OverviewProps) {
  if (streams.length === 0) return null;
  return (
    <ul class="overview" aria-label={title}>
      {streams.map((stream) => (
        <StreamCard key={stream.name} stream={stream} onChoose={onChoose} />
      ))}
    </ul>
  );
}

function StreamCard({ stream, onChoose }: { stream: Stream; onChoose: (name: string) => void }) {
  const { name, state, stopped, utterances, current } = stream;
  const posterior = current?.posterior ?? state?.posterior ?? utterances.at(-1)?.said.posterior;
  return (
    <li class="card stream" data-emotion={state?.label ?? "none"} data-stopped={stopped}>
      <h2>{name}</h2>
      <Activity stream={stream} />
      <p class="state">
        {state && <Shape label={state.label} />}
        {stateWords(stream)}
      </p>
      {!stopped && <SmallMeter stream={stream} />}
      {posterior && !stopped && <Stack name={current ? TEXT.soFar : TEXT.nowShort} posterior={posterior} />}
      <button type="button" class="open" aria-label={TEXT.showStream(name)} onClick={() => onChoose(name)} />
    </li>
  );
}

/** The state in a word, or why there is none. */
export function stateWords({ state, utterances, stopped }: Stream): string {
  if (state) return labelText(state.label);
  return utterances.length > 0 ? TEXT.unclear(stopped) : TEXT.nobody(stopped);
}

/** Whether someone speaks, or why that cannot be known. */
export function Activity({ stream: { stopped, muted, speaking } }: { stream: Stream }) {
  const words = stopped ? TEXT.ended : muted ? TEXT.mutedNow : speaking ? TEXT.speaking : TEXT.silent;
  return (
    <p class="activity" data-speaking={speaking && !stopped && !muted}>
      {words}
    </p>
  );
}
