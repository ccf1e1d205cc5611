"""Synthetic voices, the recogniser of the package, and what comes of both."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from training.cli import main
from training.mishearing import Confusions

pytestmark = pytest.mark.skipif(
    shutil.which("flite") is None, reason="flite is not installed: apt-get install flite"
)


def test_a_corpus_is_written_as_it_was_heard(root: Path, tmp_path: Path) -> None:
    flags = ["--root", root, "--corpus", "goemotions/dev.csv", "--cache", tmp_path / "cache"]
    command = ["heard", *map(str, [*flags, "--sentences", "8", "--out", tmp_path])]
    assert main(command) == 0
    with (tmp_path / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    said = [word for row in rows for word in row["written"].split()]
    heard = [word for row in rows for word in row["text"].split()]
    assert len(set(said) & set(heard)) >= 3, (said, heard)
    assert {row["label4"] for row in rows} <= {"angry", "happy", "neutral", "sad"}


def test_confusions_are_counted_of_training_sentences(
    root: Path, tiny: Path, tmp_path: Path
) -> None:
    flags = ["--root", root, "--config", tiny, "--cache", tmp_path / "cache", "--sentences", "4"]
    command = ["confusions", *map(str, [*flags, "--out", tmp_path / "table.tsv"])]
    assert main(command) == 0
    assert Confusions.read(tmp_path / "table.tsv").heard


def test_a_folder_that_is_no_recogniser_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--root", root, "--corpus", "goemotions/dev.csv", "--vosk-model", tmp_path / "nowhere"]
    assert main(["heard", *map(str, [*flags, "--out", tmp_path / "out"])]) == 2
    assert "no such folder, or nothing in it" in capsys.readouterr().err
