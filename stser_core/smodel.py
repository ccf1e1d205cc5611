"""smodel: log-mel -> convolution -> Bi-LSTM -> self-attention -> speech representation.

The paper's section 2.1: one convolution block (convolution, batch normalisation, ReLU, max
pooling; more and other blocks are a setting), a bidirectional LSTM and self-attention with four
heads; here attention pooling then turns time into one vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stser_core.conv_blocks import FurtherBlock, ResidualEnd
from stser_core.errors import ShapeError
from stser_core.labels import EMOTIONS
from stser_core.layers import BidirectionalLstm, SelfAttention, attention_pool, blanked, valid_mask
from stser_core.short_cut import ShortCut
from stser_core.sizes import SpeechModelSettings

__all__ = ["SpeechModel", "SpeechModelSettings", "SpeechOutput"]


_NEWEST: Final = 0.01
"""Share of a training batch in the means of the representations."""


@dataclass(frozen=True, slots=True)
class SpeechOutput:
    """What the smodel says of a batch."""

    representation: Tensor
    """float32 ``(batch, representation)``; before the voice is taken off, where it is ``centred``."""
    attention: Tensor
    """Share of each pooled frame, float32 ``(batch, pooled_time)``; 0 in padding, rows sum to 1."""


class SpeechModel(nn.Module):
    """Convolution blocks, Bi-LSTM, multi-head self-attention, attention pooling."""

    mean: Tensor
    """Of the representations of training speech, where they are ``centred``: ``(representation,)``."""
    emotions: Tensor
    """Likewise of each class, relative to that: what an emotion adds, ``(classes, representation)``."""

    def __init__(self, settings: SpeechModelSettings) -> None:
        super().__init__()
        self.settings = settings
        time, mels = settings.kernel_time, settings.kernel_mels
        first, *further = settings.blocks
        dilation = 2 if first == "dilated" else 1
        self.conv = nn.Conv2d(
            1,
            settings.channels,
            (time, mels),
            stride=(settings.stride_time, settings.stride_mels),
            padding=(time // 2 * dilation, mels // 2),
            dilation=(dilation, 1),
            bias=False,
        )
        self.norm = nn.BatchNorm2d(settings.channels)
        pooled_mels = settings.n_mels // settings.pool_mels
        self.lstm = BidirectionalLstm(settings.channels * pooled_mels, settings.hidden)
        self.attention = SelfAttention(settings.representation, settings.heads)
        self.attention_norm = nn.LayerNorm(settings.representation)
        self.score = nn.Linear(settings.representation, 1)
        self.dropout = nn.Dropout(settings.dropout)
        # Last, so that one plain block has the weights, and the names, that it always had.
        self.residual = ResidualEnd(settings) if first == "residual" else None
        self.further = nn.ModuleList(
            FurtherBlock(kind, place, settings) for place, kind in enumerate(further, start=1)
        )
        self.short_cut = ShortCut(settings) if settings.short_cut else None
        if settings.short_cut:
            # Beside it the recurrent part starts small, and grows by what it adds.
            self.share = nn.Parameter(torch.full((settings.representation,), 0.1))
        if settings.centred:
            self.register_buffer("mean", torch.zeros(settings.representation))
            self.register_buffer("emotions", torch.zeros(len(EMOTIONS), settings.representation))

    def forward(self, log_mel: Tensor, lengths: Tensor) -> SpeechOutput:
        """Represent utterances.

        Args:
            log_mel: Normalised log-mel, float32 ``(batch, time, mels)``; what lies beyond a row's
                length has no influence.
            lengths: Frames of each row, int64 ``(batch,)``, in ``[settings.pool_time, time]``.

        Only in training do rows share something: the batch normalisation's statistics.
        """
        frames, valid = self.frames(log_mel, lengths)
        representation, weights = attention_pool(frames, self.score(frames).squeeze(-1), valid)
        if self.short_cut is not None:
            representation = self.short_cut(log_mel, lengths) + self.share * representation
        if self.settings.centred:
            if self.training:
                self.mean.lerp_(representation.detach().mean(dim=0).float(), _NEWEST)
            representation = representation - self.mean
        return SpeechOutput(representation, weights)

    def follow(self, representation: Tensor, labels: Tensor) -> None:
        """Let :attr:`emotions` follow a training batch.

        Args:
            representation: As :meth:`forward` gives it, ``(batch, representation)``.
            labels: int64 ``(batch,)``.
        """
        for label in set(labels.tolist()):
            added = representation[labels == label].detach().mean(dim=0)
            self.emotions[label].lerp_(added, _NEWEST)

    def voice(self, representation: Tensor, posterior: Tensor) -> Tensor:
        """Representations less what their emotions add; as they are where nothing is ``centred``.

        Args:
            representation: As :meth:`forward` gives it, ``(batch, representation)``.
            posterior: Of the emotions, ``(batch, classes)``.
        """
        if not self.settings.centred:
            return representation
        return representation - posterior @ self.emotions

    def frames(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What is pooled over time, as :meth:`forward` takes it.

        Returns:
            Pooled frames, float32 ``(batch, pooled_time, representation)``, and which of them are not
            padding, bool ``(batch, pooled_time)``.
        """
        if log_mel.shape[-1] != self.settings.n_mels:
            raise ShapeError(
                f"log_mel must have {self.settings.n_mels} mels, got {log_mel.shape[-1]}."
            )
        # Rounded down: a pooled frame that padding could have touched is not a frame.
        pooled_lengths = torch.div(lengths, self.settings.pool_time, rounding_mode="floor")
        maps = self._convolve(log_mel, lengths)  # (B, C, T', M')
        valid = valid_mask(pooled_lengths, maps.shape[2])
        for block in self.further:
            maps = block(maps, valid)
        frames = maps.permute(0, 2, 3, 1).flatten(2)  # (B, T', M'*C)
        frames = self.lstm(self.dropout(frames), pooled_lengths)  # (B, T', 2*H)
        # The LSTM of padding is arbitrary but finite, so masking it later is enough.
        frames = self.dropout(frames)
        return self.attention_norm(frames + self.dropout(self.attention(frames, valid))), valid

    def _convolve(self, log_mel: Tensor, lengths: Tensor) -> Tensor:
        """First block and max pool: ``(batch, channels, pooled_time, pooled_mels)``."""
        valid = valid_mask(lengths, log_mel.shape[1])
        # masked_fill and not a product: padding may be infinite or not a number.
        framed = log_mel.masked_fill(~valid[:, :, None], 0.0)
        if self.training and self.settings.masks:
            framed = blanked(framed, lengths)
        # One channel appended and moved is "channels last" to PyTorch, which makes this block,
        # most of the training time, two to three times faster than log_mel[:, None].
        framed = framed[..., None].permute(0, 3, 1, 2)  # (B, 1, T, M)
        maps = F.relu(self.norm(self.conv(framed)), inplace=True)  # (B, C, T, M)
        sizes = self.settings
        if self.residual is not None:
            stride = sizes.stride_time
            strided = torch.div(lengths + stride - 1, stride, rounding_mode="floor")
            maps = self.residual(framed, maps, valid_mask(strided, maps.shape[2]))
        maps = F.max_pool2d(
            maps, (sizes.pool_time // sizes.stride_time, sizes.pool_mels // sizes.stride_mels)
        )
        # A stride can leave room for one more pooled frame or bin, half of it beyond the edge.
        return maps[:, :, : log_mel.shape[1] // sizes.pool_time, : sizes.n_mels // sizes.pool_mels]
