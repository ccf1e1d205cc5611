"""Which moments and which words carried the verdict; of the moments, pooling attention in bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SALIENCE_HOP_MS: Final = 100
"""Width of a bin of :attr:`Salience.speech`."""


@dataclass(frozen=True, slots=True)
class Salience:
    """Over time, shares of attention: what the model looked at, which is not proof of what decided. Over words, shares
    of what the verdict loses without them."""

    hop_ms: int
    """Width of a speech bin, milliseconds."""
    speech: tuple[float, ...]
    """One share for each bin from the start of the segment, summing to 1; empty without speech."""
    words: tuple[float, ...]
    """One share for each word, summing to 1; empty without text."""


def speech_salience(
    weights: NDArray[np.float32], *, n_frames: int, frame_ms: float, frames_per_weight: int
) -> tuple[float, ...]:
    """Sum attention weights into bins of :data:`SALIENCE_HOP_MS`.

    Args:
        weights: Attention over pooled frames, ``(pooled_time,)``, summing to 1.
        n_frames: Log-mel frames of the segment.
        frame_ms: Hop of the log-mel frames, milliseconds.
        frames_per_weight: Log-mel frames that one weight stands for.

    Returns:
        A share for each bin, summing to 1. A weight whose span crosses a bin's edge is divided.
    """
    duration_ms = n_frames * frame_ms
    n_bins = max(1, int(np.ceil(duration_ms / SALIENCE_HOP_MS)))
    edges = np.minimum(np.arange(len(weights) + 1) * frames_per_weight * frame_ms, duration_ms)
    # Interpolating the running sum divides each weight evenly over its span.
    running = np.concatenate([[0.0], np.cumsum(weights, dtype=np.float64)])
    bins = np.minimum(np.arange(n_bins + 1) * float(SALIENCE_HOP_MS), duration_ms)
    return shares(np.diff(np.interp(bins, edges, running)))


def shares(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Each over the sum of all, ``(n,)``; all alike where that is not positive."""
    total = values.sum()
    if not total > 0:
        return tuple(np.full(len(values), 1 / max(1, len(values))).tolist())
    return tuple((values / total).tolist())
