// Samples, as a browser has them and as the monitor takes them.

const FULL_SCALE = 32_768;
const LOUDEST = 32_767;
const QUIETEST_DBFS = -90;

/** Samples in [-1, 1], float32, as PCM16. */
export function toPcm16(samples: Float32Array): Int16Array {
  return Int16Array.from(samples, (sample) =>
    Math.max(-FULL_SCALE, Math.min(LOUDEST, Math.round(sample * FULL_SCALE))),
  );
}

/** The mean of all channels from one place to another, float32. */
export function mixDown(channels: readonly Float32Array[], from: number, to: number): Float32Array {
  const mixed = new Float32Array(to - from);
  for (const channel of channels)
    for (let i = from; i < to; i++) mixed[i - from]! += channel[i]! / channels.length;
  return mixed;
}

/** Root mean square in dB below full scale, no less than -90. */
export function levelDbfs(samples: Float32Array): number {
  const sum = samples.reduce((squares, sample) => squares + sample * sample, 0);
  const rms = Math.sqrt(sum / Math.max(1, samples.length));
  return Math.max(QUIETEST_DBFS, 20 * Math.log10(Math.max(rms, 1e-9)));
}

/** Whether samples reach the end of the scale. */
export const isClipped = (samples: Float32Array): boolean =>
  samples.some((sample) => Math.abs(sample) >= LOUDEST / FULL_SCALE);
