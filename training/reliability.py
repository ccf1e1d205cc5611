"""How far probabilities can be trusted: calibration, and accuracy against coverage."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.calibrate import log_posterior
from training.metrics import (
    calibration_error,
    confusion,
    unweighted_accuracy,
    weighted_accuracy,
)

Posteriors = NDArray[np.float64]
"""Calibrated probabilities, ``(utterances, classes)``."""
BINS: Final = 10
"""Of a reliability diagram, each as wide as the others."""


def calibrated(logits: NDArray[np.float32], scale: float) -> Posteriors:
    """Posteriors of logits ``(..., classes)`` at a temperature."""
    flat = log_posterior(logits.reshape(-1, logits.shape[-1]), scale)
    return np.asarray(np.exp(flat).reshape(logits.shape))


def quality(posteriors: Posteriors, truth: NDArray[np.int64]) -> dict[str, float]:
    """WA, UA and expected calibration error."""
    counts = confusion(truth, posteriors.argmax(axis=1))
    return {
        "WA": round(weighted_accuracy(counts), 4),
        "UA": round(unweighted_accuracy(counts), 4),
        "ECE": round(calibration_error(posteriors, truth), 4),
    }


def coverage(posteriors: Posteriors, truth: NDArray[np.int64]) -> list[tuple[float, float, float]]:
    """What a bound on confidence costs and brings.

    Returns:
        Rows of bound, share of verdicts that reach it, and accuracy among those, for bounds from
        .25 up, as long as 50 verdicts are left.
    """
    confidence = posteriors.max(axis=1)
    correct = posteriors.argmax(axis=1) == truth
    rows = []
    for bound in np.arange(0.25, 1.0, 0.025):
        kept = confidence >= bound
        if kept.sum() < 50:
            break
        rows.append((round(float(bound), 3), float(kept.mean()), float(correct[kept].mean())))
    return rows


def diagram(posteriors: Posteriors, truth: NDArray[np.int64]) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of the verdicts in each of :data:`BINS`, empty ones left out."""
    confidence = posteriors.max(axis=1)
    correct = posteriors.argmax(axis=1) == truth
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        (float(confidence[which == b].mean()), float(correct[which == b].mean()), int(n))
        for b in range(BINS)
        if (n := (which == b).sum()) > 0
    ]


def least_bound(
    values: NDArray[np.float64], correct: NDArray[np.bool_], wanted: float = 0.5, near: int = 100
) -> float:
    """The bound below which verdicts are more often wrong than ``wanted`` allows.

    Args:
        values: Confidence or agreement of validation verdicts.
        correct: Whether each was right.
        wanted: Least accuracy of verdicts just above the bound.
        near: How many neighbours in the order of values are looked at together.

    Returns:
        From the end of the last stretch of ``near`` verdicts, going up, that is right less often than
        ``wanted``; 0 where none is.
    """
    order = np.argsort(values)
    right = correct[order].astype(np.float64)
    if len(right) < near:
        return 0.0
    share = np.convolve(right, np.ones(near) / near, mode="valid")
    poor = np.flatnonzero(share < wanted)
    return 0.0 if len(poor) == 0 else float(values[order][poor[-1] + near // 2])
