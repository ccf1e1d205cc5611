// Events as the monitor says them.

export function text(kind: string, sequence: number | undefined, data: unknown): string {
  return JSON.stringify({
    specversion: "1.0",
    id: `${kind}-${sequence}`,
    source: "/stser/test/mic",
    type: `org.stser.${kind}.v1`,
    time: "2026-01-02T12:00:00.000Z",
    ...(sequence === undefined ? {} : { sequence: String(sequence).padStart(20, "0") }),
    data,
  });
}

export function said(sequence: number, changed: Record<string, unknown> = {}): string {
  return text("emotion.utterance", sequence, {
    utterance: sequence,
    start_ms: 1_000 * sequence,
    end_ms: 1_000 * sequence + 800,
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
  });
}
