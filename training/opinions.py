"""A teacher's opinions of training sentences, on disk: soft targets for the text branch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.errors import TrainingError
from training.text_data import TextData
from training.whole_file import written_whole

_DIGEST: Final = "sentences"


def write_opinions(
    path: Path, data: TextData, indices: Sequence[int], logits: NDArray[np.float32]
) -> None:
    """Keep the logits ``(indices, classes)`` of some sentences of ``data``."""
    content: dict[str, NDArray[Any]] = {
        "indices": np.array(indices, np.int64),
        "logits": logits.astype(np.float16),
    }
    with written_whole(path) as draft:
        save_file(content, draft, metadata={_DIGEST: _digest(data)})


def read_opinions(path: Path, data: TextData) -> NDArray[np.float32]:
    """Posteriors ``(sentences, classes)``; NaN for sentences that the teacher was not asked about.

    Raises:
        TrainingError: The file is missing or damaged, or was made of other sentences.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            digest = (file.metadata() or {}).get(_DIGEST)
            indices, logits = file.get_tensor("indices"), file.get_tensor("logits")
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: no opinions can be read: {error}. Make them with stser-train distil."
        ) from error
    if digest != _digest(data):
        raise TrainingError(
            f"{path}: opinions of other sentences. Corpora or settings have changed since: "
            "run stser-train distil again."
        )
    wide = logits.astype(np.float32)
    wide = np.exp(wide - wide.max(axis=1, keepdims=True))
    posteriors = np.full((len(data), wide.shape[1]), np.nan, np.float32)
    posteriors[indices] = wide / wide.sum(axis=1, keepdims=True)
    return posteriors


def _digest(data: TextData) -> str:
    lines = (
        f"{u.corpus}\t{u.label}\t{' '.join(words)}"
        for u, words in zip(data.utterances, data.words, strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
