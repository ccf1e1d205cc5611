"""Whether a sound is like the speech that the model was trained on, or rather like a noise.

A classifier of emotions names one for any sound, a dog's bark included, and often with confidence.
Its own probabilities cannot say that. The distance of the sound from the training speech can
(Mahalanobis distance, Lee et al., 2018), above all beside its distance from sounds that are no speech
(relative Mahalanobis distance, Ren et al., 2021); here of what :func:`describe` says of the log-mel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stser_core.features import LogMel

BANDS: Final = 8
"""Groups of neighbouring mel bins."""
_SYLLABLE: Final = 10
"""Frames from one part of a syllable to the next: 100 ms."""
_DEPTH: Final = 12.0
"""What lies more than 52 dB below the loud parts is silence, however deep the silence is."""
_LEAST: Final = 0.05
"""Added before logarithms, in natural logarithms of power: what is smaller is no movement."""

LEAST_FRAMES: Final = 40
"""Sounds shorter than 0.4 s are too short to tell speech from others."""

Description = NDArray[np.float64]
"""``(values,)``, see :func:`describe`."""


def describe(log_mel: LogMel) -> Description:
    """Spectrum, movement and grain of a sound, whatever its level.

    In each of :data:`BANDS` bands: the mean; the logarithms of the deviation over time, of the change
    from frame to frame and over 100 ms, and of the difference of a bin from its neighbours, which is
    large in tones and small in noise.

    Args:
        log_mel: Not normalised, float32 ``(time, mels)``, at least one frame.

    Returns:
        ``(5 * BANDS,)``.
    """
    loud = np.partition(log_mel, int(0.95 * log_mel.size), axis=None)[int(0.95 * log_mel.size)]
    frames = np.maximum(log_mel.astype(np.float64), loud - _DEPTH)
    grain = np.zeros_like(frames)
    grain[:, 1:-1] = np.abs(frames[:, 1:-1] - (frames[:, :-2] + frames[:, 2:]) / 2)
    bands = _banded(frames)
    mean = bands.mean(axis=0)
    step = min(_SYLLABLE, max(1, len(bands) - 1))
    movement = (
        bands.std(axis=0),
        _change(bands, 1),
        _change(bands, step),
        _banded(grain).mean(axis=0),
    )
    return np.concatenate([mean - mean.mean(), np.log(np.concatenate(movement) + _LEAST)])


def _banded(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    edges = np.linspace(0, frames.shape[1], BANDS + 1).astype(int)
    return np.add.reduceat(frames, edges[:-1], axis=1) / np.diff(edges)


def _change(bands: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    if len(bands) <= step:
        return np.zeros(bands.shape[1])
    change: NDArray[np.float64] = np.abs(bands[step:] - bands[:-step]).mean(axis=0)
    return change


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A normal distribution of descriptions, as JSON keeps it."""

    mean: tuple[float, ...]
    """``(values,)``."""
    whitening: tuple[tuple[float, ...], ...]
    """Makes the covariance the unit matrix, ``(values, values)``."""

    def __post_init__(self) -> None:
        n = 5 * BANDS
        if {len(self.mean), len(self.whitening), *map(len, self.whitening)} != {n}:
            raise ValueError(
                f"novelty: mean ({len(self.mean)} values) and whitening ({len(self.whitening)} rows) "
                f"must be of {n} values."
            )

    @classmethod
    def of(cls, descriptions: NDArray[np.float64]) -> Self:
        """From many more descriptions than values, ``(sounds, values)``."""
        covariance = np.cov(descriptions.T) + 1e-3 * np.eye(descriptions.shape[1])
        whitening = np.linalg.inv(np.linalg.cholesky(covariance))
        mean = descriptions.mean(axis=0)
        return cls(mean=tuple(_short(mean)), whitening=tuple(tuple(_short(w)) for w in whitening))


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """What speech and other sounds are like, and when a sound is no speech; as JSON keeps it."""

    speech: Kind
    noise: Kind
    far: float
    """Squared distance from speech, a value's mean, that is too far whatever it is near to."""
    farther: float
    """How much farther from speech than from noise is too far, likewise."""

    @classmethod
    def of(
        cls,
        speech: NDArray[np.float64],
        noise: NDArray[np.float64],
        others: NDArray[np.float64],
        share: float,
    ) -> Self:
        """Learn it.

        Args:
            speech: Descriptions of training speech, ``(utterances, values)``.
            noise: Of sounds that are no speech, ``(sounds, values)``.
            others: Of speech of other speakers.
            share: Share of the others that either rule may take for no speech, such as 0.02.
        """
        kinds = Kind.of(speech), Kind.of(noise)
        from_speech, from_noise = (_distances(kind)(others) for kind in kinds)
        return cls(
            speech=kinds[0],
            noise=kinds[1],
            far=float(np.quantile(from_speech, 1 - share / 4)),
            farther=float(np.quantile(from_speech - from_noise, 1 - share)),
        )


class NoveltyDetector:
    """A :class:`Novelty`, ready to judge."""

    def __init__(self, novelty: Novelty) -> None:
        self._novelty = novelty
        self._from_speech = _distances(novelty.speech)
        self._from_noise = _distances(novelty.noise)

    def novel(self, log_mel: LogMel) -> bool:
        """Whether a sound is not like the training speech.

        Args:
            log_mel: Not normalised, float32 ``(time, mels)``; fewer than :data:`LEAST_FRAMES` are
                never called novel.
        """
        if len(log_mel) < LEAST_FRAMES:
            return False
        description = describe(log_mel)
        speech, noise = self._from_speech(description), self._from_noise(description)
        return bool(speech > self._novelty.far or speech - noise > self._novelty.farther)


def _distances(kind: Kind) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Squared Mahalanobis distance, a value's mean, of descriptions ``(..., values)``: ``(...,)``."""
    mean, whitening = np.array(kind.mean), np.array(kind.whitening).T
    return lambda descriptions: np.asarray(np.square((descriptions - mean) @ whitening).mean(-1))


def _short(values: NDArray[np.float64]) -> list[float]:
    """Five digits are plenty, and a third of the size."""
    return [float(f"{value:.5g}") for value in values]
