"""The networks behind one Protocol: ONNX Runtime runs them; PyTorch is the reference."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stser_core.errors import CheckpointError

# Released builds of ONNX Runtime report to their makers unless told not to before the library is
# loaded (docs/decisions/0005): nothing of the monitor may leave the machine.
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"
import onnxruntime

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SpeechScores:
    """The speech half on a batch."""

    representation: Floats
    """Before the voice is taken off, ``(batch, speech)``."""
    logits: Floats
    """Of the speech classifier, ``(batch, classes)``, not calibrated."""
    attention: Floats
    """Share of each pooled frame, ``(batch, pooled_time)``; 0 in the padding."""
    voice: Floats
    """What the utterance tells of its voice, ``(batch, speech)``: its representation less its emotion."""


@dataclass(frozen=True, slots=True, eq=False)
class TextScores:
    """The text half on a batch."""

    representation: Floats
    """``(batch, text)``."""
    logits: Floats
    """Of the text classifier, ``(batch, classes)``, not calibrated."""


class Engine(Protocol):
    """Runs the networks on batches. A row depends neither on its padding nor on its neighbours."""

    def speech(self, log_mel: Floats, lengths: Integers, voice: Floats) -> SpeechScores:
        """Normalised log-mel ``(batch, time, mels)``, ``lengths`` ``(batch,)`` of it valid, and what is taken
        off the representations, ``(batch, speech)``.
        """
        ...

    def text(self, ids: Integers, mask: Integers) -> TextScores:
        """Token identifiers and mask (1 = a token), both ``(batch, tokens)``."""
        ...

    def bimodal(self, speech: Floats, text: Floats) -> Floats:
        """Logits ``(batch, classes)`` of both representations, the voice taken off."""
        ...


class OnnxEngine:
    """ONNX Runtime on one thread: two threads stall each other on a busy two-core machine."""

    def __init__(
        self, directory: Path, classifiers: Collection[str] = ("speech", "text", "bimodal")
    ) -> None:
        """Load the graphs that the chosen classifiers need.

        Args:
            directory: A checkpoint's folder, already checked by
                :func:`~stser_core.checkpoint.read_manifest`.
            classifiers: Bimodal needs all graphs, the others only their own.

        Raises:
            CheckpointError: If a graph cannot be loaded.
        """
        self._sessions: Final = {
            name: _session(directory / f"{name}.onnx")
            for name in ("speech", "text", "bimodal")
            if name in classifiers or "bimodal" in classifiers
        }

    def speech(self, log_mel: Floats, lengths: Integers, voice: Floats) -> SpeechScores:
        return SpeechScores(*self._run("speech", log_mel=log_mel, lengths=lengths, voice=voice))

    def text(self, ids: Integers, mask: Integers) -> TextScores:
        representation, logits, _ = self._run("text", ids=ids, mask=mask)  # and the pooling
        return TextScores(representation, logits)

    def bimodal(self, speech: Floats, text: Floats) -> Floats:
        (logits,) = self._run("bimodal", speech=speech, text=text)
        return logits

    def _run(self, name: str, **inputs: NDArray[Any]) -> list[Floats]:
        outputs: list[Floats] = self._sessions[name].run(None, inputs)
        return outputs


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    # ONNX Runtime raises a class of its own for each cause, all directly under Exception.
    except Exception as error:
        raise CheckpointError(f"{path}: ONNX Runtime cannot load the graph: {error}.") from error
