"""What a voice adds to its representations, as training and evaluation simulate that it is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stser_core.adaptation import AdaptationSettings, VoiceStatistics


def taken_off(representations: Tensor, group: int, settings: AdaptationSettings) -> Tensor:
    """Representations without what is known of their voice from some others of their group.

    Of each row, 0 to all of the others in its group were heard before, drawn at random. The gradient goes through
    them, too.

    Args:
        representations: ``(batch, representation)``; ``group`` neighbours are of one voice.
        group: Divides the batch.
        settings: How fast a voice is believed.
    """
    grouped = representations.view(-1, group, representations.shape[1])
    order = torch.rand(len(grouped), group, group)
    order.diagonal(dim1=1, dim2=2).fill_(2.0)  # itself comes last, and is never heard before
    count = torch.randint(group, (len(grouped), group, 1))
    before = (order.argsort(dim=2).argsort(dim=2) < count).float()
    offset = before @ grouped / (count + settings.voice_utterances)
    return (grouped - offset).flatten(0, 1)


def offsets(
    representations: NDArray[np.float32],
    before: Sequence[Sequence[int]],
    settings: AdaptationSettings,
) -> NDArray[np.float32]:
    """What each voice adds, known from the utterances before: ``(rows, representation)``.

    Args:
        representations: Of all utterances, ``(utterances, representation)``.
        before: For each row, which of these were heard.
        settings: How fast a voice is believed.
    """
    rows = np.zeros((len(before), representations.shape[1]), np.float32)
    for row, heard in zip(rows, before, strict=True):
        if len(heard) > 0:
            mean = representations[list(heard)].mean(axis=0, dtype=np.float64)
            row[:] = VoiceStatistics(len(heard), mean).offset(settings)
    return rows
