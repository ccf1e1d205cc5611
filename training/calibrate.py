"""Temperature scaling (Guo et al., 2017): one number a classifier, found on validation data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature from 0.25 to 8 under which the labels are most likely.

    Args:
        logits: ``(utterances, classes)``.
        labels: ``(utterances,)``.
    """
    return common_temperature([(logits, labels)])


def common_temperature(
    told: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]],
) -> float:
    """The same for several sets of utterances, each of which counts alike, however large.

    Args:
        told: Of each its logits and labels.
    """
    candidates = np.geomspace(0.25, 8.0, 200)
    losses = [
        np.mean([-log_posterior(a, t)[np.arange(len(b)), b].mean() for a, b in told])
        for t in candidates
    ]
    return float(candidates[int(np.argmin(losses))])


def log_posterior(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Log-softmax of logits divided by a temperature, ``(utterances, classes)``."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))
