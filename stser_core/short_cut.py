"""A short cut past the recurrent part: functionals of log-mel over time, as phoneticians use them.

What convolution, LSTM and attention have to learn from examples, a fixed formula can say of the whole
utterance at once: how loud and how lively each band is, how the loud and the quiet parts sound, how
fast it changes. With little training data that is most of what can be known (docs/results/training.md),
and it is learnt in seconds; the recurrent part adds what no formula says.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from stser_core.layers import valid_mask
from stser_core.sizes import SpeechModelSettings

LAGS: Final = (1, 4, 16)
"""Frames over which change is measured: within a sound, between sounds, between syllables."""
_LOUDNESS: Final = 3.0
"""How much more a frame counts among the loud, or less among the quiet, for each deviation of level."""
_LOW_SHARE: Final = 0.375
"""Share of the mel bins, from below, in which the harmonics of a voice are apart."""
_LEAST: Final = 1e-4


class ShortCut(nn.Module):
    """Functionals, standardised and projected to the size of the representation."""

    ripples: Tensor

    def __init__(self, settings: SpeechModelSettings) -> None:
        super().__init__()
        low = round(_LOW_SHARE * settings.n_mels)
        waves = torch.arange(1, low - 4)[None] * torch.arange(low)[:, None] * (math.pi / low / 1.3)
        self.register_buffer("ripples", torch.cat([waves.cos(), waves.sin()], dim=1) / low)
        values = (8 + len(LAGS)) * settings.n_mels - 1 + 2 * waves.shape[1] + 1
        self.norm = nn.BatchNorm1d(values, affine=False)
        self.dropout = nn.Dropout(settings.short_cut_dropout)
        self.project = nn.Linear(values, settings.representation)

    def forward(self, log_mel: Tensor, lengths: Tensor) -> Tensor:
        """Normalised log-mel ``(batch, time, mels)`` to ``(batch, representation)``.

        What lies beyond a row's length has no influence.
        """
        known = functionals(log_mel, lengths, self.ripples)
        return self.project(self.dropout(self.norm(known)))  # type: ignore[no-any-return]


def functionals(log_mel: Tensor, lengths: Tensor, ripples: Tensor) -> Tensor:
    """Of each mel bin and row: mean, deviation, skewness, slope, covariance with the next bin, change
    over :data:`LAGS`; mean and deviation of the loud parts, mean of the quiet; ripples of the low bins
    in the loud parts (harmonics); the logarithm of the length.

    Args:
        log_mel: Normalised, float32 ``(batch, time, mels)``; padding may hold anything.
        lengths: int64 ``(batch,)``.
        ripples: Cosines and sines over the low bins, ``(low bins, 2 * ripples)``.

    Returns:
        float32 ``(batch, values)``.
    """
    valid = valid_mask(lengths, log_mel.shape[1])
    x = log_mel.masked_fill(~valid[:, :, None], 0.0)
    real = valid[:, :, None].to(x.dtype)
    count = lengths[:, None].to(x.dtype)  # (B, 1)
    mean = x.sum(dim=1) / count
    centred = (x - mean[:, None]) * real
    deviation = _root((centred * centred).sum(dim=1) / count)
    skewness = (centred * centred * centred).sum(dim=1) / count / (deviation + 0.1) ** 3
    together = (centred[:, :, 1:] * centred[:, :, :-1]).sum(dim=1) / count
    steps = torch.arange(x.shape[1], device=x.device).to(x.dtype)
    place = 2 * steps / (count - 1).clamp(min=1.0) - 1  # (B, T), -1 at the start and 1 at the end
    slope = (place[:, :, None] * centred).sum(dim=1) / count
    changes = [
        ((x[:, lag:] - x[:, :-lag]).abs() * real[:, lag:]).sum(dim=1) / (count - lag).clamp(min=1.0)
        for lag in LAGS
    ]
    level = x.mean(dim=2)  # (B, T)
    louder = (_LOUDNESS * level).masked_fill(~valid, float("-inf")).softmax(dim=1)[:, None]
    quieter = (-_LOUDNESS * level).masked_fill(~valid, float("-inf")).softmax(dim=1)[:, None]
    loud = (louder @ x)[:, 0]
    loud_deviation = _root((louder @ (x * x))[:, 0] - loud * loud)
    quiet = (quieter @ x)[:, 0]
    low = x[:, :, : ripples.shape[0]]
    waves = (low - low.mean(dim=2, keepdim=True)) @ ripples
    half = ripples.shape[1] // 2
    size = _root(waves[:, :, :half] ** 2 + waves[:, :, half:] ** 2)
    ripple = (louder @ size)[:, 0]
    ripple_deviation = _root((louder @ (size * size))[:, 0] - ripple * ripple)
    moments = [mean, deviation, skewness, slope, together, *changes, loud, loud_deviation, quiet]
    return torch.cat([*moments, ripple, ripple_deviation, count.log()], dim=1)


def _root(square: Tensor) -> Tensor:
    """A root with a slope everywhere, also where rounding left less than nothing."""
    return (square.clamp(min=0.0) + _LEAST).sqrt()
