"""Confusion matrix, weighted and unweighted accuracy (WA, UA), expected calibration error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stser_core.labels import EMOTIONS


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts by true class (rows) and predicted class (columns), ``(classes, classes)``."""
    n = len(EMOTIONS)
    return np.bincount(truth * n + predicted, minlength=n * n).reshape(n, n)


def weighted_accuracy(matrix: NDArray[np.int64]) -> float:
    """WA: correct over all utterances."""
    return float(np.trace(matrix) / matrix.sum())


def unweighted_accuracy(matrix: NDArray[np.int64]) -> float:
    """UA: mean recall over the classes that occur."""
    occurring = matrix.sum(axis=1) > 0
    return float((np.diag(matrix)[occurring] / matrix.sum(axis=1)[occurring]).mean())


def calibration_error(
    posteriors: NDArray[np.float64], truth: NDArray[np.int64], bins: int = 15
) -> float:
    """Expected calibration error (Guo et al., 2017): mean gap between confidence and accuracy.

    Args:
        posteriors: ``(utterances, classes)``, rows sum to 1.
        truth: ``(utterances,)``.
        bins: Equal-width bins of confidence.
    """
    confidence = posteriors.max(axis=1)
    correct = posteriors.argmax(axis=1) == truth
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[which == b].mean() - correct[which == b].mean()) * (which == b).mean()
        for b in np.unique(which)
    ]
    return float(np.sum(gaps))
