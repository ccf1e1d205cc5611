import { expect, test } from "vitest";
import { axisTime, shortTime, streamTime } from "../src/clock";
import { toEmotionMl } from "../src/emotionml";
import { toCsv, toJsonLines } from "../src/export";
import { percentile } from "../src/statistics";
import { said, session, text } from "./said";

const words = (text: string) => ({ transcript: { text, confidence: 1, words: [] } });

test("a row of the CSV has a cell for each column", () => {
  const [header, row] = toCsv(session(said(1, words("leave me"))).utterances).split("\r\n");
  expect(row!.split(",")).toHaveLength(header!.split(",").length);
  expect(row).toContain("angry,0.7,0.7,0.1,0.1,0.1,1,,400,leave me");
});

test("quotes, commas and line ends stay within their cell", () => {
  expect(toCsv(session(said(1, words('a "b", c\nd'))).utterances)).toContain('"a ""b"", c\nd"');
});

test.each(["=1+1", "+1", "-1", "@a", "\t=1"])("a spreadsheet does not run what was said: %s", (text) => {
  expect(toCsv(session(said(1, words(text))).utterances)).toContain(`'${text}`);
});

test("JSON Lines are the events byte for byte", () => {
  const lines = [said(1), said(2)];
  expect(toJsonLines(session(...lines).lines)).toBe(`${lines.join("\n")}\n`);
});

test("EmotionML has what was said as text, with nothing in it that XML reads as markup or does not allow", () => {
  const made = session(
    said(1, { ...words('<a & "b">\u0000\ud800 ]]>'), label: "uncertain", abstained: ["low_snr"] }),
  );
  const document = toEmotionMl(made.utterances);
  expect(document).toContain("&lt;a &amp; &quot;b&quot;&gt;\ufffd\ufffd ]]&gt;");
  expect(document).toContain('offset-to-start="1000" duration="800" expressed-through="voice"');
  expect(document).toContain('label="uncertain" abstained="low_snr"');
  expect(document).toContain('<category name="angry" confidence="0.7"/>');
});

test("two utterances of one number have two identifiers", () => {
  const made = session(said(1), said(1, {}, { stream: "kitchen" }));
  const identifiers = toEmotionMl(made.utterances).match(/ id="utterance-[^"]*"/g)!;
  expect(new Set(identifiers).size).toBe(2);
});

test("an axis counts a recording from its start, and all else as the time of day", () => {
  const made = session(said(1), text("monitor.started", 1, {}, { stream: "talk" }));
  const talk = made.streams.get("talk")!;
  expect(axisTime([talk]).words(talk.run.origin_ms)).toMatch(/:00:00/);
  talk.run.fast = true;
  expect(axisTime([talk]).words(talk.run.origin_ms + 61_000)).toBe("1:01");
  expect(axisTime([talk]).words(talk.run.origin_ms - 1)).toBe("");
  expect(axisTime([...made.streams.values()]).words(talk.run.origin_ms)).toMatch(/:00:00/);
});

test("a percentile is one of the values", () => {
  expect(percentile([3, 1, 2], 50)).toBe(2);
  expect(percentile([3, 1, 2], 99)).toBe(3);
  expect(percentile([], 50)).toBeUndefined();
});

test("times are read in minutes, and in hours where there are some", () => {
  expect(streamTime(68_250)).toBe("1:08.2");
  expect(streamTime(3_600_000)).toBe("1:00:00.0");
  expect(shortTime(59_999)).toBe("0:59");
});
