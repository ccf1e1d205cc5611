"""Recordings of read speech with their words, and who is kept for validation and test."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from training.corpora.csv_manifest import numbered_rows
from training.errors import CorpusError
from training.recogniser.sentences import Sentence, sentences

Split = Literal["train", "valid", "test"]
PROMPT_PARTS: Final = 20
"""Corpora of one speaker are split by prompt: one part of this many for validation, one for test."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An utterance on disk."""

    path: Path
    words: Sentence
    speaker: str
    corpus: str


def read_recordings(folder: Path) -> list[Recording]:
    """Utterances of a corpus whose transcript can be taken as it is written, in manifest order.

    Args:
        folder: Holds ``manifest.csv`` (``path``, ``speaker``, ``text``) and the audio.

    Raises:
        CorpusError: The manifest cannot be read, lacks a column, or names audio that is not there.
    """
    manifest = folder / "manifest.csv"
    recordings = []
    for line, row in numbered_rows(manifest, ("path", "speaker", "text")):
        path = folder / row["path"]
        if not path.is_file():
            raise CorpusError(f"{manifest}:{line}: {row['path']} is not there.")
        words = transcript(row["text"])
        if words:
            recordings.append(Recording(path, words, row["speaker"], folder.name))
    return recordings


def transcript(text: str) -> Sentence:
    """Words of a whole utterance; none where a part of it is not written as it was said."""
    parts = sentences(text)
    said = tuple(word for part in parts for word in part)
    written = [word for word in text.split() if any(letter.isalnum() for letter in word)]
    hyphens = sum(word.strip("-").count("-") for word in written)
    return said if len(written) <= len(said) <= len(written) + hyphens else ()


def split_of(
    recording: Recording,
    valid_speakers: Sequence[str],
    test_speakers: Sequence[str],
    by_prompt: Sequence[str],
) -> Split:
    """Which side of the split an utterance is on: by its speaker, or by its words.

    Args:
        recording: The utterance.
        valid_speakers: Speakers kept for choosing checkpoints.
        test_speakers: Speakers kept for the reported figures.
        by_prompt: Corpora of one speaker; the same words are always on the same side.
    """
    if recording.speaker in test_speakers:
        return "test"
    if recording.speaker in valid_speakers:
        return "valid"
    if recording.corpus in by_prompt:
        part = zlib.crc32(" ".join(recording.words).encode()) % PROMPT_PARTS
        return "test" if part == 0 else "valid" if part == 1 else "train"
    return "train"
