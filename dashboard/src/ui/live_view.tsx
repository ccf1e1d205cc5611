// What happens: the present on the left, time and utterances on the right.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Inputs } from "../audio/inputs";
import type { Connection } from "../connection";
import { LABELS, type Label } from "../events";
import { matches, present, type Session, type View } from "../session";
import type { Entry, Stream } from "../stream";
import { labelText, TEXT } from "../text";
import { Chart } from "./chart";
import { Detail } from "./detail";
import { Shape } from "./emotion";
import { useKept } from "./hooks";
import { InputsCard } from "./inputs_card";
import { List } from "./list";
import { Now } from "./now";
import { Overview } from "./streams";

const SPANS_S = ["30", "60", "120", "600", "0"];

interface Props {
  session: Session;
  connection: Connection;
  inputs: Inputs;
  /** The one that is looked at; the empty text for all. */
  stream: string;
  view: View;
  theme: string;
  onChoose: (name: string) => void;
}

export function LiveView({ session, connection, inputs, stream, view, theme, onChoose }: Props) {
  const [span, setSpan] = useKept("span", "60");
  const [labels, setLabels] = useState<ReadonlySet<Label>>(() => new Set(LABELS));
  const [words, setWords] = useState("");
  const [paused, setPaused] = useState<{ entries: Entry[]; at_ms: number }>();
  const [selected, setSelected] = useState<number>();
  const [away, setAway] = useState(false);
  const [follow, setFollow] = useState(0);
  const opener = useRef<Element | null>(null);

  const all = paused?.entries ?? session.entries;
  const shown = useMemo(
    () => all.filter((entry) => matches(entry, { stream, labels, words })),
    [all, paused ? 0 : session.version, stream, labels, words],
  );
  const utterances = useMemo(() => shown.filter((entry) => entry.said !== undefined), [shown]);
  const open = view.utterances.find(({ key }) => key === selected);
  const several = session.streams.size > 1;
  const lanes = several && stream === "";
  const going = view.streams.filter(({ stopped }) => !stopped);
  const ended = view.streams.filter(({ stopped }) => stopped);

  const select = useCallback((key: number) => {
    opener.current = document.activeElement;
    setSelected(key);
  }, []);
  const close = useCallback(() => {
    setSelected(undefined);
    if (opener.current instanceof HTMLElement) opener.current.focus({ preventScroll: true });
  }, []);
  const move = (by: number) => {
    const index = utterances.findIndex(({ key }) => key === selected);
    const next = utterances[index + by];
    if (index >= 0 && next) setSelected(next.key);
  };
  const pause = () =>
    setPaused(paused ? undefined : { entries: [...session.entries], at_ms: present(session, view.streams) });
  const toLive = () => {
    setPaused(undefined);
    setFollow(follow + 1);
  };
  const toggle = (label: Label) => {
    const next = new Set(labels);
    if (!next.delete(label)) next.add(label);
    setLabels(next);
  };

  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const typed = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
      if (selected === undefined || typed) return;
      const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (event.key === "Escape") close();
      else if (by !== undefined) {
        event.preventDefault();
        move(by);
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });

  const waiting = paused ? session.entries.length - paused.entries.length : 0;
  return (
    <>
      <div class="left">
        {lanes ? (
          <Overview title={TEXT.streams} streams={going} onChoose={onChoose} />
        ) : (
          <Now stream={view.streams[0]} named={several} />
        )}
        <Commands session={session} connection={connection} stream={stream} streams={view.streams} />
        <InputsCard inputs={inputs} />
        {lanes && <Overview title={TEXT.endedStreams} streams={ended} onChoose={onChoose} />}
      </div>
      <div class="right">
        <section class="card" aria-labelledby="chart-heading">
          <div class="line">
            <h2 id="chart-heading">{lanes ? TEXT.lanes : TEXT.chart}</h2>
            <select
              aria-label={TEXT.span}
              value={span}
              onChange={(event) => setSpan(event.currentTarget.value)}
            >
              {SPANS_S.map((seconds) => (
                <option key={seconds} value={seconds}>
                  {TEXT.spans[seconds]}
                </option>
              ))}
            </select>
          </div>
          <Chart
            session={session}
            view={view}
            frozen_ms={paused?.at_ms}
            span_s={Number(span)}
            theme={theme}
            selected={open}
            onSelect={select}
          />
          <p class="hint">{lanes ? TEXT.lanesHint : TEXT.chartHint}</p>
        </section>
        <section class="utterances" aria-labelledby="utterances-heading">
          <div class="line tools">
            <h2 id="utterances-heading">
              {TEXT.utterances}{" "}
              <span class="count">
                {TEXT.count(utterances.length, paused ? all.length : view.utterances.length)}
              </span>
            </h2>
            <fieldset>
              <legend class="unseen">{TEXT.filter}</legend>
              {LABELS.map((label) => (
                <button
                  key={label}
                  type="button"
                  class="chip"
                  aria-pressed={labels.has(label)}
                  onClick={() => toggle(label)}
                >
                  <Shape label={label} />
                  {labelText(label)}
                </button>
              ))}
            </fieldset>
            <input
              type="search"
              aria-label={TEXT.search}
              placeholder={TEXT.search}
              value={words}
              onInput={(event) => setWords(event.currentTarget.value)}
            />
            <button type="button" aria-pressed={paused !== undefined} onClick={pause}>
              {paused ? TEXT.resume : TEXT.pause}
            </button>
            <button type="button" class="to-live" disabled={!paused && !away} onClick={toLive}>
              {TEXT.toLive}
              {waiting > 0 && <b class="count">{TEXT.newOnes(waiting)}</b>}
            </button>
          </div>
          {shown.length === 0 && <p class="empty">{all.length === 0 ? TEXT.nothing : TEXT.nothingFound}</p>}
          <List
            entries={shown}
            named={lanes}
            selected={selected}
            follow={follow}
            onSelect={select}
            onAway={setAway}
          />
        </section>
      </div>
      {open && <Detail spoken={open} onClose={close} onMove={move} />}
    </>
  );
}

interface CommandsProps extends Pick<Props, "session" | "connection"> {
  stream: string;
  streams: readonly Stream[];
}

/** Obeyed by the stream that is looked at, or by all. */
function Commands({ session, connection, stream, streams }: CommandsProps) {
  const [text, setText] = useState("");
  const going = streams.filter(({ stopped }) => !stopped);
  const muted = going.length > 0 && going.every((one) => one.muted);
  const why = whyNobodyObeys(session, streams);
  const to = stream ? { stream } : {};
  const mark = (event: Event) => {
    event.preventDefault();
    if (connection.send({ type: "mark", text, ...to })) setText("");
  };
  const mute = () => connection.send({ type: muted ? "unmute" : "mute", ...to });
  return (
    <form class="commands" aria-label={TEXT.commandsTo(stream || TEXT.allStreams)} onSubmit={mark}>
      <input
        aria-label={TEXT.markText}
        placeholder={TEXT.markText}
        maxLength={200}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit" disabled={why !== undefined} title={why}>
        {TEXT.markAdd}
      </button>
      <button type="button" aria-pressed={muted} disabled={why !== undefined} title={why} onClick={mute}>
        {muted ? TEXT.unmute : TEXT.mute}
      </button>
      <p class="small warning" role="status">
        {session.answer}
      </p>
    </form>
  );
}

/** Undefined where a command may be obeyed. */
function whyNobodyObeys({ connection }: Session, streams: readonly Stream[]): string | undefined {
  if (connection === "stopped") return TEXT.stoppedWords;
  return streams.length > 0 && streams.every(({ stopped }) => stopped) ? TEXT.endedWords : undefined;
}
