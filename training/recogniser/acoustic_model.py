"""The network: log-mel to two scores for each phone, at a third of the frame rate.

A factorised time-delay network (TDNN-F: Povey et al., *Semi-orthogonal low-rank matrix factorization for
deep neural networks*, Interspeech 2018), made only of parts that Kaldi's ``nnet3`` can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.recogniser.features import N_MELS, SUBSAMPLING, n_outputs
from training.recogniser.lexicon import PHONES
from training.recogniser.settings import NetworkSettings

SPLICE: Final = 3
"""Frames on either side that the first layer hears at once."""
N_OUTPUTS: Final = 2 * len(PHONES)
"""For each phone the score of its first frame, then for each phone that of a further one."""


class FactorisedLayer(nn.Module):
    """Two linear halves around a bottleneck; the first hears the past, the second the future."""

    def __init__(self, width: int, bottleneck: int, bypass: float, dropout: float) -> None:
        super().__init__()
        self.narrow = nn.Linear(2 * width, bottleneck, bias=False)
        self.widen = nn.Linear(2 * bottleneck, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.bypass = bypass

    def forward(self, hidden: Tensor) -> Tensor:
        """``(batch, time, width)`` to ``(batch, time - 2, width)``."""
        narrow = self.narrow(torch.cat([hidden[:, :-1], hidden[:, 1:]], dim=-1))
        wide = self.widen(torch.cat([narrow[:, :-1], narrow[:, 1:]], dim=-1))
        fresh = self.dropout(torch.relu(normed(self.norm, wide)))
        both: Tensor = fresh + self.bypass * hidden[:, 1:-1]
        return both


def normed(norm: nn.BatchNorm1d, hidden: Tensor) -> Tensor:
    """Batch normalisation over batch and time, ``(batch, time, width)``."""
    flat: Tensor = norm(hidden.reshape(-1, hidden.shape[-1]))
    return flat.reshape(hidden.shape)


class AcousticModel(nn.Module):
    """Phone scores from log-mel."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.width
        self.settings = settings
        self.register_buffer("mean", torch.zeros(N_MELS))
        self.register_buffer("deviation", torch.ones(N_MELS))
        self.splice = nn.Linear((2 * SPLICE + 1) * N_MELS, width)
        self.norm = nn.BatchNorm1d(width)
        self.layers = nn.ModuleList(
            FactorisedLayer(width, settings.bottleneck, settings.bypass, settings.dropout)
            for _ in range(settings.layers)
        )
        self.scores = nn.Linear(width, N_OUTPUTS)
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)

    @property
    def context(self) -> int:
        """Frames of input that an output hears on either side of its own."""
        return SPLICE + SUBSAMPLING * len(self.layers)

    def forward(self, frames: Tensor) -> Tensor:
        """Scores of an utterance that :func:`pad` has padded.

        Args:
            frames: Log-mel, float32 ``(batch, time, mels)``.

        Returns:
            float32 ``(batch, outputs, 2 * phones)``; natural logarithms up to a constant.
        """
        normal = (frames - self.mean) / self.deviation
        spliced = normal.unfold(1, 2 * SPLICE + 1, SUBSAMPLING)  # (B, M, mels, 7)
        spliced = spliced.transpose(2, 3).flatten(2)  # (B, M, 7 * mels), frame by frame
        hidden = torch.relu(normed(self.norm, self.splice(spliced)))
        for layer in self.layers:
            hidden = layer(hidden)
        scores: Tensor = self.scores(hidden)
        return scores.float()


def pad(utterances: Sequence[NDArray[np.float32]], context: int) -> tuple[Tensor, Tensor]:
    """One batch, its edges continued by copies of the first and last frame, as Kaldi does.

    Args:
        utterances: Log-mel of each, ``(time, mels)``, at least one frame.
        context: Frames that the network hears on either side.

    Returns:
        float32 ``(batch, time, mels)`` and the number of outputs of each row, int64 ``(batch,)``.
    """
    lengths = [n_outputs(len(frames)) for frames in utterances]
    total = SUBSAMPLING * (max(lengths) - 1) + 1 + context
    rows = [
        np.pad(frames, ((context, max(0, total - len(frames))), (0, 0)), mode="edge")[
            : context + total
        ]
        for frames in utterances
    ]
    return torch.from_numpy(np.stack(rows)), torch.tensor(lengths)
