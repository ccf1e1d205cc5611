// A recording on this machine, as samples: in any format that the browser reads.

import { TEXT } from "../text";
import { AudioProblem } from "./audio_socket";
import { mixDown, toPcm16 } from "./pcm";

export const RATE_HZ = 16_000;
const BLOCK = RATE_HZ / 2;
/** Decoded, an hour of stereo takes half a gigabyte of the browser's memory. */
const LONGEST_BYTES = 512 * 1024 * 1024;

export interface Recording {
  duration_s: number;
  blocks: Generator<Int16Array>;
  /** How many there are. */
  count: number;
}

/**
 * Decodes a file, resamples it and mixes its channels.
 *
 * Throws AudioProblem where the browser cannot.
 */
export async function readRecording(file: File): Promise<Recording> {
  if (file.size > LONGEST_BYTES) throw new AudioProblem(TEXT.input.tooLong(LONGEST_BYTES));
  let decoded: AudioBuffer;
  try {
    // It is never rendered: what is decoded has the rate of the context that decodes it.
    decoded = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new AudioProblem(TEXT.input.undecodable);
  }
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, i) => decoded.getChannelData(i));
  return {
    duration_s: decoded.duration,
    count: Math.ceil(decoded.length / BLOCK),
    blocks: blocks(channels, decoded.length),
  };
}

function* blocks(channels: Float32Array[], length: number): Generator<Int16Array> {
  for (let from = 0; from < length; from += BLOCK)
    yield toPcm16(mixDown(channels, from, Math.min(length, from + BLOCK)));
}

/** A name that a stream may have, after the file's. */
export function streamName(file: string): string {
  const plain = file
    .replace(/\.[^.]*$/, "")
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/[^a-zA-Z0-9_]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 28);
  return plain || "file";
}

/** `wanted`, or that with the lowest number from 2 on, where others have it. */
export function freeName(wanted: string, taken: ReadonlySet<string>): string {
  if (!taken.has(wanted)) return wanted;
  for (let number = 2; ; number++) if (!taken.has(`${wanted}-${number}`)) return `${wanted}-${number}`;
}
