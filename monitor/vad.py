"""Energy voice-activity detection: level in the speech band, above a noise floor that follows the
room.

A state machine over frames of 20 ms, with no clock and no I/O. It says whether a frame sounds like
speech; how many of them make an utterance is the segmenter's business.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from monitor.events import FRAME_SAMPLES, Samples

SILENCE_DBFS: Final = -120.0
"""Level given to digital silence, whose logarithm there is not."""

INITIAL_FLOOR_DBFS: Final = -60.0
"""The room before anything was heard of it: speech in the first frame stands out from it."""

MIN_FLOOR_DBFS: Final = -75.0
"""Below this there is no room, only converter noise; nothing is measured against it."""

BLOCK_FRAMES: Final = 10
"""Frames (200 ms) over which a minimum is taken: the floor falls at once, and rises by such
steps."""

_ONES: Final = np.ones(FRAME_SAMPLES, np.float32)

BAND_STEP: Final = 4
"""``x[n] - x[n-4]`` at 16 kHz is a comb with its peak at 2 kHz and zeros at 0, 4 and 8 kHz: a DC
offset vanishes, 50 Hz hum is 28 dB down, and it costs one subtraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VadSettings:
    """Energy voice-activity detector. Levels are in dB relative to full scale (dBFS), or above the
    floor."""

    onset_db: float = 9.0
    """Level above the noise floor at which silence turns into speech."""
    offset_db: float = 6.0
    """Level above the noise floor below which speech turns into silence."""
    min_level_dbfs: float = -55.0
    """Nothing below this level is speech, however quiet the room."""
    floor_memory_ms: int = 3_000
    """The noise floor is the quietest moment of this span: longer bridges longer speech without a
    pause."""
    steady_ms: int = 1_000
    """A sound that has been steady this long is noise: the floor rises to it at once."""
    steady_db: float = 1.5
    """Standard deviation of the level up to which a sound is steady."""
    clipped_share: float = 0.001
    """Share of samples at full scale from which on a segment counts as clipped."""

    def __post_init__(self) -> None:
        if self.offset_db > self.onset_db:
            raise ValueError(
                f"vad.offset_db ({self.offset_db:g}) must not exceed vad.onset_db "
                f"({self.onset_db:g}): a segment could never close. "
                "Lower offset_db or raise onset_db."
            )
        if self.offset_db <= 0:
            raise ValueError(
                f"vad.offset_db ({self.offset_db:g}) must be positive: the noise floor itself "
                "would be speech."
            )
        if not SILENCE_DBFS < self.min_level_dbfs < 0:
            raise ValueError(
                f"vad.min_level_dbfs ({self.min_level_dbfs:g}) must lie between "
                f"{SILENCE_DBFS:g} and 0: it is a level relative to full scale."
            )
        if not 0 < self.steady_ms <= self.floor_memory_ms <= 60_000:
            raise ValueError(
                f"vad.steady_ms ({self.steady_ms}) must be positive and not exceed "
                f"vad.floor_memory_ms ({self.floor_memory_ms}), and that not 60000."
            )
        if self.steady_db < 0:
            raise ValueError(f"vad.steady_db ({self.steady_db:g}) must not be negative.")
        if not 0 < self.clipped_share <= 1:
            raise ValueError(
                f"vad.clipped_share ({self.clipped_share:g}) must be above 0 and at most 1."
            )


class NoiseFloor:
    """The level of the room, dB: the quietest moment of the last seconds, or a sound that stays as
    it is.

    It falls at once. It rises where the quiet moment is too long ago, and at once to a sound that
    has been steady for a while, which speech never is.
    """

    def __init__(self, settings: VadSettings, initial_db: float) -> None:
        n_blocks = max(1, settings.floor_memory_ms // (BLOCK_FRAMES * 20))
        self._n_steady = max(1, settings.steady_ms // (BLOCK_FRAMES * 20))
        self._steady_variance = settings.steady_db**2
        # The room is taken to be quiet until it has been heard, so that a first word is heard, too.
        self._minima: deque[float] = deque([initial_db] * n_blocks, maxlen=n_blocks)
        self._sums: deque[tuple[float, float]] = deque(maxlen=self._n_steady)
        self._past_db = initial_db
        self._smooth_db: float | None = None
        self._minimum_db = math.inf
        self._sum = self._sum_squares = 0.0
        self._n_frames = 0

    def push(self, level_db: float) -> float:
        """The floor, with the level of one more frame."""
        smooth = self._smooth_db
        smooth = level_db if smooth is None else smooth + 0.4 * (level_db - smooth)
        self._smooth_db = smooth
        minimum = self._minimum_db
        if smooth < minimum:  # min() takes twice as long, fifty times a second for each stream
            self._minimum_db = minimum = smooth
        self._sum += level_db
        self._sum_squares += level_db * level_db
        self._n_frames += 1
        floor = minimum if minimum < self._past_db else self._past_db
        if self._n_frames == BLOCK_FRAMES:
            self._end_block()
        return floor

    def _end_block(self) -> None:
        self._minima.append(self._minimum_db)
        self._sums.append((self._sum, self._sum_squares))
        if len(self._sums) == self._n_steady:
            n = self._n_steady * BLOCK_FRAMES
            mean = sum(total for total, _ in self._sums) / n
            if sum(squares for _, squares in self._sums) / n - mean * mean <= self._steady_variance:
                recent = list(self._minima)[-self._n_steady :]
                # What is recent stays as it was: its first block may hold the rise itself.
                older = len(self._minima) - self._n_steady
                self._minima.extend([*[min(recent)] * older, *recent])
        self._past_db = min(self._minima)
        self._minimum_db = math.inf
        self._sum = self._sum_squares = 0.0
        self._n_frames = 0


_BAND_ENERGY: Final = 4 * (FRAME_SAMPLES - BAND_STEP)
"""Of a frame whose power in the band is 1: at its peak the comb doubles what passes."""


class VadFrame(NamedTuple):
    """The decision on one frame, and what it was made by."""

    speech: bool
    level_dbfs: float
    """RMS level, without its DC offset."""
    noise_floor_dbfs: float
    """RMS level of the room, in the same band."""


class EnergyVad:
    """Decides for each frame in turn."""

    def __init__(self, settings: VadSettings | None = None) -> None:
        self._settings = settings if settings is not None else VadSettings()
        self._band_floor = NoiseFloor(self._settings, INITIAL_FLOOR_DBFS)
        self._floor = NoiseFloor(self._settings, INITIAL_FLOOR_DBFS)
        self._speech = False

    def push(self, samples: Samples) -> list[VadFrame]:
        """The decisions on one or more frames.

        Args:
            samples: float32 ``(frames * 320,)``, every value finite. A decision does not depend on how many
                frames come at a time; many at a time cost a fraction of what they cost one by one.
        """
        if len(samples) == FRAME_SAMPLES:  # the same sums, without the cost of many at a time
            band = samples[BAND_STEP:] - samples[:-BAND_STEP]
            mean = float(samples.dot(_ONES)) / FRAME_SAMPLES
            power = float(samples.dot(samples)) / FRAME_SAMPLES - mean * mean
            return [self._decide(float(band.dot(band)) / _BAND_ENERGY, power)]
        frames = samples.reshape(-1, FRAME_SAMPLES)
        bands = frames[:, BAND_STEP:] - frames[:, :-BAND_STEP]
        # vecdot sums each row as it would sum that row alone.
        means = np.vecdot(frames, _ONES).astype(np.float64) / FRAME_SAMPLES
        powers = np.vecdot(frames, frames).astype(np.float64) / FRAME_SAMPLES - means * means
        band_powers = np.vecdot(bands, bands).astype(np.float64) / _BAND_ENERGY
        return list(map(self._decide, band_powers.tolist(), powers.tolist()))

    def _decide(self, band_power: float, power: float) -> VadFrame:
        settings, level_dbfs, band_dbfs = self._settings, _dbfs(power), _dbfs(band_power)
        floor_dbfs = self._band_floor.push(band_dbfs)
        floor_dbfs = max(floor_dbfs, MIN_FLOOR_DBFS)
        self._speech = speech = (
            band_dbfs - floor_dbfs >= (settings.offset_db if self._speech else settings.onset_db)
            and level_dbfs >= settings.min_level_dbfs
        )
        return VadFrame(speech, level_dbfs, self._floor.push(level_dbfs))


def _dbfs(power: float) -> float:
    """Mean square as a level; 1.0, the power of a full-scale square wave, is 0 dBFS."""
    return 10 * math.log10(power) if power > 1e-12 else SILENCE_DBFS
