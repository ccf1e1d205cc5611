"""Synthetic voices, the recogniser of the package, and what comes of both."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.training.conftest import WORDS
from training.cli import main
from training.mishearing import Confusions
from training.recognised import recognised
from training.recogniser.synthesis import missing_packages
from training.transcripts import Recogniser, embedded_model

pytestmark = pytest.mark.skipif(
    bool(missing_packages()), reason=f"not installed: {' '.join(missing_packages())}"
)


def test_what_is_heard_is_of_the_sentence_that_was_said_even_where_one_has_no_sound(
    tmp_path: Path,
) -> None:
    said = [["leave", "me", "alone"], [","], ["the", "train", "is", "here"], ["i", "miss", "you"]]
    found = dict(recognised([*said, said[0]], Recogniser(embedded_model(), tmp_path)))
    assert list(found) == [0, 2, 3, 4]
    assert found[0] == found[4]
    for place, word in ((0, "alone"), (2, "train"), (3, "you")):
        assert word in found[place]


def test_the_report_judges_sentences_as_written_and_as_heard(
    root: Path, tiny: Path, tmp_path: Path
) -> None:
    flags = ["--root", root, "--config", tiny, "--cache", tmp_path / "cache"]
    page = tmp_path / "words.md"
    assert main(["words", *map(str, [*flags, "--sentences", "8", "--out", page])]) == 0
    rows = [line.split(" | ") for line in page.read_text("utf-8").splitlines() if "| some" in line]
    written, heard = rows
    assert written[:2] == ["| goemotions", "some, written"]
    assert written[2] == heard[2] == "8"
    assert all(0 <= float(value.strip(" |")) <= 1 for value in written[3:] + heard[3:])


def test_the_report_counts_sentences_apart_that_training_has_word_for_word(
    root: Path, tiny: Path, tmp_path: Path
) -> None:
    other = tmp_path / "corpora"
    shutil.copytree(root, other)
    dev = other / "goemotions" / "dev.csv"
    known = (other / "goemotions" / "train.csv").read_text("utf-8").splitlines()[1]
    lines = dev.read_text("utf-8").splitlines()
    new = [line.replace(line.split(",")[0], f"well well {n}") for n, line in enumerate(lines[1:5])]
    dev.write_text("\n".join([lines[0], known, *new]) + "\n", "utf-8")
    flags = ["--root", other, "--config", tiny, "--cache", tmp_path / "cache"]
    page = tmp_path / "words.md"
    assert main(["words", *map(str, [*flags, "--sentences", "1", "--out", page])]) == 0
    rows = [line.split(" | ")[1:3] for line in page.read_text("utf-8").splitlines()]
    assert ["as written", "5"] in rows
    assert ["as written, new", "4"] in rows


def test_confusions_are_counted_of_training_sentences(
    root: Path, tiny: Path, tmp_path: Path
) -> None:
    flags = ["--root", root, "--config", tiny, "--cache", tmp_path / "cache", "--each", "1"]
    table = tmp_path / "new" / "table.tsv"
    assert main(["confusions", *map(str, [*flags, "--out", table])]) == 0
    known = {word for said in Confusions.read(table).heard for word in said}
    assert len(known) >= 6
    assert known <= {word for text in WORDS.values() for word in text.split()}


def test_a_folder_that_is_no_recogniser_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--root", root, "--vosk-model", tmp_path / "nowhere"]
    assert main(["words", *map(str, [*flags, "--out", tmp_path / "out"])]) == 2
    assert "no such folder, or nothing in it" in capsys.readouterr().err
