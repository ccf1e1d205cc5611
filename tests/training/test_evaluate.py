"""``stser-train evaluate``: a small folder through the engine of the monitor."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import balanced_accuracy_score

from stser_core.adaptation import HeardSpeech, LogMelStatistics
from stser_core.ensemble import Stser
from stser_core.export import save_checkpoint
from stser_core.features import log_mel
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS, Emotion
from stser_core.sizes import SpeechModelSettings, StserSettings, TextModelSettings
from stser_core.text import spoken_words
from tests.training.conftest import VOCABULARY, WORDS, tone
from training.cli import main
from training.corpora import read_manifest
from training.evaluate import evaluate, figures
from training.front_end import trim


@pytest.fixture(scope="module")
def checkpoint(albert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, spread so that the posteriors are neither flat nor certain."""
    torch.manual_seed(0)
    model = StserModel(
        StserSettings(
            speech=SpeechModelSettings(channels=4, hidden=8),
            text=TextModelSettings(
                vocabulary=len(VOCABULARY),
                embedding=8,
                hidden=16,
                layers=1,
                heads=2,
                intermediate=16,
            ),
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    folder = tmp_path_factory.mktemp("checkpoints") / "random"
    draw = np.random.default_rng(1)
    save_checkpoint(
        folder,
        model,
        name="random",
        version="0.0.1",
        tokenizer_json_path=albert / "tokenizer.json",
        prior=LogMelStatistics(1e5, draw.normal(-8, 1, 64), 1e5 * draw.uniform(4, 9, 64)),
        temperatures={"speech": 1.0, "text": 1.0, "bimodal": 1.0},
        notes={},
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers who take turns; rows with audio, text and both; one row of another class."""
    folder = tmp_path_factory.mktemp("own")
    rows = []
    for take in range(2):
        for speaker in range(2):
            for index, emotion in enumerate(EMOTIONS):
                name = f"{speaker}-{emotion}-{take}.wav"
                soundfile.write(folder / name, tone(speaker, index, take), 16_000)
                text = WORDS[emotion] if take else ""
                rows.append([name, f"s{speaker}", emotion.value, text])
    rows += [["", "", emotion, text] for emotion, text in WORDS.items()]
    rows.append(["", "", "", "of another class"])
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "speaker", "label4", "text"], *rows])
    return folder


def run(checkpoint: Path, folder: Path, out: Path, *more: str) -> list[dict[str, str]]:
    command = ["evaluate", "--checkpoint", checkpoint, "--corpus", "csv", "--root", folder]
    assert main([*map(str, command), "--out", str(out), *more]) == 0
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_classifier_is_counted_on_the_rows_that_it_can_judge(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run(checkpoint, folder, tmp_path / "out.csv")
    assert len(rows) == 20
    printed = capsys.readouterr().out.splitlines()
    table = {line.split()[0]: line.split()[1:] for line in printed[1:5]}
    counts = {name: int(values[0]) for name, values in table.items()}
    assert counts == {"speech": 16, "text": 12, "bimodal": 8, "ensemble": 20}
    for name, (_, weighted, unweighted, _) in table.items():
        judged = [row for row in rows if row[f"{name}_angry"]]
        truth = [row["label4"] for row in judged]
        said = [
            max(EMOTIONS, key=lambda e, row=row, name=name: float(row[f"{name}_{e}"])).value  # type: ignore[misc]
            for row in judged
        ]
        assert float(weighted) == pytest.approx(np.mean(np.array(truth) == said), abs=1e-4)
        assert float(unweighted) == pytest.approx(balanced_accuracy_score(truth, said), abs=1e-4)


def test_predictions_come_in_manifest_order_with_the_average_of_those_that_spoke(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    rows = run(checkpoint, folder, tmp_path / "out.csv")
    expected = read_manifest(folder, complete=False)
    assert [row["path"] for row in rows] == [u.audio.name if u.audio else "" for u in expected]
    for row in rows:
        for emotion in EMOTIONS:
            spoke = [row[f"{name}_{emotion}"] for name in ("speech", "text", "bimodal")]
            mean = np.mean([float(value) for value in spoke if value])
            assert float(row[f"ensemble_{emotion}"]) == pytest.approx(mean, abs=2e-6)


def test_a_speaker_is_judged_by_what_the_same_speaker_said_before_and_nobody_else(
    checkpoint: Path, folder: Path
) -> None:
    stser = Stser.load(checkpoint)
    utterances = read_manifest(folder, complete=False)
    judged = evaluate(utterances, stser)
    # The third utterance of the second speaker, as a live stream of that speaker alone hears it.
    own = [each for each in judged if each.utterance.speaker == "s1"][:3]
    heard = HeardSpeech()
    for each in own:
        assert each.utterance.audio is not None
        samples, _ = soundfile.read(each.utterance.audio, dtype="float32")
        frames = log_mel(trim(samples, 16_000), stser.log_mel_settings)
        words = spoken_words(each.utterance.text) if each.utterance.text else None
        verdict = stser.classify(frames, words, heard)
        assert each.verdict.posterior == verdict.posterior
        heard = heard.after(frames).judged(verdict.voice)


def test_without_adaptation_only_the_first_utterance_of_a_speaker_keeps_its_posterior(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    adapted = run(checkpoint, folder, tmp_path / "a.csv")
    alone = run(checkpoint, folder, tmp_path / "b.csv", "--no-adaptation")
    spoken = [(a, b) for a, b in zip(adapted, alone, strict=True) if a["path"]]
    first = {"0-angry-0.wav", "1-angry-0.wav"}
    for a, b in spoken:
        assert (a["speech_angry"] == b["speech_angry"]) == (a["path"] in first), a["path"]


def test_a_row_with_neither_audio_nor_text_is_refused_by_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.csv").write_text("text,label4\nhello,sad\n,sad\n", "utf-8")
    command = ["evaluate", "--checkpoint", checkpoint, "--root", tmp_path, "--out", tmp_path / "o"]
    assert main(list(map(str, command))) == 2
    assert "manifest.csv:3: neither path nor text" in capsys.readouterr().err


def test_audio_that_is_not_all_numbers_is_refused_by_file(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.csv").write_text("path,label4\nodd.wav,sad\n", "utf-8")
    soundfile.write(tmp_path / "odd.wav", np.full(8_000, np.nan), 16_000, subtype="FLOAT")
    command = ["evaluate", "--checkpoint", checkpoint, "--root", tmp_path, "--out", tmp_path / "o"]
    assert main(list(map(str, command))) == 2
    assert "odd.wav: sample 0 is no finite number" in capsys.readouterr().err


def test_predictions_go_to_the_working_folder_where_no_other_is_named(
    checkpoint: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "--checkpoint", checkpoint, "--corpus", "csv", "--root", folder]
    assert main(list(map(str, command))) == 0
    expected = run(checkpoint, folder, tmp_path / "named.csv")
    with (tmp_path / "predictions.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == expected


def test_classifiers_that_no_row_allows_are_left_out(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("text,label4\ni miss you,sad\n", "utf-8")
    judged = evaluate(read_manifest(tmp_path, complete=False), Stser.load(checkpoint))
    assert [each.name for each in figures(judged)] == ["text", "ensemble"]
    assert judged[0].utterance.label is Emotion.SAD
