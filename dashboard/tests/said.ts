// Events as the monitor says them.

import { parseMessage } from "../src/events";
import { Session } from "../src/session";

/** When the streams begin. */
export const NOON = Date.parse("2026-01-02T12:00:00.000Z");

export interface Told {
  stream?: string;
  /** Milliseconds after noon. */
  at?: number;
}

export function text(
  kind: string,
  sequence: number | undefined,
  data: unknown,
  { stream = "mic", at = 0 }: Told = {},
): string {
  return JSON.stringify({
    specversion: "1.0",
    id: `${stream}-${kind}-${sequence}-${at}`,
    source: `/stser/test/${stream}`,
    type: `org.stser.${kind}.v1`,
    time: new Date(NOON + at).toISOString(),
    ...(sequence === undefined ? {} : { sequence: String(sequence).padStart(20, "0") }),
    data,
  });
}

/** An utterance that starts as many seconds after noon as its number is, and is judged 400 ms after its end. */
export function said(sequence: number, changed: Record<string, unknown> = {}, told: Told = {}): string {
  const end_ms = Number(changed.end_ms ?? 1_000 * sequence + 800);
  return text(
    "emotion.utterance",
    sequence,
    {
      utterance: sequence,
      start_ms: 1_000 * sequence,
      end_ms,
      label: "angry",
      confidence: 0.7,
      posterior: { angry: 0.7, happy: 0.1, neutral: 0.1, sad: 0.1 },
      classifiers: {},
      modalities: ["speech"],
      agreement: 1,
      abstained: [],
      transcript: null,
      latency_ms: { total: 400 },
      ...changed,
    },
    { at: end_ms + 400, ...told },
  );
}

/** A session that is connected, at noon. */
export function session(...bodies: string[]): Session {
  const made = new Session(() => NOON);
  made.setConnection("live");
  return feed(made, ...bodies);
}

export function feed(made: Session, ...bodies: string[]): Session {
  for (const body of bodies) made.take(parseMessage(body)!.event!, body);
  return made;
}
