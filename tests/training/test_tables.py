"""The pages hold the figures that they are given, and say what was not measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stser_core.checkpoint import read_manifest
from stser_core.ensemble import DEFAULT_CHECKPOINT
from training.cli import main
from training.errors import TrainingError
from training.held_out import HEARD
from training.model_card import COPY, model_card, shipped
from training.robustness import FOLDS
from training.tables import CORPORA, Results, draw, tables

RELIABLE = {
    "least confidence": 0.456,
    "WA": 0.6,
    "UA": 0.6,
    "ECE": 0.043,
    "diagram": [[0.4, 0.41, 50], [0.8, 0.77, 60]],
    "coverage": [[0.25, 1.0, 0.6], [0.5, 0.5, 0.777]],
}


SHIPPED = "stser-open 1.5.0"


def told(ua: float) -> dict[str, Any]:
    names = {f"{corpus}, {n} heard": n for corpus in CORPORA for n in HEARD}
    names |= {f"{c}, 10 {mood} heard": 7 for c in CORPORA for mood in ("neutral", "angry")}
    figures: dict[str, Any] = {
        name: {"UA": ua + n / 1000, "UA sd": 0.01, "ECE": 0.05} for name, n in names.items()
    }
    return figures | {f"{corpus}, 10 heard, female": {"UA": 0.123} for corpus in CORPORA}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pairs = {name: {"WA": 0.8, "UA": 0.8, "ECE": 0.02} for name in ("speech", "text", "bimodal")}
    full = {
        "speech": told(0.5),
        "reliability": RELIABLE,
        "pairs": pairs
        | {
            "STSER": {**RELIABLE, "UA": 0.876},
            "bounds": {"least confidence": 0.0, "least agreement": 0.123},
        },
    }
    conditions = ("clean", 0.8), ("noise, 10 dB SNR", 0.6)
    baseline = {
        f"eGeMAPS + SVM, {corpus}, {kind}": {"UA": 0.444}
        for corpus in CORPORA
        for kind in ("plain", "speaker oracle")
    } | {
        f"TF-IDF + logistic regression, {corpus}, {kind}": {"UA": 0.333}
        for corpus in ("goemotions", "meld_text")
        for kind in ("own corpus", "all corpora")
    }
    results = {
        "crossval": full,
        "held-out": full
        | {
            "judged": SHIPPED,
            "speech": told(0.6),
            "unlike": {"speech": 0.0172, "noise": 0.975},
        },
        "robustness": {
            "judged": FOLDS,
            "conditions": {
                name: {"utterances": 380, "UA": ua, **dict.fromkeys(CORPORA, ua)}
                for name, ua in conditions
            },
        },
        "baseline": baseline,
    }
    for command, figures in results.items():
        (tmp_path / command).mkdir()
        (tmp_path / command / f"{command}.json").write_text(json.dumps(figures), "utf-8")
    return tmp_path


def results(folder: Path) -> Results:
    return Results.read(folder, SHIPPED, read_manifest(DEFAULT_CHECKPOINT).notes)


def test_the_page_has_every_figure_and_names_what_was_not_measured(folder: Path) -> None:
    page = tables(results(folder))
    assert (
        "| RAVDESS | 0.500 | 0.501 | 0.503 | 0.510 | 0.530 | 0.507 | 0.507 | 0.050 | 0.444 | 0.444 |"
        in page
    )
    assert "| Emo-DB | 0.123 |" in page
    assert "| noise, 10 dB SNR | 0.600 | 0.600 | 0.600 | 0.600 | 75 % |" in page
    assert "| STSER | 0.600 | 0.876 | 0.043 |" in page
    assert "confidence 0.46 for the voice alone, 0.00 for pairs; agreement 0.12" in page
    assert "| 0.50 | 0.500 | 0.777 | 0.500 | 0.777 |" in page
    assert "Not measured for this version: `stser-train left-out` does." in page


def test_the_page_says_whose_speakers_were_judged_in_noise(folder: Path) -> None:
    assert "The test speakers of the five folds (380 utterances), 10 heard" in tables(
        results(folder)
    )
    path = folder / "robustness" / "robustness.json"
    found = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(found | {"judged": "mine 0.1"}), "utf-8")
    page = tables(results(folder))
    assert "mine 0.1 itself, on the speakers that its training set apart" in page
    assert "The test speakers of the five folds" not in page
    path.write_text(json.dumps(found["conditions"]), "utf-8")
    with pytest.raises(TrainingError, match=r"robustness: does not say what was judged"):
        results(folder)


def test_the_page_says_how_much_speech_and_how_much_noise_is_marked(folder: Path) -> None:
    page = tables(results(folder))
    assert "## Sounds that are no speech" in page
    assert "| speech | 1.7 % |\n| noise | 97.5 % |" in page
    path = folder / "held-out" / "held-out.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"unlike": {}}), "utf-8")
    assert "The shipped model cannot tell them" in tables(results(folder))


def test_speakers_set_apart_by_another_checkpoint_are_not_called_the_shipped_ones(
    folder: Path,
) -> None:
    path = folder / "held-out" / "held-out.json"
    found = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(found | {"judged": "mine 0.1"}), "utf-8")
    with pytest.raises(
        TrainingError, match=r"held-out: judged mine 0\.1; .* Run stser-train held-out"
    ):
        results(folder)


def test_without_folds_there_is_no_page(folder: Path) -> None:
    (folder / "crossval" / "crossval.json").unlink()
    with pytest.raises(
        TrainingError, match=r"crossval: no results\. Run stser-train crossval first"
    ):
        results(folder)


def test_results_that_are_damaged_are_named(folder: Path) -> None:
    path = folder / "crossval" / "crossval.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match=r"crossval\.json: no results can be read"):
        results(folder)


def test_pages_that_cannot_be_written_are_one_clear_line_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tables", "--results", str(folder), "--docs", "/dev/null/docs"]) == 2
    assert capsys.readouterr().err == "stser-train: /dev/null/docs/results: Not a directory.\n"


def test_pictures_come_as_png_svg_and_numbers(folder: Path, tmp_path: Path) -> None:
    draw(results(folder), tmp_path / "pictures")
    names = {f"{name}.{kind}" for name in ("coverage", "reliability") for kind in ("png", "svg")}
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == names | {"coverage.csv"}
    assert "speech,0.5,0.5000,0.7770" in (tmp_path / "pictures" / "coverage.csv").read_text("utf-8")


def test_the_card_beside_the_weights_is_the_one_of_the_project_without_its_links(
    folder: Path,
) -> None:
    card = model_card(results(folder), read_manifest(DEFAULT_CHECKPOINT).description)
    assert "prohibited in the European Union" in card
    assert "`not_like_training`, and so are 1.7 % of the" in card
    assert "](" in card
    assert "](" not in shipped(card)
    project = Path(__file__).parents[2] / "docs" / "model-card.md"
    packaged = (DEFAULT_CHECKPOINT / COPY).read_text("utf-8")
    assert packaged == shipped(project.read_text("utf-8"))
