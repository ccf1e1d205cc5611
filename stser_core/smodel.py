"""smodel: log-mel -> convolution -> Bi-LSTM -> multi-head self-attention -> speech representation (paper, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stser_core.errors import ShapeError
from stser_core.layers import BidirectionalLstm, SelfAttention, attention_pool, valid_mask
from stser_core.sizes import SpeechModelSettings

__all__ = ["SpeechModel", "SpeechModelSettings", "SpeechOutput"]


@dataclass(frozen=True, slots=True)
class SpeechOutput:
    """What the smodel says of a batch."""

    representation: Tensor
    """float32 ``(batch, representation)``."""
    attention: Tensor
    """Share of each pooled frame, float32 ``(batch, pooled_time)``; 0 in the padding, rows sum to 1."""


class SpeechModel(nn.Module):
    """One convolution block, Bi-LSTM, multi-head self-attention, attention pooling."""

    def __init__(self, settings: SpeechModelSettings) -> None:
        super().__init__()
        self.settings = settings
        time, mels = settings.kernel_time, settings.kernel_mels
        self.conv = nn.Conv2d(
            1, settings.channels, (time, mels), padding=(time // 2, mels // 2), bias=False
        )
        self.norm = nn.BatchNorm2d(settings.channels)
        pooled_mels = settings.n_mels // settings.pool_mels
        self.lstm = BidirectionalLstm(settings.channels * pooled_mels, settings.hidden)
        self.attention = SelfAttention(settings.representation, settings.heads)
        self.attention_norm = nn.LayerNorm(settings.representation)
        self.score = nn.Linear(settings.representation, 1)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, log_mel: Tensor, lengths: Tensor) -> SpeechOutput:
        """Represent utterances.

        Args:
            log_mel: Normalised log-mel, float32 ``(batch, time, mels)``; what lies beyond a row's
                length has no influence.
            lengths: Frames of each row, int64 ``(batch,)``, in ``[1, time]``.
        """
        if log_mel.shape[-1] != self.settings.n_mels:
            raise ShapeError(
                f"log_mel must have {self.settings.n_mels} mels, got {log_mel.shape[-1]}."
            )
        frames = self._convolve(log_mel, lengths)  # (B, T', C*M')
        pool = self.settings.pool_time
        pooled_lengths = torch.div(lengths + pool - 1, pool, rounding_mode="floor")
        valid = valid_mask(pooled_lengths, frames.shape[1])
        frames = self.lstm(self.dropout(frames), pooled_lengths)  # (B, T', 2*H)
        # The LSTM of padding is arbitrary but finite, so masking it later is enough.
        frames = self.dropout(frames)
        frames = self.attention_norm(frames + self.dropout(self.attention(frames, valid)))
        representation, weights = attention_pool(frames, self.score(frames).squeeze(-1), valid)
        return SpeechOutput(representation, weights)

    def _convolve(self, log_mel: Tensor, lengths: Tensor) -> Tensor:
        """Conv, batch norm, ReLU, max pool: ``(batch, ceil(time / pool), channels * pooled mels)``."""
        settings = self.settings
        valid = valid_mask(lengths, log_mel.shape[1])
        # masked_fill and not a product: padding may be infinite or not a number.
        framed = log_mel.masked_fill(~valid[:, :, None], 0.0)
        maps = F.relu(self.norm(self.conv(framed[:, None])))  # (B, C, T, M)
        # Zero is the least value after the ReLU, so it is neutral for the maximum: padded frames and the
        # frames added to fill the last pool change nothing.
        maps = maps * valid[:, None, :, None].to(maps.dtype)
        maps = F.pad(maps, (0, 0, 0, settings.pool_time - 1))
        maps = F.max_pool2d(maps, (settings.pool_time, settings.pool_mels))  # (B, C, T', M')
        return maps.permute(0, 2, 1, 3).flatten(2)
