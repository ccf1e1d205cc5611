"""Masking, Bi-LSTM, self-attention and pooling: no row sees its padding or its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stser_core.errors import ShapeError


def valid_mask(lengths: Tensor, time: int) -> Tensor:
    """True where a frame is real.

    Args:
        lengths: Valid frames in each row, int64 ``(batch,)``.
        time: Frames of the padded batch.

    Returns:
        bool ``(batch, time)``.
    """
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def reverse_valid(frames: Tensor, lengths: Tensor) -> Tensor:
    """Turn each row's valid frames round and leave its padding where it is.

    Args:
        frames: ``(batch, time, hidden)``.
        lengths: Valid frames in each row, int64 ``(batch,)``.

    Returns:
        Same shape; applying it twice gives ``frames`` back.
    """
    steps = torch.arange(frames.shape[1], device=frames.device)
    last = lengths[:, None] - 1
    index = torch.where(steps <= last, last - steps, steps)  # (B, T)
    return frames.gather(1, index[:, :, None].expand(-1, -1, frames.shape[2]))


def blanked(frames: Tensor, lengths: Tensor) -> Tensor:
    """Two bands of up to an eighth of the values and two spans of up to a sixth of each row's frames,
    at most 20, set to zero: SpecAugment (Park et al., 2019), drawn anew for each row.

    Args:
        frames: ``(batch, time, values)``.
        lengths: Valid frames in each row, int64 ``(batch,)``.
    """
    batch, time, values = frames.shape
    kept = torch.ones(batch, time, values, dtype=torch.bool)
    for _ in range(2):
        band = torch.rand(batch) * (values // 8 + 1)
        low = torch.rand(batch) * (values - band)
        bins = torch.arange(values)
        kept &= ~((bins >= low[:, None]) & (bins < (low + band)[:, None]))[:, None, :]
        span = torch.rand(batch) * ((lengths / 6).clamp(max=20) + 1)
        start = torch.rand(batch) * (lengths - span).clamp(min=0)
        steps = torch.arange(time)
        kept &= ~((steps >= start[:, None]) & (steps < (start + span)[:, None]))[:, :, None]
    return frames * kept


def attention_pool(frames: Tensor, scores: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Average frames over time with softmax weights, ignoring padding.

    Args:
        frames: Encoder output, float32 ``(batch, time, hidden)``.
        scores: Unnormalised attention, float32 ``(batch, time)``.
        valid: True where a frame is real, bool ``(batch, time)``, at least one in each row.

    Returns:
        One vector per row, float32 ``(batch, hidden)``, and the weights, ``(batch, time)``, which
        are 0 in the padding. A row does not change when the batch is padded further or shares a
        batch with other rows.

    Raises:
        ShapeError: If ``scores`` or ``valid`` does not match ``frames``.
    """
    if scores.shape != frames.shape[:2] or valid.shape != frames.shape[:2]:
        raise ShapeError(
            f"scores and valid must be (batch, time) = {tuple(frames.shape[:2])} to match frames, "
            f"got {tuple(scores.shape)} and {tuple(valid.shape)}."
        )
    weights = scores.masked_fill(~valid, float("-inf")).softmax(dim=-1)  # (B, T)
    return (weights[:, None, :] @ frames).squeeze(1), weights


class BidirectionalLstm(nn.Module):
    """A Bi-LSTM whose backward direction starts at each row's last valid frame.

    Two one-way LSTMs and a reversal instead of a packed sequence: the same numbers, and the graph
    exports with a dynamic batch.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(inputs, hidden, batch_first=True)
        self.backwards = nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """``(batch, time, inputs)`` to ``(batch, time, 2 * hidden)``; padding is arbitrary."""
        ahead, _ = self.forwards(frames)
        behind, _ = self.backwards(reverse_valid(frames, lengths))
        return torch.cat([ahead, reverse_valid(behind, lengths)], dim=-1)


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product self-attention (Vaswani et al., 2017, section 3.2).

    Written out because ``nn.MultiheadAttention`` freezes the sequence length into an ONNX graph.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        if hidden % heads:
            raise ShapeError(f"hidden ({hidden}) must be a multiple of heads ({heads}).")
        self.heads = heads
        self.width = hidden // heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Let each frame attend to the valid frames of its row.

        Args:
            frames: float32 ``(batch, time, hidden)``.
            valid: bool ``(batch, time)``, at least one True in each row.

        Returns:
            float32 ``(batch, time, hidden)``.
        """
        batch = frames.shape[0]
        q, k, v = (
            part.reshape(batch, -1, self.heads, self.width).transpose(1, 2)  # (B, N, T, H/N)
            for part in self.qkv(frames).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None, :])
        joined = mixed.transpose(1, 2).reshape(batch, -1, self.heads * self.width)
        return self.out(joined)  # type: ignore[no-any-return]
