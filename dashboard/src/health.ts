// What /healthz tells of the monitor itself.

export interface StreamHealth {
  name: string;
  device: string;
  listening: boolean;
  muted: boolean;
  /** Components that failed at the last utterance. */
  degraded: string[];
}

export interface Health {
  /** The monitor's time. */
  time_ms: number;
  clients: number;
  streams: StreamHealth[];
  /** Absent where no broker is used. */
  mqtt: { broker: string; connected: boolean; waiting: number } | undefined;
  /** Whether the audio is being kept; absent where that was not asked for. */
  recording: boolean | undefined;
  /** By stream, those that have ended included: sequence of the newest event that is kept. */
  newest: Map<string, bigint>;
  /** Whether events are kept on disk; undefined where that was not told. */
  durable: boolean | undefined;
  /** Whether they should be, and cannot. */
  journalFails: boolean | undefined;
}

type Tree = Record<string, unknown>;
const isObject = (value: unknown): value is Tree =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The monitor's health; undefined where it is not reachable. */
export async function fetchHealth(token: string): Promise<Health | undefined> {
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
    const answer = await fetch("healthz", { headers, cache: "no-store" });
    return answer.ok ? asHealth(await answer.json(), answer.headers.get("Date")) : undefined;
  } catch {
    return undefined;
  }
}

export function asHealth(tree: unknown, date: string | null): Health | undefined {
  if (!isObject(tree)) return undefined;
  const { streams, mqtt, journal } = tree;
  return {
    time_ms: Date.parse(date ?? ""),
    clients: Number(tree.clients) || 0,
    streams: Array.isArray(streams) ? streams.filter(isObject).map(asStream) : [],
    mqtt: isObject(mqtt)
      ? {
          broker: String(mqtt.broker ?? ""),
          connected: mqtt.connected === true,
          waiting: Number(mqtt.waiting) || 0,
        }
      : undefined,
    recording: flag(tree.recording, "active"),
    newest: new Map(isObject(journal) && isObject(journal.newest) ? sequences(journal.newest) : []),
    durable: flag(journal, "durable"),
    journalFails: flag(journal, "failing"),
  };
}

const flag = (tree: unknown, name: string): boolean | undefined =>
  isObject(tree) && typeof tree[name] === "boolean" ? (tree[name] as boolean) : undefined;

const sequences = (tree: Tree): [string, bigint][] =>
  Object.entries(tree).flatMap(([name, sequence]): [string, bigint][] =>
    Number.isSafeInteger(sequence) ? [[name, BigInt(sequence as number)]] : [],
  );

const asStream = ({ name, device, listening, muted, degraded }: Tree): StreamHealth => ({
  name: String(name),
  device: String(device ?? ""),
  listening: listening === true,
  muted: muted === true,
  degraded: Array.isArray(degraded) ? degraded.map(String) : [],
});
