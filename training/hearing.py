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


def write_hearing(path: Path, utterances: Sequence[Utterance], heard: NDArray[np.float16]) -> None:
    """Keep the teacher's values ``(utterances, values)``."""
    with written_whole(path) as draft:
        save_file({"heard": heard}, draft, metadata={_DIGEST: _digest(utterances)})


def read_hearing(path: Path, utterances: Sequence[Utterance]) -> NDArray[np.float32]:
    """The teacher's values, ``(utterances, values)``.

    Raises:
        TrainingError: The file is missing or damaged, or was made of other utterances.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            digest = (file.metadata() or {}).get(_DIGEST)
            heard: NDArray[np.float16] = file.get_tensor("heard")
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: what a teacher heard cannot be read: {error}. Make it with stser-train hear."
        ) from error
    if digest != _digest(utterances):
        raise TrainingError(
            f"{path}: made of other utterances. Corpora or settings have changed since: "
            "run stser-train hear again."
        )
    return heard.astype(np.float32)


def _digest(utterances: Sequence[Utterance]) -> str:
    lines = (f"{u.corpus}\t{u.speaker}\t{u.audio and u.audio.name}" for u in utterances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
