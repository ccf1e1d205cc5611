// What is wrong, in words, with what to do about it.

import type { Session } from "./session";
import { percentile } from "./statistics";
import type { Started } from "./stream";
import { TEXT } from "./text";

const LATEST = 10;
const SLOW_MS = 1_500;

/** What the monitor said of itself when it started last. */
export function started(session: Session): Started | undefined {
  return [...session.streams.values()].reverse().find((stream) => stream.started)?.started;
}

export function warnings(session: Session): string[] {
  return [...ofMonitor(session), ...ofStreams(session), ...ofVerdicts(session)];
}

function ofMonitor(session: Session): string[] {
  const { warn } = TEXT;
  const { health } = session;
  const found: [boolean, string][] = [
    [session.connection === "lost", warn.disconnected],
    [session.missed > 0n, warn.missed(Number(session.missed))],
    [session.lost_ms > 0, warn.audio(session.lost_ms)],
    [health?.mqtt?.connected === false, warn.broker(health?.mqtt?.waiting ?? 0)],
    [health?.journalFails === true, warn.journal],
    [health?.recording === false, warn.recording],
  ];
  return found.filter(([holds]) => holds).map(([, words]) => words);
}

function ofStreams({ health, streams }: Session): string[] {
  const going = (health?.streams ?? []).filter(({ name }) => !streams.get(name)?.stopped);
  return going.flatMap(({ name, device, listening, muted, degraded }) => [
    ...(listening ? [] : [TEXT.warn.device(name, device)]),
    ...(muted ? [TEXT.warn.muted(name)] : []),
    ...degraded.map((component) => TEXT.warn.degraded(name, component)),
  ]);
}

function ofVerdicts(session: Session): string[] {
  const { warn } = TEXT;
  const latest = session.utterances.slice(-LATEST).map(({ said }) => said);
  const most = (reason: string) =>
    latest.length >= 3 &&
    2 * latest.filter(({ abstained }) => abstained.includes(reason)).length > latest.length;
  const median = percentile(
    latest.flatMap(({ latency_ms }) => latency_ms.total ?? []),
    50,
  );
  const found: [boolean, string][] = [
    [most("low_snr"), warn.noisy],
    [most("clipped"), warn.clipped],
    [most("no_transcript") && started(session)?.recogniser !== "off", warn.noWords],
    [(median ?? 0) > SLOW_MS, warn.slow(median ?? 0)],
  ];
  return found.filter(([holds]) => holds).map(([, words]) => words);
}
