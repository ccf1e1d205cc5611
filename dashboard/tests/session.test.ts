import { expect, test } from "vitest";
import { parseMessage } from "../src/events";
import { lanes, matches, present, Session, view } from "../src/session";
import { shares, transitions, trend } from "../src/statistics";
import { end, type Stream, start } from "../src/stream";
import { feed, NOON, said, session, text } from "./said";

const mic = (made: Session): Stream => made.streams.get("mic")!;
const notes = (made: Session) => made.entries.flatMap((entry) => entry.note ?? []);
const STATE = {
  label: "sad",
  since_ms: 0,
  confidence: 0.6,
  posterior: { angry: 0, happy: 0, neutral: 0.4, sad: 0.6 },
};

test("an utterance is an entry with the words that were said", () => {
  const made = session(said(1, { transcript: { text: "leave me alone", confidence: 1, words: [] } }));
  expect(made.entries.map((entry) => entry.said?.transcript?.text)).toEqual(["leave me alone"]);
});

test("an event that comes twice is shown once", () => {
  expect(session(said(1), said(2), said(1)).utterances).toHaveLength(2);
});

test("sequences that are missing after a connection without resume are a gap", () => {
  const made = session(said(1));
  made.setConnection("lost");
  made.setConnection("live", false);
  expect(notes(feed(made, said(5), said(6)))).toEqual(["3 events were missed here"]);
  expect(made.missed).toBe(3n);
});

test("after a connection that resumes, only the monitor says what is missing", () => {
  const made = session(said(1));
  made.setConnection("lost");
  made.setConnection("live", true);
  const gap = { from_sequence: "2", to_sequence: "4", dropped: 3, reason: "expired" };
  expect(notes(feed(made, said(6)))).toEqual([]);
  expect(notes(feed(made, text("stream.gap", undefined, gap)))).toEqual(["3 events were missed here"]);
});

test("the old state that comes on connecting changes the state and no more", () => {
  const made = session(said(7));
  made.setConnection("lost");
  made.setConnection("live", true);
  feed(made, text("emotion.state", 3, STATE));
  expect(mic(made).state?.label).toBe("sad");
  expect(mic(made).last).toBe(7n);
  expect(made.lines).toHaveLength(1);
});

test("a stream that begins again has not the state of who was heard before under its name", () => {
  const made = session(text("emotion.state", 1, STATE));
  expect(mic(made).state?.label).toBe("sad");
  expect(mic(feed(made, text("monitor.started", 2, {}))).state).toBeUndefined();
});

test("utterances lie where they were said, whatever the monitor took to judge them", () => {
  const made = session(text("monitor.started", 1, {}, { at: 30 }), said(2), said(3, {}, { at: 9_000 }));
  expect(made.utterances.map((spoken) => [start(spoken) - NOON, end(spoken) - NOON])).toEqual([
    [2_030, 2_830],
    [3_030, 3_830],
  ]);
});

test("a monitor that starts again has its clock start again, where the clock on the wall is", () => {
  const made = session(
    said(1, { start_ms: 0, end_ms: 5_000 }),
    text("monitor.started", 2, {}, { at: 60_000 }),
    said(3, { start_ms: 0, end_ms: 5_000 }, { at: 65_400 }),
  );
  expect(made.utterances.map((spoken) => start(spoken) - NOON)).toEqual([400, 60_000]);
  expect(notes(made)).toEqual(["listening has begun"]);
});

test("a stream that stood still, as a sleeping machine does, goes on where the clock on the wall is", () => {
  const made = session(said(1), said(2, {}, { at: 600_000 }));
  expect(made.utterances.map((spoken) => start(spoken) - NOON)).toEqual([1_400, 599_200]);
});

test("a recording that is read faster than it was spoken ends now, and starts as if it had been spoken", () => {
  const made = session(text("monitor.started", 1, {}), said(2, { end_ms: 60_000 }, { at: 1_000 }));
  const stream = mic(made);
  expect(stream.run.fast).toBe(true);
  expect(stream.end_ms - NOON).toBe(1_000);
  expect(start(made.utterances[0]!) - NOON).toBe(1_000 - 60_000 + 2_000);
});

test("a recording is known as one, in however small steps it is read", () => {
  const steps = Array.from({ length: 30 }, (_, i) =>
    said(i + 2, { start_ms: 1_000 * i, end_ms: 1_000 * (i + 1) }, { at: 100 * i }),
  );
  expect(mic(session(text("monitor.started", 1, {}), ...steps)).run.fast).toBe(true);
});

test("the clock of the page is the monitor's, which a machine with another does not shift", () => {
  let now = NOON - 3_600_000;
  const made = new Session(() => now);
  made.setConnection("live");
  feed(made, said(1));
  now += 500;
  expect(made.clock() - NOON).toBe(2_200 + 500);
});

test("a stream that has ended stands at its end, one that goes on moves with the clock", () => {
  const made = session(said(1), text("monitor.stopped", 2, { audio_ms: 2_000 }, { at: 2_400 }));
  feed(made, said(1, {}, { stream: "kitchen", at: 30_000 }));
  expect(present(made, [mic(made)]) - NOON).toBe(2_400);
  expect(present(made, view(made, "").streams) - NOON).toBe(30_000);
});

test("the past of several streams, which comes stream by stream, is in order of time", () => {
  const made = session(
    said(1),
    said(4),
    said(2, {}, { stream: "kitchen" }),
    said(3, {}, { stream: "kitchen" }),
  );
  expect(made.utterances.map(({ said }) => said.utterance)).toEqual([1, 2, 3, 4]);
  expect(made.entries.map(({ stream }) => stream.name)).toEqual(["mic", "kitchen", "kitchen", "mic"]);
});

test("an event of the past finds its place without a look at all that came after it", () => {
  const made = session(...Array.from({ length: 500 }, (_, i) => said(i + 2)));
  let looks = 0;
  for (const entry of made.entries) {
    const { time } = entry;
    Object.defineProperty(entry, "time", {
      get: () => {
        looks += 1;
        return time;
      },
    });
  }
  feed(made, said(1, {}, { stream: "kitchen" }));
  expect(made.entries[0]!.stream.name).toBe("kitchen");
  expect(looks).toBeLessThan(30);
});

test("a stream of which nothing is kept any more is none", () => {
  const gap = { from_sequence: "1", to_sequence: "4", dropped: 4, reason: "expired" };
  expect(session(text("stream.gap", undefined, gap)).streams.size).toBe(0);
});

test("a level changes the meter of its stream and nothing else", () => {
  const made = session(said(1));
  const { version } = made;
  const level = { level_dbfs: -30, noise_floor_dbfs: -70, speech: true, at_ms: 1_000 };
  feed(
    made,
    text("audio.level", undefined, level),
    text("audio.level", undefined, level, { stream: "nobody" }),
  );
  expect(mic(made).meter.level).toEqual({ level_dbfs: -30, noise_floor_dbfs: -70, speech: true });
  expect([made.version, made.received, made.streams.size]).toEqual([version, 1, 1]);
  feed(made, text("monitor.stopped", 2, { audio_ms: 2_000 }));
  expect(mic(made).meter.level).toBeUndefined();
});

test("streams are kept apart, and shown alone or together", () => {
  const made = session(said(1), said(1, {}, { stream: "kitchen" }), said(2));
  expect(made.missed).toBe(0n);
  expect(view(made, "mic").utterances.map(({ said }) => said.utterance)).toEqual([1, 2]);
  expect(view(made, "kitchen").utterances).toHaveLength(1);
  expect(view(made, "").streams.map(({ name }) => name)).toEqual(["mic", "kitchen"]);
});

test("of many streams those that go on and those that ended last have a lane", () => {
  const made = session(said(1));
  for (let i = 1; i <= 10; i++)
    feed(made, text("monitor.stopped", 1, { audio_ms: 10 }, { stream: `talk-${i}`, at: 1_000 * i }));
  const names = lanes([...made.streams.values()]).map(({ name }) => name);
  expect(names).toEqual(["mic", ...[4, 5, 6, 7, 8, 9, 10].map((i) => `talk-${i}`)]);
});

test("one stream that stops does not stop the others", () => {
  const made = session(said(1), text("monitor.stopped", 1, { audio_ms: 0 }, { stream: "kitchen" }));
  expect([...made.streams.values()].map(({ stopped }) => stopped)).toEqual([false, true]);
});

test("a stream of which something is heard after its end goes on, though its beginning was missed", () => {
  const made = session(text("monitor.stopped", 1, { audio_ms: 0 }));
  expect(mic(made).stopped).toBe(true);
  feed(made, text("stream.gap", undefined, { to_sequence: "7", dropped: 6 }), said(8));
  expect(mic(made).stopped).toBe(false);
});

test("a mute that ends is no longer a mute", () => {
  const muted = (active: boolean) => text("device.muted", 1 + Number(!active), { device: "x", active });
  const made = session(muted(true));
  expect(mic(made).muted).toBe(true);
  expect(mic(feed(made, muted(false))).muted).toBe(false);
});

test("a part that fails and works again is told", () => {
  const made = session(
    text("monitor.degraded", 1, { component: "recogniser", reason: "it broke", at_ms: 100 }),
    text("monitor.recovered", 2, { component: "recogniser", at_ms: 200 }),
  );
  expect(notes(made)).toEqual([
    "the recogniser has failed: utterances have no words",
    "the recogniser works again",
  ]);
});

test("a condition of the device is told where it begins and where it ends", () => {
  const silent = (sequence: number, active: boolean) => text("device.silent", sequence, { active });
  expect(notes(session(silent(1, true), silent(2, false)))).toEqual([
    "the microphone is silent: is it muted or unplugged?",
    "the microphone is heard again",
  ]);
});

test("numbering that begins anew is no gap", () => {
  expect(notes(session(said(900), said(1)))).toEqual([]);
});

test("what is provisional goes away when the utterance is final", () => {
  const made = session(text("emotion.provisional", 1, JSON.parse(said(1)).data));
  expect(mic(made).current?.utterance).toBe(1);
  expect(mic(made).speaking).toBe(true);
  expect(mic(feed(made, said(2, { utterance: 1 }))).current).toBeUndefined();
});

test("old entries go before memory does", () => {
  const made = new Session(() => NOON, 100);
  for (let i = 1; i <= 101; i++) feed(made, said(i));
  expect(made.utterances).toHaveLength(91);
  expect(made.entries.at(-1)?.said?.utterance).toBe(101);
});

test("a search looks at the words, a filter at the label", () => {
  const [entry] = session(said(1, { transcript: { text: "Leave me", confidence: 1, words: [] } })).entries;
  const labels = new Set(["angry"] as const);
  expect(matches(entry!, { stream: "", labels, words: "LEAVE" })).toBe(true);
  expect(matches(entry!, { stream: "", labels, words: "stay" })).toBe(false);
  expect(matches(entry!, { stream: "", labels: new Set(["sad"] as const), words: "" })).toBe(false);
  expect(matches(entry!, { stream: "mic", labels, words: "" })).toBe(true);
  expect(matches(entry!, { stream: "kitchen", labels, words: "" })).toBe(false);
});

test.each([
  "",
  "[]",
  "null",
  "{",
  '{"type":3}',
  '{"type":"org.stser.mark.v1","source":"/stser/a/mic","data":[]}',
])("what is no event is passed over: %s", (body) => {
  expect(parseMessage(body)?.event).toBeUndefined();
});

test("an utterance that lacks its posterior is passed over", () => {
  expect(session(text("emotion.utterance", 1, { utterance: 1, start_ms: 0, end_ms: 1 })).entries).toEqual([]);
});

test("shares are weighted with time and sum to one", () => {
  const made = session(
    said(1, { start_ms: 0, end_ms: 3_000, label: "angry" }),
    said(2, { start_ms: 4_000, end_ms: 5_000, label: "sad" }),
  );
  expect(Object.fromEntries(shares(made.utterances).map(({ label, share }) => [label, share]))).toEqual({
    angry: 0.75,
    happy: 0,
    neutral: 0,
    sad: 0.25,
    uncertain: 0,
  });
});

test("transitions are counted within a run of one stream only", () => {
  const made = session(
    said(1, { label: "angry" }),
    said(1, { label: "neutral" }, { stream: "kitchen" }),
    said(2, { label: "sad" }),
    text("monitor.started", 3, {}),
    said(4, { label: "happy" }),
  );
  const counts = transitions(made.utterances);
  expect(counts.angry.sad).toBe(1);
  expect(counts.angry.neutral).toBe(0);
  expect(counts.sad.happy).toBe(0);
});

test("the trend is the mean of what was said at a time", () => {
  const posterior = { angry: 1, happy: 0, neutral: 0, sad: 0 };
  const made = session(
    said(1, { start_ms: 0, end_ms: 1_000, posterior }),
    said(2, { start_ms: 1_000, end_ms: 2_000, posterior: { ...posterior, angry: 0, sad: 1 } }),
  );
  expect(trend(made.utterances)).toEqual([
    { at_ms: NOON + 2_500, posterior: { angry: 0.5, happy: 0, neutral: 0, sad: 0.5 } },
  ]);
});
