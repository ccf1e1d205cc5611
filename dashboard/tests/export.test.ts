import { expect, test } from "vitest";
import { shortTime, streamTime } from "../src/clock";
import { parseMessage } from "../src/events";
import { toCsv, toJsonLines } from "../src/export";
import { Session } from "../src/session";
import { percentile } from "../src/statistics";
import { said } from "./said";

function heard(...bodies: string[]): Session {
  const session = new Session(() => 0);
  for (const body of bodies) session.take(parseMessage(body)!.event!, body);
  return session;
}

const words = (text: string) => ({ transcript: { text, confidence: 1, words: [] } });

test("a row of the CSV has a cell for each column", () => {
  const [header, row] = toCsv(heard(said(1, words("leave me"))).utterances).split("\r\n");
  expect(row!.split(",")).toHaveLength(header!.split(",").length);
  expect(row).toContain("angry,0.7,0.7,0.1,0.1,0.1,1,,400,leave me");
});

test("quotes, commas and line ends stay within their cell", () => {
  expect(toCsv(heard(said(1, words('a "b", c\nd'))).utterances)).toContain('"a ""b"", c\nd"');
});

test.each(["=1+1", "+1", "-1", "@a", "\t=1"])("a spreadsheet does not run what was said: %s", (text) => {
  expect(toCsv(heard(said(1, words(text))).utterances)).toContain(`'${text}`);
});

test("JSON Lines are the events byte for byte", () => {
  const lines = [said(1), said(2)];
  expect(toJsonLines(heard(...lines).lines)).toBe(`${lines.join("\n")}\n`);
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
