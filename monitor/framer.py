"""Whatever a driver or a file delivers, as frames of 20 ms at 16 kHz on one integer clock.

The clock counts input samples, so it cannot drift, and no frame depends on how its audio was cut
into chunks: soxr's stream gives the same bits for any chunking (held by a test).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, AudioFrame, AudioGap, Samples
from stser_core.audio import pcm16_to_float

MIN_RATE_HZ: Final = 8_000
MAX_RATE_HZ: Final = 192_000

RESAMPLER_QUALITY: Final = "MQ"
"""soxr's 16-bit quality: aliases below -90 dB, and 12-19 ms behind at 48 and 44.1 kHz where HQ is
31-33."""

_NOTHING: Final[Samples] = np.zeros(0, np.float32)

InputSamples = NDArray[np.int16] | NDArray[np.float32]
"""``(samples, channels)`` at the rate of the source."""


class Framer:
    """Turns chunks of any size into :class:`AudioFrame`, in stream order.

    Channels are averaged. NaN and infinity become silence and values beyond full scale are clamped,
    so that nothing after this point needs to ask.

    Args:
        input_rate_hz: Rate of the chunks.
        channels: Of the chunks.
        start: Index of the first sample, where the stream has begun before.
        at_a_time: Frames of a chunk that come together at most: more are cheaper where all of them are there
            at once anyway.
    """

    def __init__(
        self, input_rate_hz: int, channels: int, *, start: int = 0, at_a_time: int = 1
    ) -> None:
        if not MIN_RATE_HZ <= input_rate_hz <= MAX_RATE_HZ:
            raise ValueError(
                f"sample rate ({input_rate_hz} Hz) must lie between {MIN_RATE_HZ} and "
                f"{MAX_RATE_HZ} Hz: below, speech is not intelligible; above, it is not audio."
            )
        if channels < 1:
            raise ValueError(f"channels ({channels}) must be at least 1.")
        self._rate_hz = input_rate_hz
        self._channels = channels
        self._step = at_a_time * FRAME_SAMPLES
        self._resampler = _new_resampler(input_rate_hz)
        self._pending: Samples = _NOTHING
        self._clock = start
        self._n_input = start * input_rate_hz // SAMPLE_RATE_HZ

    @property
    def clock(self) -> int:
        """Index of the first sample of the next frame."""
        return self._clock

    def push(self, chunk: InputSamples) -> list[AudioFrame]:
        """Take the next audio.

        Args:
            chunk: int16, or float32 with full scale 1.0, ``(samples, channels)``; may be empty.

        Returns:
            The frames that it completed.
        """
        if chunk.ndim != 2 or chunk.shape[1] != self._channels:
            raise ValueError(
                f"a chunk must be of shape (samples, {self._channels}), got {chunk.shape}."
            )
        if len(chunk) == 0:
            return []
        self._n_input += len(chunk)
        mono = _mono(chunk)
        if self._resampler is not None:
            mono = _clamped(self._resampler.resample_chunk(mono))
        return self._cut(mono)

    def flush(self) -> list[AudioFrame]:
        """What is left at the end of the stream; the last frame is filled up with silence."""
        frames = []
        if self._resampler is not None and self._n_input:
            rest = self._resampler.resample_chunk(_NOTHING, last=True)
            frames = self._cut(_clamped(rest))
        if len(self._pending):
            frames += self._cut(np.zeros(FRAME_SAMPLES - len(self._pending), np.float32))
        return frames

    def gap(self, length: int, reason: str) -> AudioGap:
        """Input was lost: what comes next is ``length`` samples of the input rate later.

        The unfinished frame goes with it, and so does what the resampler still holds: both would
        join audio from before and after the gap.
        """
        if length < 0:
            raise ValueError(f"length of a gap ({length} samples) must not be negative.")
        self._n_input += length
        start = self._clock
        # The resampler is behind its input, never ahead, so the clock only moves forward.
        self._clock = max(start, self._n_input * SAMPLE_RATE_HZ // self._rate_hz)
        self._pending = _NOTHING
        self._resampler = _new_resampler(self._rate_hz)
        return AudioGap(start, self._clock - start, reason)

    def _cut(self, samples: Samples) -> list[AudioFrame]:
        if len(self._pending):
            samples = np.concatenate([self._pending, samples])
        n_whole = len(samples) - len(samples) % FRAME_SAMPLES
        # A copy, or one pending sample would keep a whole chunk in memory.
        self._pending = samples[n_whole:].copy() if n_whole < len(samples) else _NOTHING
        first, self._clock = self._clock, self._clock + n_whole
        return [
            AudioFrame(first + at, samples[at : min(at + self._step, n_whole)])
            for at in range(0, n_whole, self._step)
        ]


def _new_resampler(rate_hz: int) -> soxr.ResampleStream | None:
    if rate_hz == SAMPLE_RATE_HZ:
        return None
    return soxr.ResampleStream(
        rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality=RESAMPLER_QUALITY
    )


def _mono(chunk: InputSamples) -> Samples:
    """The mean of the channels, float32 ``(samples,)`` in ``[-1, 1]``.

    Channel by channel, because a sum along an axis is ordered by the length of the chunk.
    """
    mono = _full_scale(chunk[:, 0])
    for channel in range(1, chunk.shape[1]):
        mono += _full_scale(chunk[:, channel])
    if chunk.shape[1] > 1:
        mono /= np.float32(chunk.shape[1])
    return mono


def _full_scale(channel: InputSamples) -> Samples:
    """One channel as float32 of its own, finite and in ``[-1, 1]``."""
    if channel.dtype == np.int16:
        return pcm16_to_float(channel.astype(np.int16, copy=False))
    samples = np.array(channel, np.float32)
    # Two looks cost less than four repairs, and NaN fails every comparison.
    if not (np.minimum.reduce(samples) >= -1 and np.maximum.reduce(samples) <= 1):
        samples[~np.isfinite(samples)] = 0
        _clamped(samples)
    return samples


def _clamped(samples: Samples) -> Samples:
    """Clamped to full scale in place: a resampler overshoots where its input is clipped."""
    np.minimum(samples, 1, out=samples)  # np.clip takes three times as long on a block of 20 ms
    return np.maximum(samples, -1, out=samples)
