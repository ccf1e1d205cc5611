"""tmodel: token identifiers -> ALBERT -> attention pooling -> text representation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel

from stser_core.layers import attention_pool
from stser_core.sizes import TextModelSettings

__all__ = ["TextModel", "TextModelSettings", "TextOutput"]


@dataclass(frozen=True, slots=True)
class TextOutput:
    """What the tmodel says of a batch."""

    representation: Tensor
    """float32 ``(batch, representation)``."""
    weights: Tensor
    """Share of each token, float32 ``(batch, tokens)``; 0 in the padding, rows sum to 1."""


class TextModel(nn.Module):
    """ALBERT and a pooling that starts as the mean, as its sentence encoder was trained."""

    def __init__(self, settings: TextModelSettings) -> None:
        super().__init__()
        self.settings = settings
        config = AlbertConfig(
            vocab_size=settings.vocabulary,
            embedding_size=settings.embedding,
            hidden_size=settings.hidden,
            num_hidden_layers=settings.layers,
            num_hidden_groups=settings.groups,
            num_attention_heads=settings.heads,
            intermediate_size=settings.intermediate,
            max_position_embeddings=settings.max_tokens,
            hidden_act="gelu_new",
            hidden_dropout_prob=settings.dropout,
            attention_probs_dropout_prob=settings.dropout,
        )
        self.albert = AlbertModel(config, add_pooling_layer=False)
        self.score = nn.Linear(settings.hidden, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> TextOutput:
        """Represent sentences.

        Args:
            ids: Token identifiers, int64 ``(batch, tokens)``.
            mask: 1 for a token, 0 for padding, int64 ``(batch, tokens)``; a 1 in each row.
        """
        valid = mask > 0
        states = self.albert(
            input_ids=ids.masked_fill(~valid, 0),
            # Additive and four-dimensional, so that transformers neither builds nor traces its own.
            attention_mask=(1.0 - valid[:, None, None, :].float()) * -1e9,
        ).last_hidden_state  # (B, L, H)
        representation, weights = attention_pool(states, self.score(states).squeeze(-1), valid)
        return TextOutput(representation, weights)
