// The page.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Connection } from "../connection";
import { LABELS, type Label } from "../events";
import { type Entry, matches, type Session } from "../session";
import { labelText, TEXT } from "../text";
import { Chart } from "./chart";
import { Detail } from "./detail";
import { Shape } from "./emotion";
import { HealthView, warnings } from "./health_view";
import { useKept, useMedia, useSession } from "./hooks";
import { List } from "./list";
import { Now } from "./now";
import { SessionView } from "./session_view";

const VIEWS = { live: TEXT.viewLive, session: TEXT.viewSession, health: TEXT.viewHealth };
type View = keyof typeof VIEWS;

interface Props {
  session: Session;
  connection: Connection;
}

export function App({ session, connection }: Props) {
  useSession(session);
  const [view, setView] = useState<View>("live");
  const [theme, setTheme] = useKept("theme", "system");
  const dark = useMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = theme;
  const drawn = `${theme}-${dark}`;
  return (
    <>
      <header id="top">
        <h1>
          {TEXT.title} <span id="source">{session.source.replace("/stser/", "")}</span>
        </h1>
        <nav aria-label={TEXT.views}>
          {(Object.keys(VIEWS) as View[]).map((name) => (
            <button
              key={name}
              type="button"
              aria-current={view === name ? "page" : undefined}
              onClick={() => setView(name)}
            >
              {VIEWS[name]}
              {name === "health" && warnings(session).length > 0 && <b title={TEXT.warnings}>!</b>}
            </button>
          ))}
        </nav>
        <ConnectionState session={session} />
        <select
          id="theme"
          aria-label={TEXT.theme}
          value={theme}
          onChange={(event) => setTheme(event.currentTarget.value)}
        >
          {Object.entries(TEXT.themes).map(([name, words]) => (
            <option key={name} value={name}>
              {words}
            </option>
          ))}
        </select>
      </header>
      <main data-view={session.connection === "token" ? "token" : view}>
        {session.connection === "token" && <TokenForm connection={connection} />}
        {view === "live" && session.connection !== "token" && (
          <LiveView session={session} connection={connection} theme={drawn} />
        )}
        {view === "session" && <SessionView session={session} theme={drawn} />}
        {view === "health" && <HealthView session={session} />}
      </main>
    </>
  );
}

function TokenForm({ connection }: { connection: Connection }) {
  const [token, setToken] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    connection.useToken(token.trim());
    setToken("");
  };
  return (
    <form class="card token" onSubmit={submit}>
      <p>{TEXT.tokenWords}</p>
      <input
        type="password"
        aria-label={TEXT.tokenField}
        placeholder={TEXT.tokenField}
        autocomplete="off"
        required
        value={token}
        onInput={(event) => setToken(event.currentTarget.value)}
      />
      <button type="submit">{TEXT.tokenSend}</button>
    </form>
  );
}

function ConnectionState({ session }: { session: Session }) {
  const { connection, stopped } = session;
  return (
    <p id="connection" role="status" data-status={stopped ? "stopped" : connection}>
      {stopped ? TEXT.stopped : TEXT[connection]}
    </p>
  );
}

function LiveView({ session, connection, theme }: Props & { theme: string }) {
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
    () => all.filter((entry) => matches(entry, { labels, words })),
    [all, paused ? 0 : session.version, labels, words],
  );
  const utterances = useMemo(() => shown.filter((entry) => entry.said !== undefined), [shown]);
  const open = session.utterances.find(({ key }) => key === selected);

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
      if (selected === undefined || event.target instanceof HTMLInputElement) return;
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
        <Now session={session} />
        <Commands session={session} connection={connection} />
      </div>
      <div class="right">
        <section class="card" aria-labelledby="chart-heading">
          <div class="line">
            <h2 id="chart-heading">{TEXT.chart}</h2>
            <select
              aria-label={TEXT.span}
              value={span}
              onChange={(event) => setSpan(event.currentTarget.value)}
            >
              {["30", "60", "120", "600", "0"].map((seconds) => (
                <option key={seconds} value={seconds}>
                  {TEXT.spans[seconds]}
                </option>
              ))}
            </select>
          </div>
          <Chart
            session={session}
            frozen_ms={paused?.at_ms}
            span_s={Number(span)}
            theme={theme}
            selected={open}
            onSelect={select}
          />
          <p class="hint">{TEXT.chartHint}</p>
        </section>
        <section class="utterances" aria-labelledby="utterances-heading">
          <div class="line tools">
            <h2 id="utterances-heading">
              {TEXT.utterances}{" "}
              <span class="count">
                {TEXT.count(utterances.length, paused ? all.length : session.utterances.length)}
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
            <button
              type="button"
              aria-pressed={paused !== undefined}
              onClick={() =>
                setPaused(paused ? undefined : { entries: [...session.entries], at_ms: session.clock() })
              }
            >
              {paused ? TEXT.resume : TEXT.pause}
            </button>
            <button type="button" class="to-live" disabled={!paused && !away} onClick={toLive}>
              {TEXT.toLive}
              {waiting > 0 && <b class="count">{TEXT.newOnes(waiting)}</b>}
            </button>
          </div>
          {shown.length === 0 && <p class="empty">{all.length === 0 ? TEXT.nothing : TEXT.nothingFound}</p>}
          <List entries={shown} selected={selected} follow={follow} onSelect={select} onAway={setAway} />
        </section>
      </div>
      {open && <Detail spoken={open} onClose={close} onMove={move} />}
    </>
  );
}

function Commands({ session, connection }: Props) {
  const [text, setText] = useState("");
  const mark = (event: Event) => {
    event.preventDefault();
    session.setAnswer("");
    connection.send({ type: "mark", text });
    setText("");
  };
  const mute = () => {
    session.setAnswer("");
    connection.send({ type: session.muted ? "unmute" : "mute" });
  };
  return (
    <form class="commands" onSubmit={mark}>
      <input
        aria-label={TEXT.markText}
        placeholder={TEXT.markText}
        maxLength={200}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit">{TEXT.markAdd}</button>
      <button type="button" aria-pressed={session.muted} onClick={mute}>
        {session.muted ? TEXT.unmute : TEXT.mute}
      </button>
      <p class="small warning" role="status">
        {session.answer}
      </p>
    </form>
  );
}
