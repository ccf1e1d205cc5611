"""The whole recipe on three words: corpora in, a folder out that Vosk loads and recognises with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.speech import spoken
from tests.training.recogniser.conftest import WORDS
from training.cli import main
from training.recogniser.evaluation import Recogniser

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def model(
    tiny_corpora: Path, tiny_settings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    arguments = ["--root", tiny_corpora, "--config", tiny_settings, "--cache", folder / "cache"]
    places = ["--run", folder / "run", "--out", folder / "tiny"]
    assert main(["recogniser", "build", *map(str, arguments + places)]) == 0
    return folder / "tiny"


def test_vosk_loads_what_the_recipe_made_and_hears_its_words(model: Path) -> None:
    recogniser = Recogniser(model)
    heard = [word for text in WORDS for word in recogniser.recognise(spoken(text))]
    assert heard
    assert {word.word for word in heard} <= set(WORDS)
    assert all(0.0 <= word.start_s < word.end_s <= 2.0 for word in heard)


def test_the_run_says_which_epoch_was_chosen_on_validation(model: Path) -> None:
    run = json.loads((model.parent / "run" / "run.json").read_text("utf-8"))
    assert len(run["validation"]) == 8
    assert run["epoch"] == 1 + int(np.argmin(run["validation"]))
    assert run["validation"][-1] < run["validation"][0]


def test_a_finished_run_is_exported_again_without_training(
    model: Path, tiny_corpora: Path, tiny_settings: Path, tmp_path: Path
) -> None:
    arguments = ["--root", tiny_corpora, "--config", tiny_settings]
    places = [
        "--cache",
        model.parent / "cache",
        "--run",
        model.parent / "run",
        "--out",
        tmp_path / "again",
    ]
    before = {path: path.stat().st_mtime_ns for path in (model.parent / "cache").rglob("*")}
    assert main(["recogniser", "build", *map(str, arguments + places)]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for part in ("am/final.mdl", "graph/Gr.fst", "graph/words.txt"):
        assert (tmp_path / "again" / part).read_bytes() == (model / part).read_bytes()


def test_evaluation_counts_the_sets_that_training_never_heard(
    model: Path, tiny_corpora: Path, tiny_settings: Path, tmp_path: Path
) -> None:
    arguments = ["--root", tiny_corpora, "--config", tiny_settings, "--side", "valid"]
    page = tmp_path / "page.md"
    places = ["--cache", model.parent / "cache", "--model", model, "--out", page]
    assert main(["recogniser", "evaluate", *map(str, arguments + places)]) == 0
    [figures] = json.loads(page.with_suffix(".json").read_text("utf-8"))
    read = figures["sets"]["read"]
    assert (read[""]["utterances"], read[""]["words"]) == (9, 15)
    assert read["valid"] == read[""]
    assert "| read | 9 |" in page.read_text("utf-8")
