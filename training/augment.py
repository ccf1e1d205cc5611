"""What microphones, rooms and recognisers do to speech, done to training data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stser_core.features import LogMel

_DB = np.log(10) / 10
"""One decibel of power in natural logarithm."""


def response(n_mels: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """What another microphone, distance and gain add to every frame of log-mel, ``(mels,)``."""
    axis = np.linspace(-1, 1, n_mels)
    phase, waves = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2)
    ripple = rng.normal(0, 0.3) * np.cos(np.pi * axis * waves + phase)
    return (rng.normal(0, 1.0) + rng.normal(0, 0.5) * axis + ripple).astype(np.float32)


def with_noise(log_mel: LogMel, noise: LogMel, snr_db: float, rng: np.random.Generator) -> LogMel:
    """Add a recording of noise, in power.

    Args:
        log_mel: float32 ``(time, mels)``, not normalised.
        noise: By the same front end, of any length.
        snr_db: Ratio of the loud parts of both: pauses say nothing of it.
        rng: Chooses the excerpt of the noise.
    """
    excerpt = _fitted(noise, len(log_mel), rng)
    distance = _loud(log_mel) - _loud(excerpt)
    loudened = excerpt + np.float32(distance - snr_db * _DB)
    # Not logaddexp, which takes five times as long; no power here is too small or large for exp.
    return np.asarray(np.log(np.exp(log_mel) + np.exp(loudened)), np.float32)


def _loud(log_mel: LogMel) -> float:
    """What 5 % of the values exceed."""
    at = int(0.95 * log_mel.size)
    return float(np.partition(log_mel, at, axis=None)[at])


def tract(n_mels: int, factor: float) -> NDArray[np.float32]:
    """Another vocal tract, as a matrix ``(mels, mels)`` by which log-mel is multiplied from the right.

    What lay at mel bin ``factor * k`` moves to ``k``; beyond the last bin the last one is held.
    """
    at = np.clip(np.arange(n_mels) * factor, 0, n_mels - 1)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, n_mels - 1)
    share = at - low
    matrix = np.zeros((n_mels, n_mels), np.float32)
    matrix[low, np.arange(n_mels)] += (1 - share).astype(np.float32)
    matrix[high, np.arange(n_mels)] += share.astype(np.float32)
    return matrix


def stretched(log_mel: LogMel, factor: float) -> LogMel:
    """Slower (above 1) or faster speech at the same pitch: frames are repeated or left out."""
    frames = max(1, round(len(log_mel) * factor))
    return log_mel[np.arange(frames) * len(log_mel) // frames]


def _fitted(noise: LogMel, frames: int, rng: np.random.Generator) -> LogMel:
    """An excerpt of the noise as long as the speech, repeated where it is shorter."""
    if len(noise) < frames:
        noise = np.tile(noise, (frames // len(noise) + 1, 1))
    start = rng.integers(len(noise) - frames + 1)
    return noise[start : start + frames]


def mask(log_mel: LogMel, rng: np.random.Generator) -> LogMel:
    """Blank two bands and two spans of a normalised log-mel (SpecAugment, Park et al., 2019)."""
    frames, n_mels = log_mel.shape
    masked = log_mel.copy()
    for _ in range(2):
        band = int(rng.integers(0, max(1, n_mels // 8) + 1))
        start = int(rng.integers(0, n_mels - band + 1))
        masked[:, start : start + band] = 0
        span = int(rng.integers(0, max(1, min(20, frames // 6)) + 1))
        start = int(rng.integers(0, frames - span + 1))
        masked[start : start + span] = 0
    return masked


def crop(log_mel: LogMel, frames: int, rng: np.random.Generator) -> LogMel:
    """An excerpt of at most this many frames."""
    if len(log_mel) <= frames:
        return log_mel
    start = int(rng.integers(len(log_mel) - frames + 1))
    return log_mel[start : start + frames]
