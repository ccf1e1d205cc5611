"""The reference engine: the very modules that were trained, in PyTorch."""

from __future__ import annotations

from typing import Final, Self

import torch

from stser_core.checkpoint import Manifest
from stser_core.engine import Floats, Integers, SpeechScores, TextScores
from stser_core.fusion import StserModel
from stser_core.tensors import load_model


class TorchEngine:
    """Implements :class:`~stser_core.engine.Engine` without ONNX."""

    def __init__(self, model: StserModel) -> None:
        self.model: Final = model.eval()

    @classmethod
    def load(cls, manifest: Manifest) -> Self:
        """Read the weights of a checkpoint."""
        return cls(load_model(manifest))

    @torch.inference_mode()
    def speech(self, log_mel: Floats, lengths: Integers, voice: Floats) -> SpeechScores:
        heard = self.model.smodel(torch.from_numpy(log_mel), torch.from_numpy(lengths))
        logits = self.model.speech(heard.representation - torch.from_numpy(voice))
        return SpeechScores(
            heard.representation.numpy(),
            logits.numpy(),
            heard.attention.numpy(),
            self.model.voice(heard.representation, logits).numpy(),
        )

    @torch.inference_mode()
    def text(self, ids: Integers, mask: Integers) -> TextScores:
        read = self.model.tmodel(torch.from_numpy(ids), torch.from_numpy(mask))
        logits = self.model.text(read.representation)
        return TextScores(read.representation.numpy(), logits.numpy())

    @torch.inference_mode()
    def bimodal(self, speech: Floats, text: Floats) -> Floats:
        logits: Floats = self.model.fuse(torch.from_numpy(speech), torch.from_numpy(text)).numpy()
        return logits
