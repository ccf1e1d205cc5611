"""Corpora as CSV: ``manifest.csv`` beside its audio, or ``train.csv`` and ``dev.csv`` of sentences.

Columns of a manifest: ``path`` (relative to the folder), ``speaker``, ``label4`` (one of the four
classes, or empty for an utterance of another class, which is left out), and optionally ``corpus``,
``gender``, ``text``. For evaluation ``path`` or ``text`` may be empty. Columns of a text file:
``text``, ``label4`` and optionally ``speaker``, ``dialogue_id``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stser_core.labels import EMOTIONS, Emotion
from training.errors import CorpusError
from training.utterance import Utterance


def read_manifest(folder: Path, *, complete: bool = True) -> list[Utterance]:
    """Utterances of a speech corpus, in manifest order.

    Args:
        folder: Holds ``manifest.csv`` and the audio.
        complete: Each row must have audio and a speaker, as training needs. Otherwise a row may
            have audio, text or both, and a row without a speaker is a voice heard once.

    Raises:
        CorpusError: The manifest is missing, is no CSV in UTF-8, lacks a column, or a row has an unknown label, no
            speaker, neither audio nor text, or an audio file that is not there.
    """
    utterances = []
    path = folder / "manifest.csv"
    for line, row in numbered_rows(
        path, ("path", "speaker", "label4") if complete else ("label4",)
    ):
        label = _label(row, path, line)
        if label is None:
            continue
        lacking = [name for name in ("path", "speaker") if not row.get(name)]
        if complete and lacking:
            raise CorpusError(
                f"{path}:{line}: no {lacking[0]}. Each row needs audio to train on and a speaker, for "
                "speaker-independent folds."
            )
        audio = folder / row["path"] if row.get("path") else None
        text = row.get("text") or None
        if audio is None and text is None:
            raise CorpusError(f"{path}:{line}: neither path nor text. A row needs one of them.")
        if audio is not None and not audio.is_file():
            raise CorpusError(f"{path}:{line}: {row['path']} is not there. Is the corpus complete?")
        utterances.append(
            Utterance(
                corpus=row.get("corpus") or folder.name,
                label=label,
                speaker=row.get("speaker") or "",
                gender=row.get("gender") or "",
                audio=audio,
                text=text,
            )
        )
    if not utterances:
        raise CorpusError(f"{path}: no row has a label4 of {', '.join(EMOTIONS)}.")
    return utterances


def read_manifests(root: Path, corpora: Sequence[str]) -> list[Utterance]:
    """Utterances of several corpora to train on, each in the folder of its name.

    Raises:
        CorpusError: As :func:`read_manifest`, or a row says that it is of another corpus.
    """
    utterances = []
    for name in corpora:
        found = read_manifest(root / name)
        if others := sorted({u.corpus for u in found} - {name}):
            raise CorpusError(
                f"{root / name / 'manifest.csv'}: corpus is {others[0]!r} in a row. It must be {name!r}, as "
                "in speech.corpora."
            )
        utterances += found
    return utterances


def read_texts(path: Path, *, label_column: str = "label4") -> list[Utterance]:
    """Labelled sentences of a text corpus, in file order.

    Raises:
        CorpusError: The file is missing, is no CSV in UTF-8, lacks a column, or a row has an unknown label.
    """
    utterances = []
    for line, row in numbered_rows(path, ("text", label_column)):
        label = _label(row, path, line, label_column)
        if label is not None and row["text"].strip():
            utterances.append(
                Utterance(
                    corpus=path.parent.name,
                    label=label,
                    speaker=row.get("speaker") or "",
                    text=row["text"],
                    dialogue=row.get("dialogue_id") or "",
                )
            )
    if not utterances:
        raise CorpusError(f"{path}: no row has a {label_column} of {', '.join(EMOTIONS)}.")
    return utterances


def read_rows(path: Path, needed: Sequence[str], **dialect: Any) -> Iterator[Mapping[str, str]]:
    """Rows of a CSV file in UTF-8 that must have the ``needed`` columns; what a row lacks is empty.

    Args:
        path: Of the file.
        needed: Names of columns.
        dialect: As the ``csv`` module has it, such as ``delimiter``.

    Raises:
        CorpusError: The file is missing, is no such file, or lacks a column.
    """
    for _, row in numbered_rows(path, needed, **dialect):
        yield row


def numbered_rows(
    path: Path, needed: Sequence[str], **dialect: Any
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """As :func:`read_rows`, with the number of the line where each row ends."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel begins it with a mark
            reader = csv.DictReader(file, restval="", **dialect)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(
                    f"{path}: no column {', '.join(missing)}. Needed: {', '.join(needed)}."
                )
            for row in reader:
                yield reader.line_num, row
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}). Check --root.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: no CSV in UTF-8 ({error}). Save it as CSV UTF-8.") from error


def _label(row: Mapping[str, str], path: Path, line: int, column: str = "label4") -> Emotion | None:
    name = row[column]
    if not name:
        return None
    try:
        return Emotion(name)
    except ValueError:
        raise CorpusError(
            f"{path}:{line}: {column} ({name!r}) must be one of {', '.join(EMOTIONS)}, or empty."
        ) from None
