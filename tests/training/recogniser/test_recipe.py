"""The whole recipe on three words: corpora in, a folder out that Vosk loads and recognises with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from config.loader import load
from tests.support.speech import spoken
from tests.training.recogniser.conftest import WORDS
from training.cli import main
from training.errors import TrainingError
from training.recogniser.evaluation import Recogniser, Spoken, score
from training.recogniser.evaluation_sets import NEW, WORD_FOR_WORD, evaluation_sets
from training.recogniser.prepare import material, prepare
from training.recogniser.recipe import VALIDATION, best_epoch, training_run
from training.recogniser.settings import RecogniserSettings
from training.recogniser.trainer import _Loop, checkpoint_path
from training.transcripts import embedded_model

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
    validation = json.loads((model.parent / "run" / VALIDATION).read_text("utf-8"))
    assert len(validation["objective"]) == 8
    assert validation["epoch"] == 1 + int(np.argmin(validation["objective"]))
    assert validation["objective"][-1] < validation["objective"][0]


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


def test_a_run_that_was_killed_goes_on_to_the_identical_network(
    model: Path, tiny_corpora: Path, tiny_settings: Path, tmp_path: Path
) -> None:
    settings = load(tiny_settings, RecogniserSettings)
    assert settings.network.dropout > 0
    found = material(tiny_corpora, settings)
    prepared = prepare(tiny_corpora, model.parent / "cache", settings, found, None)
    run = training_run(prepared, tmp_path / "run", settings)
    torch.manual_seed(settings.seed)
    loop = _Loop(prepared, run, settings, None)
    loop.epoch(0)
    torch.manual_seed(settings.seed)
    again = _Loop(prepared, run, settings, None)
    again.resume()
    again.epoch(1)
    second = [checkpoint_path(folder, 2) for folder in (run.folder, model.parent / "run")]
    assert second[0].read_bytes() == second[1].read_bytes()


def test_a_run_is_gone_on_with_by_its_own_settings_alone_but_other_words_may_be_exported(
    model: Path,
    tiny_corpora: Path,
    tiny_settings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def built(before: str, after: str) -> int:
        changed = tmp_path / "changed.toml"
        changed.write_text(tiny_settings.read_text("utf-8").replace(before, after), "utf-8")
        arguments = ["--root", tiny_corpora, "--config", changed, "--out", tmp_path / "other"]
        work = ["--cache", model.parent / "cache", "--run", model.parent / "run"]
        return main(["recogniser", "build", *map(str, arguments + work)])

    assert built("learning_rate = 2e-3", "learning_rate = 1e-3") == 2
    said = capsys.readouterr().err
    assert "training.learning_rate is 0.002 there and 0.001 now. Give --run another folder" in said
    assert not (tmp_path / "other").exists()
    assert built("words = 20", "words = 2") == 0
    words = (tmp_path / "other" / "graph" / "words.txt").read_text("utf-8")
    assert len(words) < len((model / "graph" / "words.txt").read_text("utf-8"))


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
    assert "stser-train recogniser evaluate --side valid --model" in page.read_text("utf-8")


def test_sentences_that_the_training_text_has_word_for_word_are_counted_apart(
    tiny_corpora: Path, tiny_settings: Path, tmp_path: Path
) -> None:
    root = tmp_path / "corpora"
    shutil.copytree(tiny_corpora, root)
    (root / "dailydialog" / "dev.csv").write_text(
        "text,label4\nHappy today!,happy\nToday alone today.,sad\n", "utf-8"
    )
    settings = load(tiny_settings, RecogniserSettings)
    settings = replace(settings, speech=replace(settings.speech, synthesised_words=(1, 3)))
    (root / "dailydialog" / "train.csv").write_text("text,label4\nhappy today,happy\n", "utf-8")
    said = evaluation_sets(root, settings, "valid")["synthesised dialogue"]()
    groups = {" ".join(one.words): one.groups[-1] for one in said}
    assert groups == {"happy today": WORD_FOR_WORD, "today alone today": NEW}


def test_a_model_in_the_older_layout_of_vosk_is_refused_by_the_file_that_it_lacks(
    tmp_path: Path,
) -> None:
    for path in embedded_model().rglob("*.*"):
        shutil.copy(path, tmp_path)  # all in one folder: Vosk loads that, too
    with pytest.raises(TrainingError, match=r"graph/words\.txt: cannot be read"):
        Recogniser(tmp_path)


def test_the_best_epoch_is_the_first_of_the_least_and_none_where_an_objective_is_no_number() -> (
    None
):
    assert best_epoch([0.3, 0.2, 0.2], Path("run")) == 2
    with pytest.raises(TrainingError, match="run: the objective after epoch 2 is nan"):
        best_epoch([0.3, float("nan"), 0.2], Path("run"))


def test_an_utterance_of_no_group_is_counted_once() -> None:
    silence = np.zeros(8_000, np.float32)
    scores = score(Recogniser(embedded_model()), [Spoken(("what", "now"), silence, ("",))])
    assert (scores[""].words, scores[""].utterances) == (2, 1)
