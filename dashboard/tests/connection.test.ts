import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Connection } from "../src/connection";
import { Session } from "../src/session";
import { said } from "./said";

class FakeSocket {
  static readonly OPEN = 1;
  static made: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((close: { code: number }) => void) | null = null;
  sent: string[] = [];
  readonly readyState = FakeSocket.OPEN;
  constructor(readonly address: URL) {
    FakeSocket.made.push(this);
  }
  close(): void {}
  send(message: string): void {
    this.sent.push(message);
  }
}

const latest = () => FakeSocket.made.at(-1)!;
const asked = () => latest().address.searchParams.get("since");
let session: Session;

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.made = [];
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("location", { href: "http://127.0.0.1:8765/" });
  vi.stubGlobal("fetch", async () => ({ ok: true }));
  session = new Session(() => 0);
  new Connection(session).open();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function begin(sequence: number): void {
  latest().onopen!();
  latest().onmessage!({ data: said(sequence) });
}

test("the first event leads to what went before it", () => {
  expect(asked()).toBeNull();
  begin(5);
  expect(FakeSocket.made).toHaveLength(2);
  expect(asked()).toBe("0".repeat(20));
  expect(session.utterances).toHaveLength(0);
});

test("only so much of the past is asked for", () => {
  begin(5_000);
  expect(BigInt(asked()!)).toBe(3_000n);
});

test("a connection that broke resumes after the last event", async () => {
  begin(5);
  begin(5);
  latest().onclose!({ code: 1006 });
  expect(session.connection).toBe("lost");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(BigInt(asked()!)).toBe(5n);
});

test("a monitor that refuses to resume is joined without", async () => {
  begin(5);
  begin(5);
  latest().onclose!({ code: 1006 });
  await vi.advanceTimersByTimeAsync(1_000);
  latest().onclose!({ code: 1006 });
  await vi.advanceTimersByTimeAsync(0);
  expect(asked()).toBeNull();
  begin(9);
  expect(session.utterances.map(({ said }) => said.utterance)).toEqual([5, 9]);
  expect(session.missed).toBe(3n);
});

test("a monitor that is away is asked to resume when it is back", async () => {
  begin(5);
  begin(5);
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("away")));
  latest().onclose!({ code: 1006 });
  for (let i = 0; i < 3; i++) {
    await vi.advanceTimersByTimeAsync(20_000);
    expect(BigInt(asked()!)).toBe(5n);
    latest().onclose!({ code: 1006 });
  }
});

test("a token is asked for where it is needed, and sent before all else", async () => {
  vi.stubGlobal("fetch", async () => ({ ok: false, status: 401 }));
  FakeSocket.made = [];
  const connection = new Connection(session);
  await connection.start();
  expect(session.connection).toBe("token");
  expect(FakeSocket.made).toHaveLength(0);
  connection.useToken("secret");
  latest().onopen!();
  expect(latest().sent).toEqual(['{"type":"auth","token":"secret"}']);
  latest().onclose!({ code: 1008 });
  expect(session.connection).toBe("token");
});
