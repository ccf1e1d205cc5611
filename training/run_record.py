"""What a results folder says of its run: settings, corpus, versions; and when it may go on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from training.errors import TrainingError
from training.utterance import Utterance
from training.whole_file import write_whole

RECORD: Final = "run.json"
_PACKAGES: Final = (
    "stser-monitor",
    "numpy",
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "soxr",
)


def corpus_hash(utterances: Sequence[Utterance], root: Path) -> str:
    """``sha256:...`` of every utterance: its labels and words, and its audio byte for byte."""
    digest = hashlib.sha256()
    for utterance in utterances:
        fields = dataclasses.asdict(utterance)
        audio = utterance.audio
        fields["audio"] = None if audio is None else Path(os.path.relpath(audio, root)).as_posix()
        digest.update(json.dumps(fields, sort_keys=True).encode())
        if audio is not None:
            digest.update(audio.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def digest_of(files: Iterable[Path]) -> str:
    """``sha256:...`` of the content of files, one after the other.

    Raises:
        TrainingError: One cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise TrainingError(f"{path}: cannot be read ({error.strerror}).") from error
    return f"sha256:{digest.hexdigest()}"


def describe_corpus(utterances: Sequence[Utterance], root: Path) -> dict[str, Any]:
    """How many utterances a run was on, and exactly which."""
    return {"utterances": len(utterances), "hash": corpus_hash(utterances, root)}


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def begin(folder: Path, run: Mapping[str, Any], flag: str = "--out") -> None:
    """Write the record of a run, or check that the folder holds the same run.

    Args:
        folder: Made where it is not there.
        run: Anything that JSON can hold and that decides the result. Versions are added.
        flag: Names the folder on the command line.

    Raises:
        TrainingError: The folder holds another run; names what differs.
    """
    record = json.loads(json.dumps({**run, "versions": versions()}))
    path = folder / RECORD
    if path.is_file():
        others = _differing(_kept(path), record)
        if others:
            raise TrainingError(
                f"{path}: another run began here: {', '.join(others)}. Give {flag} another folder, "
                "or remove this one."
            )
        return
    write_whole(path, json.dumps(record, indent=1) + "\n")


def differing(folder: Path, run: Mapping[str, Any]) -> list[str]:
    """What of ``run``, a part of a record, the record in a folder says otherwise.

    Raises:
        TrainingError: There is no record, or it is damaged.
    """
    kept = _kept(folder / RECORD)
    return _differing({key: kept.get(key) for key in run}, json.loads(json.dumps(run)))


def _kept(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{path}: no record of a run can be read ({error}). Remove its folder, and run again."
        ) from error


def _differing(kept: Any, ours: Any, where: str = "") -> list[str]:
    if isinstance(kept, dict) and isinstance(ours, dict):
        return [
            line
            for key in sorted(kept.keys() | ours.keys())
            for line in _differing(kept.get(key), ours.get(key), f"{where}.{key}" if where else key)
        ]
    return [] if kept == ours else [f"{where} is {kept} there and {ours} now"]
