"""Log-mel spectrogram, offline and incremental, with bit-identical results.

A frame starts at each multiple of the hop and needs its whole window: there is no centre padding,
so no frame waits for, or invents, audio beyond its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stser_core.errors import ShapeError

_BLOCK_FRAMES: Final = 64
"""Frames that are worked on at a time."""

LogMel = NDArray[np.float32]
"""Natural logarithm of mel power, float32 ``(time, mels)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMelSettings:
    """The front end. Every checkpoint carries the one that it was trained with."""

    sample_rate_hz: int = 16_000
    """Rate of the samples."""
    win_length: int = 400
    """Samples under the Hann window: 25 ms."""
    hop_length: int = 160
    """Samples from one frame to the next: 10 ms."""
    n_fft: int = 512
    """Points of the Fourier transform; the windowed frame is padded with zeros to it."""
    n_mels: int = 64
    """Triangular filters, equally spaced on Slaney's mel scale, each of unit area."""
    f_min_hz: float = 50.0
    """Lower edge of the first filter: below it there is mains hum and handling noise."""
    f_max_hz: float = 8_000.0
    """Upper edge of the last filter."""
    floor: float = 1e-10
    """Least power before the logarithm: digital silence becomes ``log(floor)``."""

    def __post_init__(self) -> None:
        if not 0 < self.hop_length <= self.win_length <= self.n_fft:
            raise ValueError(
                f"log_mel.hop_length ({self.hop_length}), win_length ({self.win_length}) and n_fft "
                f"({self.n_fft}) must be positive and in this order, smallest first."
            )
        if not 0 <= self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"log_mel.f_min_hz ({self.f_min_hz:g}) must be below log_mel.f_max_hz "
                f"({self.f_max_hz:g}), and that at most half of log_mel.sample_rate_hz "
                f"({self.sample_rate_hz})."
            )
        if self.n_mels < 1 or self.floor <= 0:
            raise ValueError(
                f"log_mel.n_mels ({self.n_mels}) and log_mel.floor ({self.floor:g}) must be "
                "positive."
            )

    def n_frames(self, n_samples: int) -> int:
        """Frames whose window lies wholly inside ``n_samples``."""
        return max(0, 1 + (n_samples - self.win_length) // self.hop_length)


def log_mel(samples: NDArray[np.float32], settings: LogMelSettings) -> LogMel:
    """Log-mel spectrogram of a whole recording.

    Args:
        samples: Mono audio at ``settings.sample_rate_hz``, ``(samples,)``, full scale 1.0.
        settings: The front end.

    Returns:
        float32 ``(time, mels)``; no frames where the audio is shorter than one window. Equal bit
        for bit to what :class:`LogMelStream` gives for any chunking of the same audio.

    Raises:
        ShapeError: If ``samples`` is not one-dimensional.
    """
    if samples.ndim != 1:
        raise ShapeError(f"samples must be mono, shape (samples,), got {samples.shape}.")
    n_frames = settings.n_frames(len(samples))
    if n_frames == 0:
        return np.zeros((0, settings.n_mels), np.float32)
    # Wide enough to be multiplied without a conversion in between; the view repeats what overlaps
    # without a copy, and a block at a time stays in the processor's cache.
    wide = np.ascontiguousarray(samples, np.float64)
    frames: NDArray[np.float64] = np.ndarray(
        (n_frames, settings.win_length),
        wide.dtype,
        buffer=wide,
        strides=(settings.hop_length * wide.itemsize, wide.itemsize),
    )
    windowed = np.zeros((min(n_frames, _BLOCK_FRAMES), settings.n_fft))
    blocks = [
        _mel_of_block(frames[start : start + _BLOCK_FRAMES], windowed, settings)
        for start in range(0, n_frames, _BLOCK_FRAMES)
    ]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _mel_of_block(
    frames: NDArray[np.float64], windowed: NDArray[np.float64], settings: LogMelSettings
) -> LogMel:
    """A few frames ``(time, win_length)``; ``windowed`` is where they are windowed, zero beyond."""
    length = settings.win_length
    np.multiply(frames, _window(length), out=windowed[: len(frames), :length])
    spectrum = np.fft.rfft(windowed[: len(frames)])  # (T, n_fft/2+1)
    power = spectrum.real**2 + spectrum.imag**2
    # A matrix product would be faster, but BLAS sums in an order that depends on the number of
    # rows, and then a frame's value would depend on how the driver chunked the audio.
    bank = _filter_bank(settings)
    weighted = power.take(bank.bins, axis=1, mode="clip")  # "raise" would copy once more
    weighted *= bank.weights
    mel = np.add.reduceat(weighted, bank.starts, axis=1)
    return np.log(np.maximum(mel, settings.floor)).astype(np.float32)  # (T, M)


class LogMelStream:
    """Log-mel frames of audio that comes in chunks of any size."""

    def __init__(self, settings: LogMelSettings) -> None:
        self.settings: Final = settings
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: NDArray[np.float32]) -> LogMel:
        """Take the next samples; give the frames that they complete, ``(n_new, mels)``."""
        self._rest = np.concatenate([self._rest, samples])
        frames = log_mel(self._rest, self.settings)
        self._rest = self._rest[len(frames) * self.settings.hop_length :]
        return frames


@dataclass(frozen=True, slots=True)
class _FilterBank:
    """The non-zero weights of all filters, one filter after the other."""

    bins: NDArray[np.intp]
    weights: NDArray[np.float64]
    starts: NDArray[np.intp]
    """Index of each filter's first weight, ``(mels,)``."""


@lru_cache(maxsize=8)
def _window(length: int) -> NDArray[np.float64]:
    """Periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


@lru_cache(maxsize=8)
def _filter_bank(settings: LogMelSettings) -> _FilterBank:
    edges = _mel_to_hz(
        np.linspace(
            _hz_to_mel(settings.f_min_hz), _hz_to_mel(settings.f_max_hz), settings.n_mels + 2
        )
    )
    bins_hz = np.arange(settings.n_fft // 2 + 1) * settings.sample_rate_hz / settings.n_fft
    slopes = edges[:, None] - bins_hz  # (M+2, bins)
    rising = -slopes[:-2] / np.diff(edges)[:-1, None]
    falling = slopes[2:] / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    counts = np.count_nonzero(filters, axis=1)
    if not counts.all():
        raise ValueError(
            f"log_mel.n_mels ({settings.n_mels}) leaves filter {int(np.argmin(counts))} without a "
            f"Fourier bin. Lower log_mel.n_mels or raise log_mel.n_fft ({settings.n_fft})."
        )
    rows, bins = np.nonzero(filters)
    return _FilterBank(bins, filters[rows, bins], np.concatenate([[0], np.cumsum(counts)[:-1]]))


_LINEAR_HZ_PER_MEL: Final = 200 / 3
_LOG_FROM_HZ: Final = 1_000.0
_LOG_FROM_MEL: Final = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP: Final = float(np.log(6.4)) / 27


def _hz_to_mel(hz: float) -> float:
    """Slaney's scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998)."""
    if hz < _LOG_FROM_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return _LOG_FROM_MEL + float(np.log(hz / _LOG_FROM_HZ)) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * _LINEAR_HZ_PER_MEL
    return np.where(
        mel < _LOG_FROM_MEL, linear, _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - _LOG_FROM_MEL))
    )
