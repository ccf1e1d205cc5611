import { expect, test } from "vitest";
import { parseMessage } from "../src/events";
import { matches, Session } from "../src/session";
import { shares, transitions, trend } from "../src/statistics";
import { said, text } from "./said";

function session(...bodies: string[]): Session {
  const made = new Session(() => 0);
  made.setConnection("live");
  return feed(made, ...bodies);
}

function feed(made: Session, ...bodies: string[]): Session {
  for (const body of bodies) made.take(parseMessage(body)!.event!, body);
  return made;
}

const notes = (made: Session) => made.entries.flatMap((entry) => entry.note ?? []);

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
  const state = {
    label: "sad",
    since_ms: 0,
    confidence: 0.6,
    posterior: { angry: 0, happy: 0, neutral: 0.4, sad: 0.6 },
  };
  const made = session(said(7));
  made.setConnection("lost");
  made.setConnection("live", true);
  feed(made, text("emotion.state", 3, state));
  expect(made.state?.label).toBe("sad");
  expect(made.last).toBe(7n);
  expect(made.lines).toHaveLength(1);
});

test("a monitor that starts again goes on where the clock of the page is", () => {
  const made = session(said(1, { start_ms: 0, end_ms: 5_000 }), text("monitor.started", 2, {}), said(3));
  const [first, second] = made.utterances;
  expect(first!.origin_ms).toBe(0);
  expect(second!.origin_ms).toBeGreaterThan(5_000);
  expect(notes(made)).toEqual(["the monitor has started"]);
});

test("numbering that begins anew is no gap", () => {
  expect(notes(session(said(900), said(1)))).toEqual([]);
});

test("what is provisional goes away when the utterance is final", () => {
  const made = session(text("emotion.provisional", 1, JSON.parse(said(1)).data));
  expect(made.current?.utterance).toBe(1);
  expect(made.speaking).toBe(true);
  expect(feed(made, said(2, { utterance: 1 })).current).toBeUndefined();
});

test("old entries go before memory does", () => {
  const made = new Session(() => 0, 100);
  for (let i = 1; i <= 101; i++) feed(made, said(i));
  expect(made.utterances).toHaveLength(91);
  expect(made.entries.at(-1)?.said?.utterance).toBe(101);
});

test("a search looks at the words, a filter at the label", () => {
  const [entry] = session(said(1, { transcript: { text: "Leave me", confidence: 1, words: [] } })).entries;
  const labels = new Set(["angry"] as const);
  expect(matches(entry!, { labels, words: "LEAVE" })).toBe(true);
  expect(matches(entry!, { labels, words: "stay" })).toBe(false);
  expect(matches(entry!, { labels: new Set(["sad"] as const), words: "" })).toBe(false);
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

test("transitions are counted within a run of the monitor only", () => {
  const made = session(
    said(1, { label: "angry" }),
    said(2, { label: "sad" }),
    text("monitor.started", 3, {}),
    said(4, { label: "happy" }),
  );
  const counts = transitions(made.utterances);
  expect(counts.angry.sad).toBe(1);
  expect(counts.sad.happy).toBe(0);
});

test("the trend is the mean of what was said at a time", () => {
  const posterior = { angry: 1, happy: 0, neutral: 0, sad: 0 };
  const made = session(
    said(1, { start_ms: 0, end_ms: 1_000, posterior }),
    said(2, { start_ms: 1_000, end_ms: 2_000, posterior: { ...posterior, angry: 0, sad: 1 } }),
  );
  expect(trend(made.utterances)).toEqual([
    { at_ms: 2_500, posterior: { angry: 0.5, happy: 0, neutral: 0, sad: 0.5 } },
  ]);
});
