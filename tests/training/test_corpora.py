"""Corpora as CSV: what is read, and what is refused by file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stser_core.labels import Emotion
from training.corpora import read_manifest, read_texts
from training.corpora.crema_d import read_crema_d
from training.corpora.meld import read_meld
from training.corpora.nemo import read_nemo
from training.errors import CorpusError
from training.recogniser.evaluation_sets import evaluation_sets
from training.recogniser.sentences import read_sentences
from training.recogniser.settings import RecogniserSettings, SpeechSettings
from training.recogniser.speech import read_recordings


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


def test_a_manifest_as_excel_saves_it_is_read(tmp_path: Path) -> None:
    path = manifest(tmp_path, "a.wav,s1,sad") / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [u.label for u in read_manifest(tmp_path)] == [Emotion.SAD]


def test_columns_that_a_short_row_lacks_are_empty(tmp_path: Path) -> None:
    folder = manifest(tmp_path, "sad", header="label4,path,speaker,text")
    with pytest.raises(CorpusError, match=r"manifest\.csv:2: no path"):
        read_manifest(folder)
    (tmp_path / "dev.csv").write_text("label4,text\nsad\nsad,i miss you\n", "utf-8")
    assert [u.text for u in read_texts(tmp_path / "dev.csv")] == ["i miss you"]


def read_ravdess(root: Path) -> None:
    settings = RecogniserSettings(speech=SpeechSettings(corpora=()))
    next(evaluation_sets(root, settings, "test")["ravdess"]())


@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("data.tsv", read_nemo),
        ("VideoDemographics.csv", read_crema_d),
        ("train_sent_emo.csv", lambda root: read_meld(root, root / "cache")),
        ("manifest.csv", read_recordings),
        ("train.csv", lambda root: next(read_sentences(root / "train.csv"))),
        ("ravdess/manifest.csv", read_ravdess),
    ],
)
def test_every_reader_refuses_by_name_what_is_no_csv_in_utf_8_or_lacks_a_column(
    file: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(CorpusError, match=rf"{path}: no CSV in UTF-8"):
        read(tmp_path)
    path.write_bytes(b"something\n")
    with pytest.raises(CorpusError, match=rf"{path}: no column .*\. Needed: "):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"text,label4\ncaf\xe9,sad\n", "can't decode"), (b"text,label4\n%s,sad\n", "field limit")],
)
def test_what_is_no_csv_in_utf_8_is_refused_by_file_with_the_remedy(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "dev.csv").write_bytes(content.replace(b"%s", b"x" * 200_000))
    with pytest.raises(CorpusError, match=rf"dev\.csv: .*{reason}.*Save it as CSV UTF-8\."):
        read_texts(tmp_path / "dev.csv")
