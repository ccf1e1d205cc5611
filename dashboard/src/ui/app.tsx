// The page.

import { useEffect, useState } from "preact/hooks";
import type { Inputs } from "../audio/inputs";
import type { Connection } from "../connection";
import { type Session, view } from "../session";
import { TEXT } from "../text";
import { warnings } from "../warnings";
import { HealthView } from "./health_view";
import { useChanges, useKept, useMedia } from "./hooks";
import { DropArea } from "./inputs_card";
import { LiveView } from "./live_view";
import { SessionView } from "./session_view";
import { Chooser } from "./streams";

const PAGES = { live: TEXT.viewLive, session: TEXT.viewSession, health: TEXT.viewHealth };
type Page = keyof typeof PAGES;

interface Props {
  session: Session;
  connection: Connection;
  inputs: Inputs;
}

export function App({ session, connection, inputs }: Props) {
  useChanges(session);
  const [page, setPage] = useState<Page>("live");
  const [chosen, setChosen] = useState("");
  const [theme, setTheme] = useKept("theme", "system");
  const dark = useMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = theme;
  const drawn = `${theme}-${dark}`;
  const locked = session.connection === "token";
  const several = session.streams.size > 1;
  const stream = several && session.streams.has(chosen) ? chosen : "";
  const shown = view(session, stream);
  useEffect(() => {
    if (page === "health") void connection.look();
  }, [page]);
  useEffect(() => {
    inputs.onStream = setChosen;
  }, [inputs]);
  return (
    <>
      <header id="top">
        <h1>
          {TEXT.title} <span id="source">{sourceName(session)}</span>
        </h1>
        <nav aria-label={TEXT.views}>
          {(Object.keys(PAGES) as Page[]).map((name) => (
            <button
              key={name}
              type="button"
              aria-current={page === name ? "page" : undefined}
              onClick={() => setPage(name)}
            >
              {PAGES[name]}
              {name === "health" && warnings(session).length > 0 && <b title={TEXT.warnings}>!</b>}
            </button>
          ))}
        </nav>
        {session.health?.recording && (
          <p id="recording" title={TEXT.recordingTitle}>
            {TEXT.recording}
          </p>
        )}
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
      {several && page !== "health" && !locked && (
        <Chooser streams={[...session.streams.values()]} chosen={stream} onChoose={setChosen} />
      )}
      <main data-view={locked ? "token" : page}>
        {locked && <TokenForm connection={connection} />}
        {page === "live" && !locked && (
          <LiveView
            session={session}
            connection={connection}
            inputs={inputs}
            stream={stream}
            view={shown}
            theme={drawn}
            onChoose={setChosen}
          />
        )}
        {page === "session" && <SessionView session={session} stream={stream} view={shown} theme={drawn} />}
        {page === "health" && <HealthView session={session} />}
      </main>
      {!locked && <DropArea onFiles={(files) => inputs.analyse(files)} />}
    </>
  );
}

/** Node and stream; the node alone where there are several streams. */
function sourceName({ node, streams }: Session): string {
  const [only] = streams.keys();
  return streams.size === 1 ? `${node}/${only}` : node;
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
  const { connection } = session;
  return (
    <p id="connection" role="status" data-status={connection}>
      {TEXT[connection]}
    </p>
  );
}
