"""Corpora as CSV: what is read, and what is refused by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stser_core.labels import Emotion
from training.corpora import read_manifest, read_texts
from training.errors import CorpusError


def manifest(folder: Path, *rows: str, header: str = "path,speaker,label4") -> Path:
    (folder / "manifest.csv").write_text("\n".join((header, *rows)) + "\n", "utf-8")
    (folder / "a.wav").touch()
    return folder


def test_rows_of_other_classes_are_left_out(root: Path) -> None:
    utterances = read_manifest(root / "first")
    assert len(utterances) == 3 * 4 * 2
    assert {u.label for u in utterances} == set(Emotion)
    assert utterances[0].corpus == "first"


def test_sentences_are_read_with_their_labels(root: Path) -> None:
    sentences = read_texts(root / "goemotions" / "dev.csv")
    assert len(sentences) == 12
    assert (sentences[0].text, sentences[0].label) == ("Leave me alone!", Emotion.ANGRY)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav,s1,furious", r"manifest\.csv:2: label4 \('furious'\) must be one of angry"),
        ("b.wav,s1,sad", r"manifest\.csv:2: b\.wav is not there"),
        ("a.wav,,sad", r"manifest\.csv:2: no speaker"),
        ("a.wav,s1,", r"no row has a label4"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_file_and_line(
    tmp_path: Path, row: str, message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read_manifest(manifest(tmp_path, row))


def test_a_missing_column_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no column label4"):
        read_manifest(manifest(tmp_path, "a.wav,s1", header="path,speaker"))
    with pytest.raises(CorpusError, match=r"train\.csv: cannot be read"):
        read_texts(tmp_path / "train.csv")
