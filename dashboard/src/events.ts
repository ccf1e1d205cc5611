// What the monitor says, as docs/wire.md has it; only the fields that the page shows.

export const EMOTIONS = ["angry", "happy", "neutral", "sad"] as const;
export type Emotion = (typeof EMOTIONS)[number];
export type Label = Emotion | "uncertain";
export const LABELS: readonly Label[] = [...EMOTIONS, "uncertain"];
export const CLASSIFIERS = ["speech", "text", "bimodal"] as const;

/** All that the page asks for: what everybody gets, and the level. */
export const KINDS = [
  "monitor.started",
  "monitor.stopped",
  "monitor.degraded",
  "monitor.recovered",
  "speech.started",
  "speech.ended",
  "emotion.provisional",
  "emotion.utterance",
  "emotion.state",
  "device.lost",
  "device.recovered",
  "device.overflow",
  "device.muted",
  "device.silent",
  "device.clipping",
  "mark",
  "stream.gap",
  "audio.level",
] as const;

export type Posterior = Record<Emotion, number>;

export interface Word {
  word: string;
  start: number;
  end: number;
  conf: number;
}

export interface Utterance {
  utterance: number;
  start_ms: number;
  end_ms: number;
  label: Label;
  confidence: number;
  posterior: Posterior;
  classifiers: Partial<Record<(typeof CLASSIFIERS)[number], Posterior | null>>;
  modalities: string[];
  agreement: number;
  abstained: string[];
  transcript: { text: string; confidence: number; words: Word[] } | null;
  salience: { hop_ms: number; speech: number[]; words: number[] } | null;
  audio: { level_dbfs: number; noise_floor_dbfs: number; snr_db: number; clipped: boolean };
  latency_ms: Record<string, number>;
  model: { name: string; version: string; digest: string };
}

/** How loud the last moment was. */
export interface Level {
  level_dbfs: number;
  noise_floor_dbfs: number;
  speech: boolean;
}

export interface State {
  label: Label;
  since_ms: number;
  confidence: number;
  posterior: Posterior;
}

export interface MonitorEvent {
  id: string;
  source: string;
  kind: string;
  time: string;
  /** Absent where the event was said to this subscriber only. */
  sequence: bigint | undefined;
  data: Record<string, unknown>;
}

/** An event of the monitor; an answer to a command; or undefined for what is neither. */
export type Message =
  | { event: MonitorEvent; answer?: undefined }
  | { answer: { type: string; message: string }; event?: undefined };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function parseMessage(body: string): Message | undefined {
  let tree: unknown;
  try {
    tree = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (!isObject(tree) || typeof tree.type !== "string") return undefined;
  const kind = /^org\.stser\.(.+)\.v1$/.exec(tree.type)?.[1];
  if (kind === undefined) return { answer: { type: tree.type, message: String(tree.message ?? "") } };
  if (!isObject(tree.data) || typeof tree.source !== "string") return undefined;
  const { sequence } = tree;
  return {
    event: {
      id: String(tree.id),
      source: tree.source,
      kind,
      time: String(tree.time),
      sequence: typeof sequence === "string" && /^\d+$/.test(sequence) ? BigInt(sequence) : undefined,
      data: tree.data,
    },
  };
}

/** The data of an utterance, provisional or final, or undefined where it lacks what is drawn. */
export function asUtterance(data: Record<string, unknown>): Utterance | undefined {
  const complete =
    typeof data.utterance === "number" &&
    typeof data.start_ms === "number" &&
    typeof data.end_ms === "number" &&
    isPosterior(data.posterior);
  if (!complete) return undefined;
  const empty = {
    label: "uncertain",
    confidence: 0,
    classifiers: {},
    modalities: [],
    agreement: 1,
    abstained: [],
    transcript: null,
    salience: null,
    audio: { level_dbfs: -90, noise_floor_dbfs: -90, snr_db: 0, clipped: false },
    latency_ms: {},
    model: { name: "", version: "", digest: "" },
  };
  const given = Object.fromEntries(Object.entries(data).filter(([, value]) => value !== null));
  return { ...empty, ...given } as unknown as Utterance;
}

export function asLevel(data: Record<string, unknown>): Level | undefined {
  const { level_dbfs, noise_floor_dbfs, speech } = data;
  if (typeof level_dbfs !== "number" || typeof noise_floor_dbfs !== "number") return undefined;
  return { level_dbfs, noise_floor_dbfs, speech: speech === true };
}

export function isPosterior(value: unknown): value is Posterior {
  return isObject(value) && EMOTIONS.every((name) => typeof value[name] === "number");
}

export function leader(posterior: Posterior): Emotion {
  return EMOTIONS.reduce((best, name) => (posterior[name] > posterior[best] ? name : best));
}
