"""What a voice adds to its representations, as training and evaluation simulate that it is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stser_core.adaptation import AdaptationSettings, Average, voice_offset


def weights(
    may_be_heard: NDArray[np.bool_],
    count: int,
    settings: AdaptationSettings,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """How much of what each other of a group tells of the voice is taken off each, as if some had been heard before.

    Args:
        may_be_heard: Which of the group's utterances, ``(group,)``.
        count: Of utterances heard before, at most.
        settings: How fast a voice is believed.
        rng: Chooses which.

    Returns:
        ``(group, group)``; none of its own is taken off any.
    """
    taken = np.zeros((len(may_be_heard), len(may_be_heard)), np.float32)
    for at, row in enumerate(taken):
        others = np.flatnonzero(may_be_heard)
        others = rng.permutation(others[others != at])[:count]
        if len(others) > 0:
            row[others] = 1 / (len(others) + settings.voice_utterances)
    return taken


def taken_off(representations: Tensor, told: Tensor, taken: Tensor) -> Tensor:
    """Representations without what is known of their voice from others of their group.

    The gradient goes through these, too.

    Args:
        representations: ``(batch, representation)``; neighbours are of one voice.
        told: What each tells of its voice, likewise (:meth:`stser_core.fusion.StserModel.voice`).
        taken: Of each group its :func:`weights`, ``(groups, group, group)``.
    """
    known = taken @ told.view(*taken.shape[:2], -1)
    return representations - known.flatten(0, 1)


def offsets(
    told: NDArray[np.float32],
    before: Sequence[Sequence[int]],
    settings: AdaptationSettings,
) -> NDArray[np.float32]:
    """What each voice adds, known from the utterances before: ``(rows, representation)``.

    Args:
        told: What each utterance tells of its voice, ``(utterances, representation)``.
        before: For each row, which of these were heard.
        settings: How fast a voice is believed.
    """
    rows = np.zeros((len(before), told.shape[1]), np.float32)
    for row, heard in zip(rows, before, strict=True):
        if len(heard) > 0:
            row[:] = voice_offset(Average.of(told[list(heard)]), settings)
    return rows
