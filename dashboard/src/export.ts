// What this page has heard, as files.

import { EMOTIONS } from "./events";
import type { Spoken } from "./stream";

const COLUMNS = [
  "stream",
  "time",
  "utterance",
  "start_ms",
  "end_ms",
  "label",
  "confidence",
  ...EMOTIONS,
  "agreement",
  "abstained",
  "latency_ms",
  "transcript",
];

/** RFC 4180, one row an utterance. Words that a spreadsheet would run as a formula get a quote in front. */
export function toCsv(utterances: readonly Spoken[]): string {
  const rows = utterances.map(({ stream, event, said }) => [
    stream.name,
    event.time,
    said.utterance,
    said.start_ms,
    said.end_ms,
    said.label,
    said.confidence,
    ...EMOTIONS.map((name) => said.posterior[name]),
    said.agreement,
    said.abstained.join(" "),
    said.latency_ms.total ?? "",
    said.transcript?.text ?? "",
  ]);
  return [COLUMNS, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function cell(value: string | number): string {
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The events as they came, byte for byte. */
export const toJsonLines = (lines: readonly { body: string }[]): string =>
  lines.map(({ body }) => `${body}\n`).join("");

export function save(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** `stream`: the one that is saved, or the empty text for all. */
export const fileName = (stream: string, ending: string): string =>
  `${stream ? `stser-${stream}` : "stser"}-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${ending}`;
