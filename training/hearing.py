"""What a pre-trained speech encoder hears in each utterance, on disk: the teacher of the speech branch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.errors import TrainingError
from training.utterance import Utterance
from training.whole_file import written_whole

_DIGEST: Final = "utterances"
_LAYERS: Final = "layers"


def write_hearing(
    path: Path,
    utterances: Sequence[Utterance],
    layers: Sequence[int],
    heard: NDArray[np.float16],
) -> None:
    """Keep the teacher's values ``(utterances, values)``, of these of its layers."""
    metadata = {_DIGEST: _digest(utterances), _LAYERS: _joined(layers)}
    with written_whole(path) as draft:
        save_file({"heard": heard}, draft, metadata=metadata)


def read_hearing(
    path: Path, utterances: Sequence[Utterance], layers: Sequence[int]
) -> NDArray[np.float32]:
    """The teacher's values, ``(utterances, values)``.

    Raises:
        TrainingError: The file is missing or damaged, or was made of other utterances or layers.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata() or {}
            heard: NDArray[np.float16] = file.get_tensor("heard")
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: what a teacher heard cannot be read: {error}. Make it with stser-train hear."
        ) from error
    if said.get(_DIGEST) != _digest(utterances):
        raise TrainingError(
            f"{path}: made of other utterances. Corpora or settings have changed since: "
            "run stser-train hear again."
        )
    if said.get(_LAYERS) != _joined(layers):
        raise TrainingError(
            f"{path}: made of layers {said.get(_LAYERS, 'that it does not tell')}, lesson.layers is "
            f"{_joined(layers)}: run stser-train hear again."
        )
    return heard.astype(np.float32)


def _joined(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))


def _digest(utterances: Sequence[Utterance]) -> str:
    lines = (f"{u.corpus}\t{u.speaker}\t{u.audio and u.audio.name}" for u in utterances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
