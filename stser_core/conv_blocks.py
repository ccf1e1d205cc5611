"""Convolution blocks beyond the paper's single plain one: residual and dilated (its future work).

No row sees its padding: whatever a convolution reads beyond a row's end is zero, as it is at the end
of a row that is not padded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stser_core.sizes import BlockKind, SpeechModelSettings


def silenced(maps: Tensor, valid: Tensor) -> Tensor:
    """Zero beyond each row's end.

    Args:
        maps: float32 ``(batch, channels, time, mels)``.
        valid: True where a row has frames, bool ``(batch, time)``.
    """
    return maps.masked_fill(~valid[:, None, :, None], 0.0)


class ResidualEnd(nn.Module):
    """The second half of a residual first block: another convolution, and a path around both."""

    def __init__(self, settings: SpeechModelSettings) -> None:
        super().__init__()
        self.again = _Convolution(settings, dilation=1)
        self._stride = settings.stride_time, settings.stride_mels
        # A 1x1 convolution of one channel is a factor for each map. As a convolution with a stride
        # its gradient corrupts the heap (oneDNN in PyTorch 2.13 on a CPU).
        self.shortcut = nn.Parameter(torch.empty(settings.channels).uniform_(-1, 1))

    def forward(self, framed: Tensor, maps: Tensor, valid: Tensor) -> Tensor:
        """Input and output of the first half to the output of the block.

        Args:
            framed: float32 ``(batch, 1, time, mels)``.
            maps: After ReLU, float32 ``(batch, channels, strided_time, strided_mels)``.
            valid: bool ``(batch, strided_time)``.
        """
        time, mels = self._stride
        around = framed[:, :, ::time, ::mels] * self.shortcut[:, None, None]
        return F.relu(self.again(silenced(maps, valid)) + around)


class FurtherBlock(nn.Module):
    """A block after the pooling, which keeps the shape of what it is given."""

    def __init__(self, kind: BlockKind, place: int, settings: SpeechModelSettings) -> None:
        """Make one.

        Args:
            kind: Of the block.
            place: Among all blocks, from 0; a dilated block reaches 2 to its power frames apart.
            settings: Channels and kernel.
        """
        super().__init__()
        self.convolution = _Convolution(settings, dilation=2**place if kind == "dilated" else 1)
        self.again = _Convolution(settings, dilation=1) if kind == "residual" else None

    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        """``(batch, channels, time, mels)`` to the same shape; ``valid`` is bool ``(batch, time)``."""
        maps = silenced(maps, valid)
        inner = self.convolution(maps)
        if self.again is None:
            return F.relu(inner)
        return F.relu(maps + self.again(silenced(F.relu(inner), valid)))


class _Convolution(nn.Sequential):
    """Convolution and batch normalisation; as many maps, frames and bins out as in."""

    def __init__(self, settings: SpeechModelSettings, dilation: int) -> None:
        time, mels = settings.kernel_time, settings.kernel_mels
        super().__init__(
            nn.Conv2d(
                settings.channels,
                settings.channels,
                (time, mels),
                padding=(time // 2 * dilation, mels // 2),
                dilation=(dilation, 1),
                bias=False,
            ),
            nn.BatchNorm2d(settings.channels),
        )
