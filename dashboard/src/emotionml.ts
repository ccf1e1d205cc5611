// Utterances as one document of EmotionML 1.0 (https://www.w3.org/TR/emotionml/), as monitor/publish/emotionml.py has each.

import { EMOTIONS } from "./events";
import type { Spoken } from "./stream";

const NAMESPACE = "http://www.w3.org/2009/10/emotionml";
/** Of what EmotionML has no place for, in `<info>`. */
const OWN_NAMESPACE = "urn:stser:emotionml:1";
/** Defined in the document: no vocabulary of the W3C holds `neutral`. */
const VOCABULARY = "stser-categories";
const THROUGH: Record<string, string> = { speech: "voice", text: "text" };
const NOT_XML = /[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;
const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** One `<emotion>` an utterance; its text is the transcript, and its categories carry the posterior. */
export function toEmotionMl(utterances: readonly Spoken[]): string {
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<emotionml xmlns="${NAMESPACE}" version="1.0" category-set="#${VOCABULARY}">`,
    `<vocabulary type="category" id="${VOCABULARY}">`,
    ...EMOTIONS.map((name) => `<item name="${name}"/>`),
    "</vocabulary>",
    ...utterances.map(emotion),
    "</emotionml>\n",
  ].join("\n");
}

function emotion({ key, event, said }: Spoken): string {
  const attributes = {
    id: `utterance-${said.utterance}-${key}`,
    "time-ref-uri": event.source,
    "offset-to-start": String(Math.round(said.start_ms)),
    duration: String(Math.round(said.end_ms - said.start_ms)),
    // A verdict without any classifier came through no channel, and an empty list is not allowed.
    "expressed-through": said.modalities.flatMap((name) => THROUGH[name] ?? []).join(" ") || undefined,
  };
  const verdict = {
    xmlns: OWN_NAMESPACE,
    label: said.label,
    abstained: said.abstained.join(" "),
    event: event.id,
    sequence: String(event.sequence ?? "").padStart(20, "0"),
    time: event.time,
  };
  const categories = EMOTIONS.map(
    (name) => `<category name="${name}" confidence="${Math.min(1, Math.max(0, said.posterior[name]))}"/>`,
  );
  const words = escaped((said.transcript?.text ?? "").trim().replace(/\s+/g, " "));
  return [
    `<emotion${written(attributes)}>`,
    `<info><verdict${written(verdict)}/></info>`,
    ...categories,
    ...(words ? [words] : []),
    "</emotion>",
  ].join("\n");
}

const written = (attributes: Record<string, string | undefined>): string =>
  Object.entries(attributes)
    .map(([name, value]) => (value === undefined ? "" : ` ${name}="${escaped(value)}"`))
    .join("");

/** Text of the characters that XML allows, with nothing in it that XML reads as markup. */
const escaped = (text: string): string =>
  text.replace(NOT_XML, "\ufffd").replace(/[&<>"]/g, (character) => ENTITIES[character]!);
