"""EmotionPosterior: four probabilities in the frozen order, and how several of them combine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stser_core.errors import ShapeError
from stser_core.labels import EMOTIONS, Emotion

SUM_TOLERANCE: Final = 1e-6

Probabilities = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class EmotionPosterior:
    """How probable each emotion is."""

    probabilities: Probabilities
    """In the order of :data:`~stser_core.labels.EMOTIONS`; none negative, the sum is 1."""

    def __post_init__(self) -> None:
        values = self.probabilities
        if len(values) != len(EMOTIONS):
            raise ShapeError(f"a posterior has {len(EMOTIONS)} probabilities, got {len(values)}.")
        # Written so that NaN fails as well.
        if not (min(values) >= 0 and abs(sum(values) - 1) <= SUM_TOLERANCE):
            raise ValueError(
                f"posterior {values} must have no negative value and sum to 1 within "
                f"{SUM_TOLERANCE:g}."
            )

    @classmethod
    def from_logits(cls, logits: NDArray[np.floating], temperature: float = 1.0) -> Self:
        """Softmax of ``logits / temperature``.

        Args:
            logits: A classifier's output, ``(classes,)``, every value finite.
            temperature: Calibration; above 1 softens.
        """
        if logits.shape != (len(EMOTIONS),):
            raise ShapeError(f"logits must be ({len(EMOTIONS)},), got {logits.shape}.")
        if not temperature > 0:
            raise ValueError(f"temperature ({temperature:g}) must be above 0.")
        scaled = logits.astype(np.float64) / temperature
        weights = np.exp(scaled - scaled.max())
        return cls._of(weights / weights.sum())

    @classmethod
    def uniform(cls) -> Self:
        """Nothing is known."""
        return cls._of(np.full(len(EMOTIONS), 1 / len(EMOTIONS)))

    @classmethod
    def _of(cls, values: NDArray[np.float64]) -> Self:
        angry, happy, neutral, sad = values.tolist()
        return cls((angry, happy, neutral, sad))

    @property
    def label(self) -> Emotion:
        """The most probable emotion; the first in order among equals."""
        return EMOTIONS[self.probabilities.index(max(self.probabilities))]

    @property
    def confidence(self) -> float:
        """Probability of :attr:`label`."""
        return max(self.probabilities)

    def as_dict(self) -> dict[str, float]:
        """Probabilities by label, in the frozen order."""
        return {emotion.value: p for emotion, p in zip(EMOTIONS, self.probabilities, strict=True)}


def mean_posterior(posteriors: Sequence[EmotionPosterior]) -> EmotionPosterior:
    """The paper's average ensemble: the mean of the classifiers' probabilities (section 2.4)."""
    if not posteriors:
        raise ValueError(
            "the mean of no posterior is not defined: at least one classifier must speak."
        )
    return EmotionPosterior._of(np.mean([each.probabilities for each in posteriors], axis=0))


def agreement(posteriors: Sequence[EmotionPosterior]) -> float:
    """1 minus the Jensen-Shannon divergence (base 2): 1.0 where all agree, and for a single one.

    The divergence of more than two can exceed 1 (at most ``log2`` of their number), so the result
    is held to ``[0, 1]``.
    """
    mixture = mean_posterior(posteriors)
    divergence = _entropy_bits(mixture) - np.mean([_entropy_bits(each) for each in posteriors])
    return float(np.clip(1 - divergence, 0, 1))


def _entropy_bits(posterior: EmotionPosterior) -> float:
    p = np.array([value for value in posterior.probabilities if value > 0])
    return float(-(p * np.log2(p)).sum())
