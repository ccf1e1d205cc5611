"""A Whisper of two layers hears the corpora of tones, and the speech branch learns from it."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers import WhisperFeatureExtractor, WhisperModel

from config.loader import load
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from tests.training.conftest import tiny_whisper, tone
from tests.training.test_loop import SIZES
from training.cli import main
from training.corpora import read_manifest
from training.crossval import crossval
from training.errors import TrainingError
from training.hear import WhisperEar
from training.hearing import read_hearing, write_hearing
from training.lesson import Lesson, SpeechTargets, prepare
from training.loop import train_speech
from training.settings import LessonSettings, OpenSettings, SpeechTrainingSettings
from training.speech_data import SpeechData
from training.utterance import Utterance
from training.voice_teacher import Taught, VoiceTeacher

LESSON = """
[lesson]
layers = [1, 2]
parts = 2
components = 4
half_precision = false
"""
SETTINGS = SpeechTrainingSettings(corpora=("c",), corpus_shares=(1.0,))


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper that hears one second, as transformers saves it."""
    return tiny_whisper(tmp_path_factory.mktemp("whisper"), layers=2, positions=50)


@pytest.fixture(scope="module")
def config(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hear") / "settings.toml"
    path.write_text(tiny.read_text("utf-8") + LESSON, "utf-8")
    return path


@pytest.fixture(scope="module")
def heard(whisper: Path, root: Path, config: Path) -> Path:
    """What ``stser-train hear`` writes."""
    out = config.with_name("hearing.safetensors")
    assert main(arguments(whisper, root, config, out)) == 0
    return out


def arguments(teacher: Path, root: Path, config: Path, out: Path) -> list[str]:
    flags = ["--teacher", teacher, "--root", root, "--config", config, "--out", out]
    return ["hear", *map(str, flags)]


def test_a_row_is_the_mean_and_the_deviation_of_the_chosen_layers(
    heard: Path, whisper: Path, root: Path
) -> None:
    said = [u for name in ("first", "second") for u in read_manifest(root / name)]
    values = read_hearing(heard, said, (1, 2))
    assert values.shape == (len(said), 2 * 2 * 16)
    states = WhisperEar(whisper).states(tone(0, 0, 0))
    expected = [states[n].mean(axis=0) for n in (1, 2)] + [states[n].std(axis=0) for n in (1, 2)]
    order = (0, 2, 1, 3)  # layer by layer
    np.testing.assert_allclose(
        values[0], np.concatenate([expected[n] for n in order]), atol=0.02, rtol=0.02
    )


@torch.inference_mode()
def test_speech_that_fills_the_window_gives_the_librarys_states_and_shorter_speech_fewer(
    whisper: Path,
) -> None:
    samples = np.concatenate([tone(0, 0, 0), tone(1, 3, 0)])
    encoder = WhisperModel.from_pretrained(whisper).get_encoder().eval()
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=1)
    mels = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    ear = WhisperEar(whisper)
    assert len(ear.states(samples[:3_300])[0]) == 11
    states = ear.states(samples)
    for ours, theirs in zip(
        states, encoder(mels, output_hidden_states=True).hidden_states, strict=True
    ):
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-5)
    longer = ear.states(np.concatenate([samples, samples]))
    np.testing.assert_array_equal(longer[2], states[2])


def test_fit_and_crossval_learn_from_what_was_heard(
    heard: Path, config: Path, root: Path, albert: Path, tmp_path: Path
) -> None:
    flags = ["--config", config, "--root", root, "--cache", tmp_path / "cache", "--hearing", heard]
    fit = ["fit", *flags, "--albert", albert, "--out", tmp_path / "new"]
    assert main([str(flag) for flag in fit]) == 0
    runs = ["crossval", *flags, "--checkpoint", tmp_path / "new", "--out", tmp_path / "runs"]
    assert main([str(flag) for flag in runs]) == 0
    without = [*flags[:-2], "--checkpoint", tmp_path / "new", "--out", tmp_path / "without"]
    assert main(["crossval", *map(str, without)]) == 0
    taught, plain = (
        np.load(tmp_path / name / "speech-1.npz")["test"] for name in ("runs", "without")
    )
    assert not np.array_equal(taught, plain)


def test_what_was_heard_is_read_once_for_all_folds_and_not_at_all_where_they_are_done(
    heard: Path, config: Path, root: Path, albert: Path, tmp_path: Path
) -> None:
    flags = ["--config", config, "--root", root, "--cache", tmp_path, "--albert", albert]
    assert main(["fit", *map(str, flags), "--out", str(tmp_path / "new")]) == 0
    settings, out = load(config, OpenSettings), tmp_path / "runs"
    read: list[SpeechData] = []

    class Counted(VoiceTeacher):
        def taught(self, speech: SpeechData, settings: OpenSettings) -> Taught:
            read.append(speech)
            return super().taught(speech, settings)

    def figures() -> dict[str, Any]:
        return crossval(root, tmp_path, tmp_path / "new", out, settings, teacher)

    hearing = Path(shutil.copy(heard, tmp_path))
    teacher = Counted(hearing=hearing)
    found = figures()
    assert figures() == found
    assert len(read) == 1
    (out / "speech-1.npz").unlink()
    hearing.unlink()
    with pytest.raises(TrainingError, match="what a teacher heard cannot be read"):
        figures()
    shutil.copy(heard, hearing)
    assert figures() == found


def test_what_cannot_teach_is_refused_by_name(
    heard: Path,
    albert: Path,
    whisper: Path,
    root: Path,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments(albert, root, config, tmp_path / "out")) == 2
    assert "must be a Whisper" in capsys.readouterr().err
    assert main(arguments(tmp_path, root, config, tmp_path / "out")) == 2
    assert "no Whisper can be loaded" in capsys.readouterr().err
    damaged = shutil.copytree(whisper, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"half of a header")
    assert main(arguments(damaged, root, config, tmp_path / "out")) == 2
    assert f"{damaged}: no Whisper can be loaded" in capsys.readouterr().err
    deep = tmp_path / "deep.toml"
    deep.write_text(config.read_text("utf-8").replace("[1, 2]", "[3]"), "utf-8")
    assert main(arguments(whisper, root, deep, tmp_path / "out")) == 2
    assert "has 2 layers, lesson.layers asks for layer 3" in capsys.readouterr().err
    said = read_manifest(root / "first")
    with pytest.raises(TrainingError, match="made of other utterances"):
        read_hearing(heard, said, (1, 2))
    with pytest.raises(TrainingError, match="what a teacher heard cannot be read"):
        read_hearing(tmp_path / "nowhere", said, (1, 2))
    write_hearing(tmp_path / "own", said, (1, 2), np.ones((len(said), 2), np.float16))
    assert read_hearing(tmp_path / "own", said, (1, 2)).shape == (len(said), 2)


def test_what_was_heard_by_other_layers_is_refused_before_training(
    heard: Path,
    config: Path,
    root: Path,
    albert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        config.read_text("utf-8").replace("layers = [1, 2]", "layers = [0, 1]"), "utf-8"
    )
    flags = ["--config", other, "--root", root, "--cache", tmp_path, "--hearing", heard]
    fit = ["fit", *flags, "--albert", albert, "--out", tmp_path / "new"]
    assert main([str(flag) for flag in fit]) == 2
    assert "made of layers 1, 2, lesson.layers is 0, 1" in capsys.readouterr().err


def _said(speakers: int, takes: int) -> list[Utterance]:
    return [
        Utterance(corpus="c", label=emotion, speaker=f"s{speaker}")
        for speaker in range(speakers)
        for _ in range(takes)
        for emotion in EMOTIONS
    ]


def _values(said: list[Utterance], seed: int = 0) -> NDArray[np.float32]:
    """Each emotion in a direction of its own, each speaker far from the others."""
    rng = np.random.default_rng(seed)
    place = {f"s{n}": 20 * rng.normal(size=6) for n in range(9)}
    rows = [
        place[u.speaker] + 2 * np.eye(6)[EMOTIONS.index(u.label)] + 0.3 * rng.normal(size=6)
        for u in said
    ]
    return np.array(rows, np.float32)


def test_opinions_are_of_training_speakers_alone_and_are_right_about_voices_left_out() -> None:
    said = _said(speakers=5, takes=4)
    train = [i for i, u in enumerate(said) if u.speaker != "s4"]
    settings = LessonSettings(parts=2, regularisation=1.0, components=3)
    lesson = prepare(_values(said), said, train, SETTINGS, settings, np.random.default_rng(0))
    labels = np.array([EMOTIONS.index(u.label) for u in said])
    assert (lesson.opinions[train].argmax(axis=1) == labels[train]).all()
    np.testing.assert_allclose(np.exp(lesson.opinions[train]).sum(axis=1), 1, atol=1e-5)
    assert lesson.sounds[train].std() == pytest.approx(1, abs=1e-3)
    others = [i for i in range(len(said)) if i not in train]
    assert np.isnan(lesson.opinions[others]).all()
    assert np.isnan(lesson.sounds[others]).all()


def test_an_opinion_does_not_know_the_speakers_own_labels() -> None:
    said = _said(speakers=3, takes=4)
    values, settings = _values(said), LessonSettings(parts=3, components=3)
    first = prepare(values, said, range(48), SETTINGS, settings, np.random.default_rng(0))
    turned = {e: EMOTIONS[(n + 1) % 4] for n, e in enumerate(EMOTIONS)}
    relabelled = [
        Utterance(corpus="c", label=turned[u.label], speaker=u.speaker) if u.speaker == "s1" else u
        for u in said
    ]
    second = prepare(values, relabelled, range(48), SETTINGS, settings, np.random.default_rng(0))
    of = np.array([u.speaker == "s1" for u in said])
    np.testing.assert_allclose(first.opinions[of], second.opinions[of], atol=1e-5)
    assert not np.allclose(first.opinions[~of], second.opinions[~of], atol=1e-2)


def test_of_read_speech_the_opinion_is_that_of_what_sounds_alike_and_there_is_no_label() -> None:
    said = _said(speakers=3, takes=4)
    layers = LessonSettings(layers=(0,), parts=3, components=3, regularisation=1.0)
    rng = np.random.default_rng(0)
    means = np.eye(4, dtype=np.float32)[[EMOTIONS.index(u.label) for u in said]]
    heard = np.concatenate([means, 0.1 * rng.normal(size=means.shape)], axis=1).astype(np.float32)
    pieces = np.eye(4, dtype=np.float32) - 0.25
    lesson = prepare(heard, said, range(48), SETTINGS, layers, rng, pieces)
    assert lesson.opinions.shape == (52, 4)
    np.testing.assert_array_equal(lesson.opinions[48:].argmax(axis=1), range(4))
    assert np.isnan(lesson.sounds[48:]).all()
    labels = np.array([EMOTIONS.index(u.label) for u in said])
    targets = SpeechTargets(labels, SETTINGS, lesson, representation=4)
    at = torch.tensor([48, 49, 0])
    opinions = torch.from_numpy(lesson.opinions[at])
    agreed = targets.of_logits(opinions, at)
    torch.testing.assert_close(agreed[:2], torch.zeros(2), atol=1e-5, rtol=0)
    heat, others = SETTINGS.opinion_temperature, opinions.roll(1, 1)
    apart = F.kl_div(
        F.log_softmax(others / heat, dim=1),
        F.log_softmax(opinions / heat, dim=1),
        reduction="none",
        log_target=True,
    ).sum(dim=1)
    # All of the loss: there is no label that could have a share in it.
    torch.testing.assert_close(targets.of_logits(others, at)[:2], heat**2 * apart[:2])
    assert targets.of_representation(torch.zeros(3, 4), at).isfinite()
    assert targets.of_representation(torch.zeros(2, 4), at[:2]).item() == 0


def test_one_speaker_is_too_few_for_an_opinion() -> None:
    said = _said(speakers=1, takes=3)
    with pytest.raises(TrainingError, match="two training speakers"):
        prepare(
            _values(said), said, range(12), SETTINGS, LessonSettings(), np.random.default_rng(0)
        )


def test_the_loss_is_least_where_label_and_opinion_are_met_and_the_label_alone_without_a_teacher() -> (
    None
):
    logits, at = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    labels = np.arange(4)
    by_label = F.cross_entropy(logits, at, reduction="none")
    plain = SpeechTargets(labels, SETTINGS)
    torch.testing.assert_close(plain.of_logits(logits, at), by_label)
    assert plain.of_representation(logits, at).item() == 0
    assert not list(plain.parameters())
    lesson = Lesson(torch.log_softmax(logits, 1).numpy(), np.zeros((4, 2), np.float32))
    agreed = SpeechTargets(labels, SETTINGS, lesson, representation=4)
    torch.testing.assert_close(agreed.of_logits(logits, at), by_label / 2)
    doubted = agreed.of_logits(logits.roll(1, 0), at) - plain.of_logits(logits.roll(1, 0), at) / 2
    assert (doubted > 0.01).all()


def test_the_representation_learns_to_tell_the_teachers_sounds() -> None:
    settings = SpeechTrainingSettings(
        steps=60, validate_every=60, warm_up=2, learning_rate=5e-3, opinion_share=0.0
    )
    torch.manual_seed(0)
    model = StserModel(SIZES)
    sounds = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    opinions = np.full((4, 4), np.nan, np.float32)
    targets = SpeechTargets(np.zeros(4, np.int64), settings, Lesson(opinions, sounds), 32)
    mels, lengths, at = torch.randn(4, 40, 64), torch.full((4,), 40), torch.arange(4)

    def distance() -> float:
        with torch.no_grad():
            return targets.of_representation(model.smodel(mels, lengths).representation, at).item()

    assert targets.tell is not None
    before, told = distance(), targets.tell.weight.detach().clone()

    train_speech(
        model,
        itertools.repeat((mels, lengths, at, torch.zeros(len(at), 1, 1))),
        targets,
        lambda: 0.0,
        settings,
    )
    model.eval()
    assert distance() < before / 2
    assert not torch.equal(targets.tell.weight, told)
