"""A checkpoint on disk: a folder whose manifest says what it is and holds the digest of every file.

::

    manifest.json        labels, front end, sizes, calibration, prior, novelty, digests, notes
    model.safetensors    every weight, once; matrices rounded to half precision
    speech.onnx  text.onnx  bimodal.onnx    graphs whose matrices lie in model.safetensors
    tokenizer.json       word pieces

Nothing is unpickled, and whatever does not match is refused by file name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from config.loader import SettingsError, build
from stser_core.adaptation import AdaptationSettings, LogMelStatistics
from stser_core.errors import CheckpointError
from stser_core.features import LogMelSettings
from stser_core.labels import EMOTIONS
from stser_core.novelty import Novelty
from stser_core.sizes import StserSettings

FORMAT: Final = 3
"""Version of the layout above. Another one is refused, not guessed at."""

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
GRAPHS: Final = ("speech.onnx", "text.onnx", "bimodal.onnx")
FILES: Final = (WEIGHTS, *GRAPHS, TOKENIZER)
"""Every file that a manifest must name and vouch for."""


@dataclass(frozen=True, slots=True)
class ModelId:
    """Which weights these are."""

    name: str
    version: str
    digest: str
    """``sha256:...`` of the manifest, which holds the digests of all other files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperatures:
    """Calibration: each classifier's logits are divided by its temperature before the softmax."""

    speech: float = 1.0
    text: float = 1.0
    bimodal: float = 1.0

    def __post_init__(self) -> None:
        for name in ("speech", "text", "bimodal"):
            if not getattr(self, name) > 0:
                raise ValueError(f"temperatures.{name} ({getattr(self, name):g}) must be above 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Log-mel statistics of the training corpora, as JSON keeps them."""

    count: float
    mean: tuple[float, ...]
    squares: tuple[float, ...]

    @classmethod
    def of(cls, statistics: LogMelStatistics) -> Prior:
        return cls(
            count=statistics.count,
            mean=tuple(statistics.mean.tolist()),
            squares=tuple(statistics.squares.tolist()),
        )

    def statistics(self) -> LogMelStatistics:
        return LogMelStatistics(self.count, np.array(self.mean), np.array(self.squares))


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The part of a manifest that decides what the files mean."""

    format: int
    name: str
    version: str
    labels: tuple[str, ...]
    """Order of all logits."""
    log_mel: LogMelSettings
    adaptation: AdaptationSettings
    sizes: StserSettings
    temperatures: Temperatures
    prior: Prior
    novelty: Novelty | None = None
    """What the training speech is like; None where the checkpoint cannot say."""

    def __post_init__(self) -> None:
        expected = tuple(emotion.value for emotion in EMOTIONS)
        if self.labels != expected:
            raise ValueError(
                f"labels ({', '.join(self.labels)}) must be {', '.join(expected)}, in this order: "
                "in another order every verdict would be wrong."
            )
        mels = {self.log_mel.n_mels, self.sizes.speech.n_mels}
        mels |= {len(self.prior.mean), len(self.prior.squares)}
        if len(mels) != 1:
            raise ValueError(
                f"log_mel.n_mels ({self.log_mel.n_mels}), sizes.speech.n_mels "
                f"({self.sizes.speech.n_mels}) and the lengths of prior.mean "
                f"({len(self.prior.mean)}) and prior.squares ({len(self.prior.squares)}) must be "
                "equal."
            )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checkpoint's manifest, checked against the files beside it."""

    directory: Path
    description: Description
    notes: Mapping[str, Any]
    """Corpora, licences, figures: for people and for the model card."""
    digest: str
    """``sha256:...`` of the manifest file."""

    @property
    def model_id(self) -> ModelId:
        return ModelId(self.description.name, self.description.version, self.digest)


def write_manifest(directory: Path, description: Description, notes: Mapping[str, Any]) -> Manifest:
    """Vouch for the files of a folder by writing its manifest; they must all be there."""
    tree = _as_json(description) | {
        "files": {name: _digest(_content(directory, name)) for name in FILES},
        "notes": dict(notes),
    }
    text = json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (directory / MANIFEST).write_text(text, "utf-8")
    return read_manifest(directory)


def read_manifest(directory: Path, *, log_mel: LogMelSettings | None = None) -> Manifest:
    """Read a manifest and check every file that it names.

    Args:
        directory: The checkpoint's folder.
        log_mel: The front end of a caller who has one already; None takes the checkpoint's.

    Raises:
        CheckpointError: A file is missing or damaged, or the checkpoint was made for another
            layout, label order, front end or set of sizes. Names the file and the reason.
    """
    path = directory / MANIFEST
    content = _content(directory, MANIFEST)
    tree = _tree(path, content)
    files, notes = tree.pop("files", None), tree.pop("notes", None)
    # Other layouts have other keys: say that first.
    if tree.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format ({tree.get('format')}) must be {FORMAT}. Use a checkpoint that was "
            "exported by this version."
        )
    description = _description(path, tree)
    if not isinstance(notes, dict):
        raise CheckpointError(f"{path}: notes must be a JSON object, got {notes!r}.")
    if log_mel is not None and log_mel != description.log_mel:
        raise CheckpointError(
            f"{path}: made for another front end: {_difference(description.log_mel, log_mel)}."
        )
    _check_files(directory, files)
    return Manifest(directory, description, notes, _digest(content))


def _tree(path: Path, content: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(content, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON: {error}.") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, got {type(tree).__name__}.")
    return tree


def _finite(text: str) -> float:
    """A number that may be compared and computed with.

    Raises:
        ValueError: It is none, or beyond all bounds.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _description(path: Path, tree: dict[str, Any]) -> Description:
    try:
        description = build(Description, tree)
    except SettingsError as error:
        raise CheckpointError(f"{path}: {error}") from error
    # What a manifest leaves out would silently become this version's default.
    missing = _missing(_as_json(description), tree)
    if missing:
        raise CheckpointError(f"{path}: {', '.join(missing)} missing.")
    return description


def _missing(complete: Mapping[str, Any], given: Mapping[str, Any], where: str = "") -> list[str]:
    names: list[str] = []
    for key, value in complete.items():
        if key not in given:
            names.append(where + key)
        elif isinstance(value, dict):
            names += _missing(value, given[key], f"{where}{key}.")
    return names


def _check_files(directory: Path, files: object) -> None:
    path = directory / MANIFEST
    if not isinstance(files, dict) or set(files) != set(FILES):
        raise CheckpointError(f"{path}: files must name exactly {', '.join(FILES)}, got {files!r}.")
    for name, expected in files.items():
        found = _digest(_content(directory, name))
        if found != expected:
            raise CheckpointError(
                f"{directory / name}: damaged or exchanged: its digest is {found}, the manifest "
                f"says {expected}. Restore the file, or install the checkpoint again."
            )


def _content(directory: Path, name: str) -> bytes:
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{directory / name}: cannot be read ({error.strerror}). A checkpoint folder holds "
            f"{', '.join((MANIFEST, *FILES))}."
        ) from error


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _as_json(description: Description) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(description), allow_nan=False))
    return tree


def _difference(checkpoint: LogMelSettings, wanted: LogMelSettings) -> str:
    theirs, ours = dataclasses.asdict(checkpoint), dataclasses.asdict(wanted)
    return ", ".join(
        f"log_mel.{name} is {theirs[name]} there and {ours[name]} here"
        for name in ours
        if theirs[name] != ours[name]
    )
