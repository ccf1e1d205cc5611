"""A trained model to a checkpoint: safetensors, ONNX graphs, and the proof that they agree."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from stser_core.adaptation import AdaptationSettings, LogMelStatistics
from stser_core.checkpoint import (
    FORMAT,
    MANIFEST,
    TOKENIZER,
    WEIGHTS,
    Description,
    Manifest,
    Prior,
    Temperatures,
    read_manifest,
    write_manifest,
)
from stser_core.engine import Engine, Floats, Integers, OnnxEngine
from stser_core.errors import CheckpointError
from stser_core.features import LogMelSettings
from stser_core.fusion import StserModel
from stser_core.graphs import write_graphs
from stser_core.labels import EMOTIONS
from stser_core.novelty import Novelty
from stser_core.posterior import EmotionPosterior
from stser_core.tensors import rounded, save_tensors
from stser_core.text import TextTokenizer
from stser_core.torch_engine import TorchEngine

TOLERANCE: Final = 1e-4
"""Largest difference of a probability between ONNX Runtime and PyTorch."""

_CHECK_SECONDS: Final = (0.1, 0.5, 1.0, 3.3, 7.0, 15.0)
_CHECK_TOKENS: Final = (3, 5, 9, 17, 40, 128)


def save_checkpoint(
    directory: Path,
    model: StserModel,
    *,
    name: str,
    version: str,
    tokenizer_json_path: Path,
    prior: LogMelStatistics,
    temperatures: Mapping[str, float],
    notes: Mapping[str, Any],
    log_mel: LogMelSettings | None = None,
    adaptation: AdaptationSettings | None = None,
    novelty: Novelty | None = None,
) -> Manifest:
    """Write a checkpoint, or nothing at all.

    Args:
        directory: Folder to make, or checkpoint to replace.
        model: The trained networks; left as they are. What is written is
            :func:`~stser_core.tensors.rounded` of them.
        name: Name of the weights, such as ``stser-open``.
        version: Their version, such as ``1.0.0``.
        tokenizer_json_path: Word pieces that the text was tokenised with.
        prior: Log-mel statistics of the training corpora.
        temperatures: By classifier: ``speech``, ``text``, ``bimodal``.
        notes: Corpora, licences, figures; anything that JSON can hold.
        log_mel: Front end that the model was trained with; None is the default one.
        adaptation: Normalisation that the model was trained with; None is the default one.
        novelty: What the training speech is like; None leaves unlike sounds unmarked.

    Returns:
        The manifest, as read back.

    Raises:
        CheckpointError: If ONNX Runtime and PyTorch disagree by more than :data:`TOLERANCE`, a part
            does not fit the others, or the folder holds something that is no checkpoint.
    """
    check_replaceable(directory)
    description = Description(
        format=FORMAT,
        name=name,
        version=version,
        labels=tuple(emotion.value for emotion in EMOTIONS),
        log_mel=log_mel if log_mel is not None else LogMelSettings(),
        adaptation=adaptation if adaptation is not None else AdaptationSettings(),
        sizes=model.settings,
        temperatures=Temperatures(**temperatures),
        prior=Prior.of(prior),
        novelty=novelty,
    )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".export-") as scratch:
        draft = Path(scratch) / directory.name
        draft.mkdir()
        twin = rounded(model)
        save_tensors(twin, draft / WEIGHTS)
        write_graphs(twin, draft)
        shutil.copyfile(tokenizer_json_path, draft / TOKENIZER)
        text = model.settings.text
        TextTokenizer.load(draft / TOKENIZER, text.max_tokens, vocabulary=text.vocabulary)
        manifest = write_manifest(draft, description, notes)
        check_parity(OnnxEngine(draft), TorchEngine.load(manifest), description)
        if directory.exists():
            directory.rename(Path(scratch) / "replaced")
        draft.rename(directory)
    return read_manifest(directory)


def check_replaceable(directory: Path) -> None:
    """Stop where a checkpoint written there would take the place of something else.

    Raises:
        CheckpointError: There is a file, or a folder that holds something that is no checkpoint.
    """
    place = next(path for path in (directory, *directory.parents) if path.exists())
    if not place.is_dir():
        raise CheckpointError(
            f"{place}: a file, where a folder is needed. Name a new folder, or remove it."
        )
    if place == directory and any(place.iterdir()) and not (place / MANIFEST).is_file():
        raise CheckpointError(
            f"{place}: holds something that is no checkpoint. Name a new folder, or remove it."
        )


def check_parity(engine: Engine, reference: Engine, description: Description) -> float:
    """Compare two engines on a batch of 0.1 to 15 s of speech and of up to 128 tokens of text.

    Returns:
        The largest difference of a probability.

    Raises:
        CheckpointError: If it exceeds :data:`TOLERANCE`, or one of them gives no probabilities.
    """
    batch = _Batch.drawn(description)
    try:
        ours = _probabilities(engine, description.temperatures, batch)
        theirs = _probabilities(reference, description.temperatures, batch)
    except ValueError as error:
        raise CheckpointError(f"the networks overflow: {error} Nothing was written.") from error
    difference = float(np.abs(ours - theirs).max())
    if difference > TOLERANCE:
        raise CheckpointError(
            f"ONNX Runtime and PyTorch differ by {difference:.2g} in a probability, more than "
            f"{TOLERANCE:g}: nothing was written."
        )
    return difference


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Random speech and text of several lengths."""

    log_mel: Floats
    lengths: Integers
    voice: Floats
    ids: Integers
    mask: Integers

    @classmethod
    def drawn(cls, description: Description) -> Self:
        draw, front_end, sizes = np.random.default_rng(0), description.log_mel, description.sizes
        frames = [front_end.n_frames(round(front_end.sample_rate_hz * s)) for s in _CHECK_SECONDS]
        lengths = np.maximum(np.array(frames, np.int64), sizes.speech.pool_time)
        log_mel = draw.standard_normal((len(lengths), int(lengths.max()), front_end.n_mels))
        voice = 0.1 * draw.standard_normal((len(lengths), sizes.speech.representation))
        tokens = np.minimum(_CHECK_TOKENS, sizes.text.max_tokens)
        ids = draw.integers(0, sizes.text.vocabulary, (len(tokens), int(tokens.max())))
        mask = (np.arange(ids.shape[1]) < tokens[:, None]).astype(np.int64)
        return cls(log_mel.astype(np.float32), lengths, voice.astype(np.float32), ids, mask)


def _probabilities(
    engine: Engine, temperatures: Temperatures, batch: _Batch
) -> NDArray[np.float64]:
    """Of all three classifiers one after the other, ``(3 * batch, classes)``."""
    speech = engine.speech(batch.log_mel, batch.lengths, batch.voice)
    text = engine.text(batch.ids, batch.mask)
    scores = (
        (speech.logits, temperatures.speech),
        (text.logits, temperatures.text),
        (
            engine.bimodal(speech.representation - batch.voice, text.representation),
            temperatures.bimodal,
        ),
    )
    return np.array(
        [
            EmotionPosterior.from_logits(row, temperature).probabilities
            for logits, temperature in scores
            for row in logits
        ]
    )
