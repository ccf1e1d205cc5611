import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Connection } from "../src/connection";
import { Session } from "../src/session";
import { TEXT } from "../src/text";
import { warnings } from "../src/warnings";
import { FakeSocket } from "./fake_socket";
import { NOON, said, text } from "./said";

const latest = () => FakeSocket.latest();
const asked = () => latest().address.searchParams.get("since");
const begin = (...sequences: number[]) => {
  latest().onopen!();
  for (const sequence of sequences) latest().onmessage!({ data: said(sequence) });
};

let session: Session;
let connection: Connection;
/** Sequence of the newest event by stream; undefined for a monitor that is away. */
let newest: Record<string, number> | undefined;
/** What the monitor answers who asks for the events without a WebSocket. */
let refusal: number;

async function health(address: string | URL): Promise<Response> {
  if (newest === undefined) throw new TypeError("away");
  if (address instanceof URL) return new Response("", { status: refusal });
  const streams = Object.keys(newest).map((name) => ({ name }));
  return Response.json(
    { streams, journal: { durable: true, newest } },
    { headers: { Date: new Date(NOON).toUTCString() } },
  );
}

const moment = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

beforeEach(async () => {
  vi.useFakeTimers();
  FakeSocket.made = [];
  newest = { mic: 5 };
  refusal = 426;
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("location", { href: "http://127.0.0.1:8765/" });
  vi.stubGlobal("fetch", health);
  session = new Session(() => NOON);
  connection = new Connection(session);
  await connection.open();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a page that is opened late asks for what went before", () => {
  expect(asked()).toBe("mic:0");
});

test("only so much of the past is asked for", async () => {
  newest = { mic: 5_000, kitchen: 100 };
  await connection.open();
  expect(asked()).toBe("mic:3000,kitchen:0");
});

test("where there were more streams than an address can name, those that go on are asked for", async () => {
  newest = { mic: 5, ...Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`audio-${i}`, 1])) };
  vi.stubGlobal("fetch", async () => Response.json({ streams: [{ name: "mic" }], journal: { newest } }));
  await connection.open();
  expect(asked()!.split(",")).toHaveLength(24);
  expect(asked()).toMatch(/^mic:0,audio-49:0,/);
});

test("a connection that broke resumes after the last event of each stream", async () => {
  begin(5);
  latest().onmessage!({ data: said(7, {}, { stream: "kitchen" }) });
  newest = { mic: 5, kitchen: 7 };
  latest().onclose!({ code: 1006 });
  expect(session.connection).toBe("lost");
  await moment(1_000);
  expect(asked()).toBe("mic:5,kitchen:7");
});

test("a stream that began while the page was away is asked for from its start", async () => {
  begin(5);
  latest().onclose!({ code: 1006 });
  newest = { mic: 5, browser: 3 };
  await moment(1_000);
  expect(asked()).toBe("mic:5,browser:0");
});

test("a monitor that refuses to resume is joined without", async () => {
  begin(5);
  refusal = 400;
  latest().onclose!({ code: 1006 });
  await moment(1_000);
  latest().onclose!({ code: 1006 });
  await moment();
  expect(asked()).toBeNull();
  begin(9);
  expect(session.utterances.map(({ said }) => said.utterance)).toEqual([5, 9]);
  expect(session.missed).toBe(3n);
});

test.each([426, 503])(
  "a handshake that fails for another reason (%d) is tried again, and nothing is missed",
  async (status) => {
    begin(5);
    refusal = status;
    latest().onclose!({ code: 1006 });
    for (let tries = 2; tries <= 3; tries++) {
      await moment(1_000);
      expect(FakeSocket.made).toHaveLength(tries);
      expect(asked()).toBe("mic:5");
      latest().onclose!({ code: 1006 });
    }
  },
);

test("a monitor that is away is asked to resume when it is back", async () => {
  begin(5);
  newest = undefined;
  latest().onclose!({ code: 1006 });
  await moment(60_000);
  expect(FakeSocket.made).toHaveLength(1);
  newest = { mic: 5 };
  await moment(20_000);
  expect(asked()).toBe("mic:5");
});

test("a monitor that has ended in order is no reason to warn, one that is lost is", () => {
  begin(5);
  latest().onclose!({ code: 1001 });
  expect(session.connection).toBe("stopped");
  expect(warnings(session)).toEqual([]);
  latest().onclose!({ code: 1006 });
  expect(warnings(session)).toEqual([TEXT.warn.disconnected]);
});

test("a monitor that goes on is live, though all that was heard has ended", () => {
  begin(5);
  latest().onmessage!({ data: text("monitor.stopped", 6, { audio_ms: 9_000 }) });
  expect(session.connection).toBe("live");
  expect(warnings(session)).toEqual([]);
});

test("how the monitor fares is asked again and again, while it is connected", async () => {
  begin(5);
  expect(session.health?.streams.map(({ name }) => name)).toEqual(["mic"]);
  newest = { mic: 5, kitchen: 1 };
  await moment(5_000);
  expect(session.health?.streams).toHaveLength(2);
});

test("a stream that was muted before the page came is muted", async () => {
  begin(5);
  vi.stubGlobal("fetch", async () => Response.json({ streams: [{ name: "mic", muted: true }] }));
  await connection.look();
  expect(session.streams.get("mic")?.muted).toBe(true);
});

test("a command goes to the stream that it names", () => {
  begin(5);
  expect(connection.send({ type: "mute", stream: "mic" })).toBe(true);
  expect(latest().sent).toEqual(['{"type":"mute","stream":"mic"}']);
});

test("a command while the monitor is away is said not to have gone, until it is back", async () => {
  begin(5);
  latest().readyState = 3;
  latest().onclose!({ code: 1006 });
  expect(connection.send({ type: "mark", text: "the phone rang" })).toBe(false);
  expect(latest().sent).toEqual([]);
  expect(session.answer).toContain("not reachable");
  await moment(1_000);
  latest().onopen!();
  expect(session.answer).toBe("");
});

test("a token is asked for where it is needed, and sent before all else", async () => {
  vi.stubGlobal("fetch", async (address: string) =>
    address === "metrics" ? new Response("", { status: 401 }) : health(address),
  );
  FakeSocket.made = [];
  const locked = new Connection(session);
  await locked.start();
  expect(session.connection).toBe("token");
  expect(FakeSocket.made).toHaveLength(0);
  locked.useToken("secret");
  await moment();
  latest().onopen!();
  expect(latest().sent).toEqual(['{"type":"auth","token":"secret"}']);
  latest().onclose!({ code: 1008 });
  expect(session.connection).toBe("token");
});

test("what the monitor says of no stream changes no stream", () => {
  begin();
  latest().onmessage!({ data: text("emotion.utterance", 1, []) });
  latest().onmessage!({ data: '{"type":"error","code":"unknown_stream","message":"no such stream"}' });
  expect(session.streams.size).toBe(0);
  expect(session.answer).toContain("no such stream");
});
