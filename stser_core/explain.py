"""Which moments and which words carried the verdict: pooling attention in bins; what leaves with each word."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SALIENCE_HOP_MS: Final = 100
"""Width of a bin of :attr:`Salience.speech`."""

WORD_GROUPS: Final = 10
"""Sentences that are read for an explanation at most: of a longer one, neighbouring words are left out together."""


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
    return _shares(np.diff(np.interp(bins, edges, running)))


def word_groups(n_words: int) -> list[range]:
    """At most :data:`WORD_GROUPS` runs of neighbours, as equal as can be: each word alone in a short sentence."""
    n_groups = min(n_words, WORD_GROUPS)
    edges = [n_words * at // n_groups for at in range(n_groups + 1)] if n_groups else [0]
    return [range(start, end) for start, end in itertools.pairwise(edges)]


def word_salience(
    whole: NDArray[np.float32], without: NDArray[np.float32], groups: Sequence[range]
) -> tuple[float, ...]:
    """How much of the verdict of the text classifier goes with each word.

    Args:
        whole: Logits of the sentence, ``(classes,)``.
        without: Logits of the sentence without each group of words, ``(groups, classes)``; a row that is not
            finite stands for a sentence of which nothing is left.
        groups: Neighbouring words that were left out together, which share alike; all words, in order.

    Returns:
        A share for each word, summing to 1: of the falls of the log-odds of the sentence's class. Where the class
        becomes likelier without a word, its share is 0.
    """
    chosen = int(whole.argmax())
    before = _log_odds(whole[None], chosen)[0]
    after = _log_odds(np.where(np.isfinite(without), without, 0.0), chosen)
    falls = np.maximum(before - after, 0.0)
    return _shares(
        np.concatenate(
            [
                np.full(len(group), fall / len(group))
                for group, fall in zip(groups, falls, strict=True)
            ]
        )
    )


def _log_odds(logits: NDArray[np.float32], chosen: int) -> NDArray[np.float64]:
    """Of one class against all others, ``(rows,)``."""
    wide = logits.astype(np.float64)
    others = np.delete(wide, chosen, axis=1)
    highest = others.max(axis=1)
    total = highest + np.log(np.exp(others - highest[:, None]).sum(axis=1))
    odds: NDArray[np.float64] = wide[:, chosen] - total
    return odds


def _shares(values: NDArray[np.float64]) -> tuple[float, ...]:
    total = values.sum()
    if not total > 0:
        return tuple(np.full(len(values), 1 / max(1, len(values))).tolist())
    return tuple((values / total).tolist())
