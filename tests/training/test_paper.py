"""The paper's protocol from beginning to end on a small folder in IEMOCAP's format."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from config.loader import SettingsError, load
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from stser_core.sizes import StserSettings
from tests.training.iemocap_folder import write_small
from training.cli import main
from training.compute import Compute
from training.corpora.iemocap import read_iemocap
from training.errors import CorpusError
from training.flags import PAPER_SETTINGS
from training.folds import session_folds
from training.paper import read_data
from training.paper_report import write_report
from training.paper_training import Keep, train_fold
from training.settings import PaperSettings
from training.text_encoder import TextEncoder

TINY = """
albert_rate = 3e-3
learning_rate = 1e-2
batch = 8
epochs = 5
patience = 6
[speech]
channels = 4
hidden = 8
heads = 4
"""
ROWS = ["speech", "text", "bimodal", "STSER"]
BASELINES = ["eGeMAPS + SVM", "eGeMAPS + SVM, speaker known", "TF-IDF + logistic regression"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("iemocap"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "tiny.toml"
    path.write_text(TINY, "utf-8")
    return path


def command(corpus: Path, settings: Path, albert: Path, out: Path, *more: str) -> list[str]:
    flags = ["--root", corpus, "--config", settings, "--text-encoder", albert, "--out", out]
    kept = ["--cache", out.parent / "cache", "--allow-partial", *more]
    return ["crossval", "--corpus", "iemocap", *map(str, flags), *map(str, kept)]


@pytest.fixture(scope="module")
def results(
    corpus: Path, settings: Path, albert: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("run") / "results"
    assert main(command(corpus, settings, albert, out)) == 0
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def folds(results: Path) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads((results / f"fold-{n}.json").read_text("utf-8")) for n in range(1, 6)]


def test_each_session_is_the_test_once_and_every_utterance_is_tested_once(results: Path) -> None:
    tested = folds(results)
    assert [fold["session"] for fold in tested] == [f"Session{n}" for n in range(1, 6)]
    for fold in tested:
        assert all(each["path"].startswith(fold["session"]) for each in fold["test"])
        assert not any(
            d.startswith(f"Ses0{fold['session'][-1]}") for d in fold["validation_dialogues"]
        )
    paths = [each["path"] for fold in tested for each in fold["test"]]
    assert len(paths) == len(set(paths)) == 75


def test_the_tables_are_the_mean_and_deviation_of_the_folds_as_scikit_learn_counts_them(
    results: Path,
) -> None:
    by_row: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    for fold in folds(results):
        truth = [each["label"] for each in fold["test"]]
        for name in ROWS:
            said = [EMOTIONS[int(np.argmax(e["posteriors"][name]))].value for e in fold["test"]]
            by_row[name].append((accuracy_score(truth, said), balanced_accuracy_score(truth, said)))
    for row in table(results / "table1.csv")[:4]:
        values = 100 * np.array(by_row[row["model"]])
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        assert row["WA"] == f"{mean[0]:.2f} ± {deviation[0]:.2f}"
        assert row["UA"] == f"{mean[1]:.2f} ± {deviation[1]:.2f}"
    assert [row["model"] for row in table(results / "table1.csv")] == ROWS + BASELINES


def test_a_part_of_the_corpus_says_so_below_its_tables(results: Path) -> None:
    tables = (results / "tables.md").read_text("utf-8")
    assert "75 utterances instead of 5,531. These figures do not compare" in tables


def test_the_whole_corpus_has_its_tables_without_a_caution(tmp_path: Path) -> None:
    said = {"label": "sad", "speaker": "s", "posteriors": {"STSER": [0, 0, 0, 1]}, "baseline": {}}
    fold = {"session": "Session1", "curves": [], "test": [said] * 5_531}
    fold["curves"] = [{"branch": "text", "epoch": 1, "loss": 1.0, "accuracy": 0.5}]
    text = write_report([fold], tmp_path)
    assert text.endswith("|\n")
    assert "| STSER | 100.00 ± 0.00 | 100.00 ± 0.00 |" in text
    assert "Words as the recogniser heard them: tiny." in write_report([fold], tmp_path, "tiny")


def test_words_that_give_the_emotion_away_are_learnt(results: Path) -> None:
    figures = json.loads((results / "results.json").read_text("utf-8"))
    assert figures["text"]["WA"]["mean"] > 85
    assert figures["bimodal"]["WA"]["mean"] > 80


def test_the_published_rows_stand_beside_ours(results: Path) -> None:
    rows = table(results / "table2.csv")
    published = [(row["model"], row["WA paper"], row["UA paper"]) for row in rows]
    assert published[4:] == [(name, "", "") for name in BASELINES]
    assert published[:4] == [
        ("speech", "53.35", "55.00"),
        ("text", "59.32", "59.40"),
        ("bimodal", "70.83", "71.70"),
        ("STSER", "71.06", "72.05"),
    ]
    ours = {row["model"]: row["WA"].split()[0] for row in table(results / "table1.csv")}
    assert {row["model"]: row["WA ours"] for row in rows} == ours


def test_the_baselines_are_scikit_learns_on_the_same_folds(results: Path, corpus: Path) -> None:
    utterances = read_iemocap(corpus, allow_partial=True)
    (kept,) = (results.parent / "cache").glob("egemaps-*.npy")
    features = np.load(kept)
    assert features.shape == (75, 88)
    labels = np.array([u.label.value for u in utterances])
    texts = [u.text or "" for u in utterances]
    known = features.copy()
    for speaker in {u.speaker for u in utterances}:
        own = [i for i, u in enumerate(utterances) if u.speaker == speaker]
        known[own] = StandardScaler().fit_transform(features[own])
    scores: dict[str, list[float]] = {name: [] for name in BASELINES}
    for fold in session_folds(utterances, 0.2, seed=1):
        train, test = [*fold.train, *fold.validation], list(fold.test)
        for name, values in zip(BASELINES, (features, known), strict=False):
            machine = make_pipeline(StandardScaler(), SVC(C=3.0, class_weight="balanced"))
            machine.fit(values[train], labels[train])
            said = machine.predict(values[test])
            scores[name].append(balanced_accuracy_score(labels[test], said))
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        reader = make_pipeline(words, LogisticRegression(C=3.0, class_weight="balanced"))
        reader.fit([texts[i] for i in train], labels[train])
        said = reader.predict([texts[i] for i in test])
        scores[BASELINES[2]].append(balanced_accuracy_score(labels[test], said))
    figures = json.loads((results / "results.json").read_text("utf-8"))
    for name, values in scores.items():
        assert figures[name]["UA"]["mean"] == pytest.approx(100 * np.mean(values), abs=0.01)
        assert figures[name]["UA"]["deviation"] == pytest.approx(100 * np.std(values), abs=0.01)


def test_the_baseline_alone_gives_the_rows_that_stand_below_ours(
    results: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--root", corpus, "--cache", results.parent / "cache"]
    command = ["baseline", "--corpus", "iemocap", "--allow-partial", *map(str, flags)]
    assert main(command) == 0
    out = tmp_path / "runs" / "stser-iemocap-baseline"
    assert table(out / "table1.csv") == table(results / "table1.csv")[4:]
    assert (out / "confusion.png").is_file()


def test_stser_is_the_average_of_the_three_posteriors(results: Path) -> None:
    for each in folds(results)[0]["test"]:
        three = [each["posteriors"][name] for name in ROWS[:3]]
        np.testing.assert_allclose(each["posteriors"]["STSER"], np.mean(three, axis=0), atol=1e-9)


def test_the_results_folder_holds_tables_pictures_and_what_made_them(results: Path) -> None:
    for name in ("confusion", "curves", "speakers"):
        assert (results / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert "<svg" in (results / f"{name}.svg").read_text("utf-8")
    assert {row["speaker"] for row in table(results / "speakers.csv")} == {
        f"iemocap_Ses0{session}{gender}" for session in range(1, 6) for gender in "FM"
    }
    counted = [[int(row[e]) for e in EMOTIONS] for row in table(results / "confusion-STSER.csv")]
    assert np.sum(counted, axis=1).tolist() == [30, 15, 15, 15]
    run = json.loads((results / "run.json").read_text("utf-8"))
    assert run["settings"]["speech"]["hidden"] == 8
    assert run["corpus"]["hash"].startswith("sha256:")
    assert set(run["versions"]) >= {"python", "torch", "numpy"}
    assert {row["branch"] for row in table(results / "curves.csv")} == {"speech", "text", "bimodal"}


def test_a_run_that_was_killed_goes_on_to_the_identical_result(
    results: Path, corpus: Path, settings: Path, albert: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    shutil.copytree(results, out)
    for name in ("fold-3.json", "fold-5.json", "table1.csv", "curves.svg"):
        (out / name).unlink()
    (out / ".fold-3.json.draft").write_text('{"session": "Sess')  # killed in mid-write
    kept = (out / "fold-2.json").stat().st_mtime_ns
    assert main(command(corpus, settings, albert, out)) == 0
    assert (out / "fold-2.json").stat().st_mtime_ns == kept
    for path in results.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


class Scaled(Compute):
    """Whose scale of float16 rises with each batch; what each branch begins with is kept."""

    def __init__(self) -> None:
        self._now = 1.0
        self.began: list[float] = []
        super().__init__()

    @property
    def scale(self) -> dict[str, float]:
        return {"scale": self._now}

    @scale.setter
    def scale(self, kept: dict[str, float]) -> None:
        self._now = kept.get("scale", 1.0)
        self.began.append(self._now)

    def backward(self, loss: torch.Tensor) -> None:
        self._now += 1
        super().backward(loss)


def test_each_branch_begins_with_the_scale_of_the_beginning_however_often_the_state_is_saved(
    corpus: Path, settings: Path, albert: Path, tmp_path: Path
) -> None:
    said = read_iemocap(corpus, allow_partial=True)
    how, encoder = load(settings, PaperSettings), TextEncoder.of_albert(str(albert))
    data = read_data(said, encoder, how, tmp_path)
    fold = session_folds(said, how.validation_share, how.seed)[0]
    for every_s in (0.0, 1e9):
        model = StserModel(StserSettings(speech=how.speech, text=encoder.sizes))
        compute = Scaled()
        train_fold(model, data, fold, how, compute, Keep(tmp_path / f"{every_s}", every_s))
        assert compute.began == [1.0, 1.0, 1.0]


def test_a_folder_of_another_run_is_refused_and_what_differs_is_named(
    results: Path,
    corpus: Path,
    albert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(TINY.replace("epochs = 5", "epochs = 7"), "utf-8")
    assert main(command(corpus, other, albert, results)) == 2
    assert "settings.epochs is 5 there and 7 now" in capsys.readouterr().err


def test_joint_training_gives_the_same_tables_from_one_curve(
    corpus: Path, albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joint = tmp_path / "joint.toml"
    once = TINY.replace("epochs = 5", "epochs = 1")
    joint.write_text('training = "joint"\ntune_albert = false\n' + once, "utf-8")
    assert main(command(corpus, joint, albert, tmp_path / "results")) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Table 1.")
    assert printed.count("| STSER |") == 2
    curves = table(tmp_path / "results" / "curves.csv")
    assert {row["branch"] for row in curves} == {"joint"}


def test_any_blocks_train_in_bfloat16_and_the_record_says_so(
    corpus: Path, albert: Path, tmp_path: Path
) -> None:
    # In a process of its own: Accelerate has one precision a process.
    other = tmp_path / "other.toml"
    once = TINY.replace("epochs = 5", "epochs = 1")
    other.write_text(once + 'blocks = ["residual", "dilated", "plain"]\n', "utf-8")
    out = tmp_path / "results"
    flags = command(corpus, other, albert, out, "--mixed-precision", "bf16")
    done = subprocess.run([sys.executable, "-m", "training", *flags], check=False)
    assert done.returncode == 0
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert run["mixed_precision"] == "bf16"
    assert run["settings"]["speech"]["blocks"] == ["residual", "dilated", "plain"]
    losses = [float(row["training_loss"]) for row in table(out / "curves.csv")]
    assert len(losses) == 5 * 3
    assert all(0.1 < loss < 3 for loss in losses)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--device", "cuda"], "finds no CUDA GPU on this machine. Use --device cpu"),
        (["--mixed-precision", "fp16"], "fp16 needs a GPU"),
    ],
)
def test_a_device_that_is_not_there_is_refused_before_anything_is_read(
    more: list[str],
    message: str,
    corpus: Path,
    settings: Path,
    albert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command(corpus, settings, albert, tmp_path / "results", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_an_incomplete_corpus_is_refused_without_allow_partial(
    corpus: Path, settings: Path, albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = command(corpus, settings, albert, tmp_path / "results")
    flags.remove("--allow-partial")
    assert main(flags) == 2
    assert "75 utterances instead of 5,531" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_validation_is_whole_dialogues_of_the_training_sessions_with_a_fifth_of_them(
    corpus: Path,
) -> None:
    utterances = read_iemocap(corpus, allow_partial=True)
    for fold in session_folds(utterances, 0.2, seed=1):
        train, validation, test = (
            {utterances[i].dialogue for i in part}
            for part in (fold.train, fold.validation, fold.test)
        )
        assert not train & validation
        assert not (train | validation) & test
        assert len({utterances[i].session for i in (*fold.train, *fold.validation)}) == 4
        assert len({utterances[i].session for i in fold.test}) == 1
        assert len(fold.validation) == 15  # 3 dialogues of 5: the first number from 20 % of 60 on
        assert sorted((*fold.train, *fold.validation, *fold.test)) == list(range(75))


def test_folds_by_session_refuse_one_session_alone(corpus: Path) -> None:
    utterances = [u for u in read_iemocap(corpus, allow_partial=True) if u.session == "Session1"]
    with pytest.raises(CorpusError, match="1 sessions are too few"):
        session_folds(utterances, 0.2, seed=1)


def test_an_encoder_that_is_no_albert_is_refused(
    corpus: Path, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert main(command(corpus, settings, tmp_path, tmp_path / "out")) == 2
    assert "Give an ALBERT" in capsys.readouterr().err


def test_the_settings_file_lists_every_setting_with_its_default() -> None:
    def flat(values: dict[str, Any], where: str = "") -> dict[str, Any]:
        found = {}
        for key, value in values.items():
            inner = flat(value, f"{where}{key}.") if isinstance(value, dict) else None
            found |= inner if inner is not None else {f"{where}{key}": value}
        return found

    listed = flat(tomllib.loads(PAPER_SETTINGS.read_text("utf-8")))
    defaults = flat(dataclasses.asdict(PaperSettings()))
    assert {k: tuple(v) if isinstance(v, list) else v for k, v in listed.items()} == defaults


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("[speech]\nn_mels = 40", r"log_mel\.n_mels \(64\) and speech\.n_mels \(40\)"),
        ("text_dropout = 1.5", r"text_dropout \(1\.5\) must be in"),
        ("validation_share = 1.0", "something must be left to train on"),
        ("patience = 0", r"patience \(0\) must be positive"),
        ("crop_frames = 2", "a shorter excerpt has no pooled frame"),
        ('training = "both"', "separate"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(
    setting: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(setting, "utf-8")
    with pytest.raises(SettingsError, match=message):
        load(path, PaperSettings)
