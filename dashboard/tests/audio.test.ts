import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AudioSocket } from "../src/audio/audio_socket";
import { isClipped, levelDbfs, mixDown, toPcm16 } from "../src/audio/pcm";
import { freeName, streamName } from "../src/audio/recording";
import { FakeSocket } from "./fake_socket";

const latest = () => FakeSocket.latest();
const answer = (tree: unknown) => latest().onmessage!({ data: JSON.stringify(tree) });
const BLOCK = new Int16Array(8);

async function opened(token = ""): Promise<AudioSocket> {
  const socket = AudioSocket.open("browser", 48_000, token);
  latest().onopen!();
  return socket;
}

/** Whether a promise is kept by now. */
async function kept(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  await new Promise((resolve) => setTimeout(resolve));
  return done;
}

beforeEach(() => {
  FakeSocket.made = [];
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("location", { href: "https://robot.local/", protocol: "https:" });
});

afterEach(() => vi.unstubAllGlobals());

test("a stream begins with the token, then the rate of its samples", async () => {
  await opened("secret");
  expect(String(latest().address)).toBe("wss://robot.local/audio?stream=browser");
  expect(latest().sent).toEqual([
    '{"type":"auth","token":"secret"}',
    '{"config":{"sample_rate":48000,"events":true}}',
  ]);
});

test("a recording waits while the monitor has not answered for what it has", async () => {
  const socket = await opened();
  for (let i = 0; i < 8; i++) socket.send(BLOCK);
  const room = socket.room();
  expect(await kept(room)).toBe(false);
  answer({ specversion: "1.0", type: "org.stser.emotion.utterance.v1" });
  expect(await kept(room)).toBe(false);
  answer({ partial: "leave" });
  expect(await kept(room)).toBe(true);
  expect(socket.behind).toBe(7);
});

test("what is understood so far is told, until it is final", async () => {
  const socket = await opened();
  const heard: string[] = [];
  socket.onPartial = (words) => heard.push(words);
  answer({ partial: "leave me" });
  answer({ text: "leave me alone", result: [] });
  expect(heard).toEqual(["leave me", ""]);
});

test("the end is said, and all that was sent is judged before the stream is over", async () => {
  const socket = await opened();
  socket.send(BLOCK);
  const finished = socket.finish();
  expect(latest().sent.at(-1)).toBe('{"eof":1}');
  answer({ text: "leave me alone" });
  expect(await kept(finished)).toBe(false);
  latest().onclose!({ code: 1000 });
  expect(await kept(finished)).toBe(true);
});

test("a monitor that ends the stream says why, to whoever waits and to who does not", async () => {
  const socket = await opened();
  const problems: string[] = [];
  socket.onLost = ({ message }) => problems.push(message);
  for (let i = 0; i < 8; i++) socket.send(BLOCK);
  const room = socket.room();
  latest().onclose!({ code: 1008, reason: "nothing came for 30 s" });
  await expect(room).rejects.toThrow("nothing came for 30 s");
  await expect(socket.finish()).rejects.toThrow("nothing came for 30 s");
  expect(problems).toEqual(["The monitor has ended this stream: nothing came for 30 s."]);
});

test("a stream that is refused says so in the monitor's words", async () => {
  vi.stubGlobal("fetch", async () => new Response("4 streams are the limit\n", { status: 503 }));
  const socket = AudioSocket.open("browser", 16_000, "");
  latest().onclose!({ code: 1006 });
  await expect(socket).rejects.toThrow("4 streams are the limit");
});

test("samples keep to the scale, and channels are averaged", () => {
  expect([...toPcm16(Float32Array.of(0, 0.5, -1, 1, 2, -2))]).toEqual([
    0, 16384, -32768, 32767, 32767, -32768,
  ]);
  expect([...mixDown([Float32Array.of(9, 1, 0), Float32Array.of(9, 0, 1)], 1, 3)]).toEqual([0.5, 0.5]);
});

test("a level is that of a sine and of silence", () => {
  const sine = Float32Array.from({ length: 1600 }, (_, i) => 0.99 * Math.sin(i / 10));
  expect(levelDbfs(sine)).toBeCloseTo(-3.1, 1);
  expect(levelDbfs(new Float32Array(10))).toBe(-90);
  expect(isClipped(sine)).toBe(false);
  expect(isClipped(Float32Array.of(0, -1))).toBe(true);
});

test.each([
  ["Interview 3.mp3", "Interview-3"],
  ["Gespräch_mit Zoë.wav", "Gesprach_mit-Zoe"],
  ["a.b/c d.wav", "a-b-c-d"],
  ["会議.flac", "file"],
  [".wav", "file"],
  [`${"x".repeat(100)}.wav`, "x".repeat(28)],
])("a file %s becomes a stream %s", (file, stream) => {
  expect(streamName(file)).toBe(stream);
});

test("a name that is in use gets a number", () => {
  expect(freeName("talk", new Set(["mic"]))).toBe("talk");
  expect(freeName("talk", new Set(["talk", "talk-2"]))).toBe("talk-3");
});
