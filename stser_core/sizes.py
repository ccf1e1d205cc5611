"""The sizes of the networks: all that is needed to rebuild them, and part of every manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

BlockKind = Literal["plain", "residual", "dilated"]
"""``plain``: convolution, batch norm, ReLU. ``residual``: two of them with a path around. ``dilated``:
plain, with a kernel stretched over time, twice as far with each further block."""

BLOCK_KINDS: Final[tuple[str, ...]] = get_args(BlockKind)

LEAST_MELS: Final = 13
"""Mel bins without which a short cut has no ripples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechModelSettings:
    """The smodel. Time is in log-mel frames of 10 ms before the pooling."""

    n_mels: int = 64
    """Mel bins of the input."""
    blocks: tuple[BlockKind, ...] = ("plain",)
    """Convolution blocks, the first before the pooling, further ones after it. One plain block is
    the paper's; the others are its future work."""
    channels: int = 32
    """Feature maps of the convolution."""
    kernel_time: int = 5
    """Frames under the convolution kernel; odd."""
    kernel_mels: int = 5
    """Mel bins under the convolution kernel; odd."""
    stride_time: int = 2
    """Frames from one position of the kernel to the next."""
    stride_mels: int = 2
    """Mel bins from one position to the next; strides of 2 make training four times as fast."""
    pool_time: int = 4
    """Frames that stride and max pooling join: the step of LSTM and attention is 40 ms."""
    pool_mels: int = 8
    """Mel bins that stride and max pooling join."""
    hidden: int = 96
    """Units of the LSTM in each direction."""
    heads: int = 4
    """Heads of the self-attention."""
    short_cut: bool = False
    """Add a projection of functionals of the log-mel over time to the representation."""
    centred: bool = False
    """Take the representation relative to the mean over training speech, and to a voice's own as it becomes
    known (:func:`stser_core.adaptation.voice_offset`)."""
    masks: bool = False
    """Blank two bands and two spans of what the recurrent part hears, while training (SpecAugment, Park
    et al., 2019); a short cut hears all."""
    short_cut_dropout: float = 0.4
    """Share of the functionals dropped, while training: many of them say the same."""
    dropout: float = 0.1
    """Share dropped before and after the LSTM and after the attention, while training."""

    def __post_init__(self) -> None:
        if not self.blocks or not set(self.blocks) <= set(BLOCK_KINDS):
            raise ValueError(
                f"speech.blocks ({', '.join(self.blocks)}) must be one or more of "
                f"{', '.join(BLOCK_KINDS)}."
            )
        if self.kernel_time % 2 == 0 or self.kernel_mels % 2 == 0:
            raise ValueError(
                f"speech.kernel_time ({self.kernel_time}) and speech.kernel_mels "
                f"({self.kernel_mels}) must be odd, so that a frame is the centre of its kernel."
            )
        for axis, stride, pool in (
            ("time", self.stride_time, self.pool_time),
            ("mels", self.stride_mels, self.pool_mels),
        ):
            if stride < 1 or pool % stride:
                raise ValueError(
                    f"speech.stride_{axis} ({stride}) must divide speech.pool_{axis} ({pool}): "
                    "the max pooling joins whole positions of the kernel."
                )
        if min(self.channels, self.hidden, self.pool_time) < 1:
            raise ValueError(
                "speech.channels, speech.hidden and speech.pool_time must be positive."
            )
        if not 1 <= self.pool_mels <= self.n_mels:
            raise ValueError(
                f"speech.pool_mels ({self.pool_mels}) must be at least 1 and at most speech.n_mels "
                f"({self.n_mels})."
            )
        if self.short_cut and self.n_mels < LEAST_MELS:
            raise ValueError(
                f"speech.n_mels ({self.n_mels}) must be {LEAST_MELS} or more where speech.short_cut: it hears "
                "harmonics in the low ones."
            )
        if self.heads < 1 or self.representation % self.heads:
            raise ValueError(
                f"speech.heads ({self.heads}) must divide twice speech.hidden ({self.hidden})."
            )
        _check_dropout("speech.dropout", self.dropout)
        _check_dropout("speech.short_cut_dropout", self.short_cut_dropout)

    @property
    def representation(self) -> int:
        """Values of the speech representation: both directions of the LSTM."""
        return 2 * self.hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModelSettings:
    """The tmodel, an ALBERT: a narrow table of word pieces, and layers that may share weights."""

    vocabulary: int = 30_522
    """Word pieces."""
    embedding: int = 128
    """Width of the token embeddings, before they are widened to ``hidden``."""
    hidden: int = 256
    """Width of the encoder and of the text representation."""
    layers: int = 4
    """Layers that a sentence passes through."""
    groups: int = 1
    """Groups of consecutive layers; a group shares one layer's weights. 1 shares them among all, as
    the published ALBERTs do; as many as ``layers`` shares nothing."""
    heads: int = 8
    """Heads of the self-attention."""
    intermediate: int = 1_024
    """Width of the feed-forward part."""
    max_tokens: int = 128
    """Longest sentence in tokens, start and end included: the length of the position table."""
    dropout: float = 0.1
    """Share dropped of embeddings, hidden states and attention, while training."""

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"text.heads ({self.heads}) must divide text.hidden ({self.hidden}).")
        if self.groups < 1 or self.layers % self.groups:
            raise ValueError(
                f"text.groups ({self.groups}) must divide text.layers ({self.layers})."
            )
        if self.max_tokens < 3:
            raise ValueError(
                f"text.max_tokens ({self.max_tokens}) must leave room for one word: 3."
            )
        _check_dropout("text.dropout", self.dropout)

    @property
    def representation(self) -> int:
        """Values of the text representation."""
        return self.hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class StserSettings:
    """All three classifiers and the two models below them."""

    speech: SpeechModelSettings = field(default_factory=SpeechModelSettings)
    text: TextModelSettings = field(default_factory=TextModelSettings)
    classifier_dropout: float = 0.1
    """Share dropped after each hidden layer of the classifiers, while training."""

    def __post_init__(self) -> None:
        _check_dropout("classifier_dropout", self.classifier_dropout)


def _check_dropout(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} ({value:g}) must be in [0, 1).")
