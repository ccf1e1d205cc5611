"""Concatenation of both representations, and the three 128-64-128 classifiers of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from stser_core.labels import EMOTIONS
from stser_core.sizes import StserSettings
from stser_core.smodel import SpeechModel
from stser_core.tmodel import TextModel

__all__ = ["Classifier", "StserModel", "StserOutput", "StserSettings"]

_DOUBT: Final = 3.0
"""Temperature of the posterior by which emotions are taken off: a voice that is known too little is misjudged,
and by a wrong emotion that was taken for sure it would never come to be known."""


class Classifier(nn.Sequential):
    """Dense layers of 128, 64 and 128 units with ReLU, then one logit for each emotion."""

    def __init__(self, inputs: int, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for units in (128, 64, 128):
            layers += [nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(dropout)]
            inputs = units
        super().__init__(*layers, nn.Linear(inputs, len(EMOTIONS)))


@dataclass(frozen=True, slots=True)
class StserOutput:
    """Logits of the three classifiers, each float32 ``(batch, classes)``."""

    speech: Tensor
    text: Tensor
    bimodal: Tensor


class StserModel(nn.Module):
    """smodel, tmodel and the three classifiers.

    Speech and text can be trained apart: ``model.speech(model.smodel(...).representation)``,
    ``model.text(model.tmodel(...).representation)``, and :meth:`fuse` on two representations. What is known
    of a voice is taken off the speech representation before ``speech`` and ``fuse``.
    """

    def __init__(self, settings: StserSettings) -> None:
        super().__init__()
        self.settings = settings
        speech, text = settings.speech.representation, settings.text.representation
        dropout = settings.classifier_dropout
        self.smodel = SpeechModel(settings.speech)
        self.tmodel = TextModel(settings.text)
        self.speech = Classifier(speech, dropout)
        self.text = Classifier(text, dropout)
        self.bimodal = Classifier(speech + text, dropout)

    def voice(self, representation: Tensor, logits: Tensor) -> Tensor:
        """What utterances tell of their voices: their representations less what their emotions add.

        Else a voice that is often neutral, or often angry, would come to be the measure of itself.

        Args:
            representation: As the smodel gives it, ``(batch, representation)``.
            logits: Of the speech classifier, ``(batch, classes)``: how likely each emotion is.
        """
        return self.smodel.voice(representation, (logits / _DOUBT).softmax(dim=-1))

    def fuse(self, speech: Tensor, text: Tensor) -> Tensor:
        """Bimodal logits ``(batch, classes)`` of a speech and a text representation."""
        return self.bimodal(torch.cat([speech, text], dim=-1))  # type: ignore[no-any-return]

    def forward(self, log_mel: Tensor, lengths: Tensor, ids: Tensor, mask: Tensor) -> StserOutput:
        """All three classifiers on utterances that have both speech and text.

        Args:
            log_mel: Normalised log-mel, float32 ``(batch, time, mels)``.
            lengths: Frames of each row, int64 ``(batch,)``.
            ids: Token identifiers, int64 ``(batch, tokens)``.
            mask: 1 for a token, 0 for padding, int64 ``(batch, tokens)``.
        """
        heard = self.smodel(log_mel, lengths).representation
        read = self.tmodel(ids, mask).representation
        return StserOutput(self.speech(heard), self.text(read), self.fuse(heard, read))
