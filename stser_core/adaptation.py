"""Speaker and channel adaptation: log-mel normalised by what the stream has been heard to say.

Knowing a speaker's own average spectrum is worth more than any model (docs/results), but a live
monitor knows nothing at the first utterance. So the spectrum, the mean of each mel bin around the
level, is estimated from all speech of the stream up to and including the utterance, and shrunk
towards the training corpora by pseudo-counts: the less was heard, the more the prior counts. Level
and deviation are those of the utterance alone: of others they tell the mood more than the voice.
Training simulates the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stser_core.errors import ShapeError
from stser_core.features import LogMel

HEARD_UTTERANCES: Final = 30
"""Utterances by whose representations a stream remembers a voice."""
HEARD_FRAMES: Final = 10_000
"""Speech that a stream remembers, in frames of 10 ms: older voices and rooms fade."""

_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationSettings:
    """How fast the evidence of a stream replaces the training prior, in frames of 10 ms.

    A pseudo-count of ``k`` frames gives the evidence the weight ``n / (n + k)`` after ``n`` frames.
    """

    level_frames: float = 20.0
    """For the mean over all bins, of the utterance itself: gain and distance of a microphone say nothing
    about emotion."""
    shape_frames: float = 100.0
    """For each bin's mean around that level: the speaker's and the room's spectrum."""
    deviation_frames: float = 400.0
    """For each bin's deviation, of the utterance itself; it needs more frames to be known."""
    voice_utterances: float = 3.0
    """In utterances: for the mean of what they tell of the voice, where the smodel is ``centred``."""

    def __post_init__(self) -> None:
        for name in ("level_frames", "shape_frames", "deviation_frames", "voice_utterances"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"adaptation.{name} ({getattr(self, name):g}) must not be negative."
                )


@dataclass(frozen=True, slots=True, eq=False)
class LogMelStatistics:
    """How many log-mel frames were heard, and their mean and spread per mel bin.

    Merging is exact: the statistics of two recordings merged are those of the joined recording.
    """

    count: float
    """Frames heard; a fraction after :meth:`capped`."""
    mean: NDArray[np.float64]
    """``(mels,)``; zeros where nothing was heard."""
    squares: NDArray[np.float64]
    """Sum of squared deviations from the mean, ``(mels,)``."""

    @classmethod
    def empty(cls, n_mels: int) -> Self:
        """Nothing heard yet."""
        return cls(0.0, np.zeros(n_mels), np.zeros(n_mels))

    @classmethod
    def of(cls, log_mel: LogMel) -> Self:
        """Statistics of the frames of one recording, ``(time, mels)``."""
        if log_mel.ndim != 2:
            raise ShapeError(f"log_mel must be (time, mels), got {log_mel.shape}.")
        if len(log_mel) == 0:
            return cls.empty(log_mel.shape[1])
        frames = log_mel.astype(np.float64)
        mean = frames.mean(axis=0)
        return cls(float(len(frames)), mean, np.square(frames - mean).sum(axis=0))

    @property
    def n_mels(self) -> int:
        return len(self.mean)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Per mel bin, ``(mels,)``; zeros where nothing was heard."""
        return self.squares / self.count if self.count > 0 else self.squares

    def merge(self, other: LogMelStatistics) -> LogMelStatistics:
        """Statistics of both together (Chan, Golub and LeVeque, 1979)."""
        if self.n_mels != other.n_mels:
            raise ShapeError(f"cannot merge statistics of {self.n_mels} and {other.n_mels} mels.")
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        share = other.count / count
        squares = self.squares + other.squares + np.square(step) * (self.count * share)
        return LogMelStatistics(count, self.mean + step * share, squares)

    def capped(self, count: float) -> LogMelStatistics:
        """The same mean and variance, known from at most ``count`` frames: old evidence fades."""
        if self.count <= count:
            return self
        return LogMelStatistics(count, self.mean, self.squares * (count / self.count))


@dataclass(frozen=True, slots=True, eq=False)
class Average:
    """How many were heard, and their mean: of log-mel frames, or of what utterances tell of a voice."""

    count: float
    """A fraction after :meth:`capped`."""
    mean: NDArray[np.float64]
    """``(values,)``; zeros where nothing was heard."""

    @classmethod
    def of(cls, rows: NDArray[np.floating]) -> Self:
        """Of ``(count, values)``."""
        if len(rows) == 0:
            return cls(0.0, np.zeros(rows.shape[1]))
        return cls(float(len(rows)), rows.mean(axis=0, dtype=np.float64))

    def merge(self, other: Average) -> Average:
        """That of both together."""
        if len(self.mean) != len(other.mean):
            raise ShapeError(
                f"cannot merge averages of {len(self.mean)} and {len(other.mean)} values."
            )
        count = self.count + other.count
        share = other.count / count if count > 0 else 0.0
        return Average(count, self.mean + (other.mean - self.mean) * share)

    def capped(self, count: float) -> Average:
        """The same mean, known from at most ``count``: old evidence fades."""
        return Average(min(self.count, count), self.mean)


def voice_offset(voice: Average, settings: AdaptationSettings) -> NDArray[np.float32]:
    """What a voice adds to a representation, as far as it is known: ``(representation,)``.

    The mean over training speech is 0, so that where little was heard nothing is taken off.

    Args:
        voice: Of what utterances tell of it: their speech representations, less what their emotions add
            (:meth:`stser_core.fusion.StserModel.voice`).
        settings: How fast it is believed.
    """
    return (voice.mean * _weight(voice.count, settings.voice_utterances)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class HeardSpeech:
    """All that a stream remembers of what was said: two averages, no words."""

    log_mel: Average | None = None
    """Of frames; None where nothing was heard."""
    voice: Average | None = None
    """Of what utterances that were judged tell of it; None where there were none."""

    def after(self, log_mel: LogMel) -> HeardSpeech:
        """With the frames ``(time, mels)`` of one more utterance; old ones fade."""
        new = Average.of(log_mel)
        merged = new if self.log_mel is None else self.log_mel.merge(new)
        return HeardSpeech(merged.capped(HEARD_FRAMES), self.voice)

    def judged(self, told: NDArray[np.floating] | None) -> HeardSpeech:
        """With what one more utterance tells of the voice, ``(representation,)``; None changes nothing."""
        if told is None:
            return self
        new = Average.of(told[None])
        merged = new if self.voice is None else self.voice.capped(HEARD_UTTERANCES - 1).merge(new)
        return HeardSpeech(self.log_mel, merged)


def normalise(
    log_mel: LogMel,
    heard: Average | None,
    prior: LogMelStatistics,
    settings: AdaptationSettings,
) -> LogMel:
    """Give each mel bin roughly the mean of the speaker's speech as zero, and unit deviation.

    Args:
        log_mel: Speech frames of one utterance, float32 ``(time, mels)``.
        heard: Frames of the stream before this utterance; None where there were none.
        prior: Speech of the training corpora.
        settings: How fast evidence replaces the prior.

    Returns:
        float32 ``(time, mels)``.

    Raises:
        ShapeError: If the numbers of mels differ.
    """
    own = LogMelStatistics.of(log_mel)
    known = Average(own.count, own.mean)
    known = known if heard is None else heard.merge(known)
    if own.n_mels != prior.n_mels:
        raise ShapeError(f"log_mel has {own.n_mels} mels, the prior {prior.n_mels}.")
    shape = known.mean - prior.mean
    mean = (
        prior.mean
        + (own.mean - prior.mean).mean() * _weight(own.count, settings.level_frames)
        + (shape - shape.mean()) * _weight(known.count, settings.shape_frames)
    )
    trust = _weight(own.count, settings.deviation_frames)
    variance = trust * own.variance + (1 - trust) * prior.variance
    scale = 1 / np.sqrt(np.maximum(variance, _LEAST_DEVIATION**2))
    normalised: LogMel = log_mel * scale.astype(np.float32) - (mean * scale).astype(np.float32)
    return normalised


def _weight(count: float, pseudo_count: float) -> float:
    return count / (count + pseudo_count) if count > 0 else 0.0
