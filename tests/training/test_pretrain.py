"""A smodel learns from read speech what a Whisper hears, and goes on from there."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from config.loader import load
from stser_core.fusion import StserModel
from stser_core.labels import Emotion
from tests.training.conftest import tone
from tests.training.test_hear import config, whisper  # noqa: F401
from training import pretrain
from training.cli import main
from training.errors import TrainingError
from training.front_end import LogMels
from training.hear import WhisperEar
from training.read_speech import ReadSpeech, hear_windows
from training.settings import OpenSettings
from training.speech_data import PLAIN, SpeechData
from training.utterance import Utterance

READ = """
[pretraining]
corpora = ["read"]
hours = 0.01
speeds = [1.0]
window_s = 0.5
held_out = 3
components = 4
excerpt_frames = [16, 40]
steps = 40
validate_every = 20
learning_rate = 0.01
"""


@pytest.fixture(scope="module")
def read_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three readers of four recordings, each a little longer than a window."""
    folder = tmp_path_factory.mktemp("corpora")
    _write(
        folder,
        [
            np.concatenate([tone(speaker, take, 0), tone(speaker, take, 1)[:2_000]])
            for take in range(4)
            for speaker in range(3)
        ],
        speakers=3,
    )
    return folder


def _write(root: Path, recordings: list[NDArray[np.float32]], speakers: int = 2) -> None:
    (root / "read").mkdir()
    with (root / "read" / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "corpus", "speaker", "text"])
        for at, samples in enumerate(recordings):
            soundfile.write(root / "read" / f"{at}.wav", samples, 16_000)
            rows.writerow([f"{at}.wav", "read", f"s{at % speakers}", "LEAVE ME ALONE"])


@pytest.fixture(scope="module")
def settings_file(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    path = tmp_path_factory.mktemp("pretrain") / "settings.toml"
    path.write_text(config.read_text("utf-8") + READ, "utf-8")
    return path


@pytest.fixture(scope="module")
def settings(settings_file: Path) -> OpenSettings:
    return load(settings_file, OpenSettings)


@pytest.fixture(scope="module")
def read(whisper: Path, read_root: Path, settings: OpenSettings) -> ReadSpeech:  # noqa: F811
    return hear_windows(WhisperEar(whisper), read_root, settings)


def arguments(teacher: Path, root: Path, config: Path, out: Path) -> list[str]:  # noqa: F811
    flags = ["--teacher", teacher, "--root", root, "--config", config, "--out", out]
    return ["pretrain", *map(str, flags)]


def test_windows_have_as_many_pooled_frames_of_log_mel_as_of_states_and_readers_take_turns(
    read: ReadSpeech,
) -> None:
    assert read.states.shape[1:] == (12, 16)  # 0.5 s are 12 whole frames of 40 ms
    assert {read.data.plain_mels.length(n) for n in range(len(read.states))} == {48}
    assert sorted(read.readers[:3]) == ["s0", "s1", "s2"]
    assert len(read.states) == 3 * 5  # what is left of one recording is joined to the next


def test_a_frame_of_log_mel_lies_amid_its_20_ms_as_a_state_does(
    whisper: Path,  # noqa: F811
    tmp_path: Path,
    settings: OpenSettings,
) -> None:
    loud = np.isin(np.arange(24), [0, 1, 10, 22, 23])  # by 20 ms; what lies between is not cut off
    noise = np.random.default_rng(0).uniform(-1, 1, 24 * 320)
    samples = (noise * np.where(np.repeat(loud, 320), 0.5, 0.001)).astype(np.float32)
    _write(tmp_path, [samples, samples])
    read = hear_windows(WhisperEar(whisper), tmp_path, settings)
    loudness = read.data.plain_mels[0].mean(axis=1)[8:40]
    assert sorted(8 + np.argsort(loudness)[-2:]) == [20, 21]
    states = WhisperEar(whisper).states(samples)
    expected = ((states[1] + states[2]) / 2).reshape(12, 2, 16).mean(axis=1)
    np.testing.assert_allclose(read.states[0], expected, atol=0.01)


def test_the_smodel_comes_to_tell_what_the_teacher_hears_of_a_reader_held_out(
    read: ReadSpeech, settings: OpenSettings
) -> None:
    torch.manual_seed(0)
    sizes = dataclasses.replace(
        settings.sizes, speech=dataclasses.replace(settings.sizes.speech, channels=8, hidden=32)
    )
    long = dataclasses.replace(settings.pretraining, steps=150, validate_every=50)
    settings = dataclasses.replace(settings, sizes=sizes, pretraining=long)
    assert pretrain.learn(StserModel(sizes).smodel, read, [], settings) > 0.2


def test_at_each_speed_a_reader_is_another_voice_and_is_held_out_at_all_of_them(
    whisper: Path,  # noqa: F811
    read_root: Path,
    settings: OpenSettings,
) -> None:
    fast = dataclasses.replace(settings.pretraining, speeds=(1.0, 2.0))
    both = dataclasses.replace(settings, pretraining=fast)
    read = hear_windows(WhisperEar(whisper), read_root, both)
    assert set(read.readers) == {"s0", "s1", "s2"}
    assert {"s0 at 1", "s0 at 2"} <= set(read.speakers)
    assert all(v.startswith(f"{r} at") for v, r in zip(read.speakers, read.readers, strict=True))


def test_a_further_pass_hears_the_same_readers_in_other_manners(
    whisper: Path,  # noqa: F811
    read_root: Path,
    settings: OpenSettings,
) -> None:
    further = dataclasses.replace(settings.pretraining, manners=1)
    both = dataclasses.replace(settings, pretraining=further)
    read = hear_windows(WhisperEar(whisper), read_root, both)
    plain = hear_windows(WhisperEar(whisper), read_root, settings)
    n = len(plain.states)
    assert n < len(read.states) < 3 * n
    np.testing.assert_array_equal(read.states[:n], plain.states)
    assert set(read.readers[n:]) == set(plain.readers)
    pieces = {plain.data.plain_mels[at].tobytes() for at in range(n)}
    changed = [
        read.data.plain_mels[at].tobytes() not in pieces for at in range(n, len(read.states))
    ]
    assert np.mean(changed) > 0.5


def test_read_speech_is_kept_and_cut_into_pieces_whose_voices_mean_is_taken_off(
    read: ReadSpeech, settings: OpenSettings, tmp_path: Path
) -> None:
    read.save(tmp_path / "deep" / "read.npz", settings)
    again = ReadSpeech.load(tmp_path / "deep" / "read.npz", settings)
    np.testing.assert_array_equal(again.states, read.states)
    np.testing.assert_array_equal(again.readers, read.readers)
    assert again.speakers.tolist() == read.speakers.tolist()
    halves = again.pieces(2)
    assert len(halves.heard) == len(halves.data.utterances) == 2 * len(read.states)
    window = read.data.plain_mels[3]
    np.testing.assert_array_equal(halves.data.plain_mels[6], window[:24])
    np.testing.assert_array_equal(halves.data.plain_mels[7], window[24:])
    voice = np.array([u.speaker for u in halves.data.utterances]) == read.speakers[3]
    np.testing.assert_allclose(halves.heard[voice].mean(axis=0), 0, atol=1e-3)
    apart = read.states[3, :6].mean(axis=0) - read.states[3, 6:].mean(axis=0)
    np.testing.assert_allclose(halves.heard[6] - halves.heard[7], apart, atol=2e-3)
    with pytest.raises(TrainingError, match="must divide"):
        again.pieces(5)
    other = dataclasses.replace(settings, seed=settings.seed + 1)
    with pytest.raises(TrainingError, match="made by other settings"):
        ReadSpeech.load(tmp_path / "deep" / "read.npz", other)
    with pytest.raises(TrainingError, match="no read speech can be read"):
        ReadSpeech.load(tmp_path / "nowhere", settings)


def test_with_groups_a_smodel_comes_to_tell_how_a_reader_speaks_relative_to_the_rest_of_it(
    settings: OpenSettings, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    readers = np.repeat(["s0", "s1", "s2", "s3"], 16)
    brightness = rng.normal(size=len(readers))
    tilt = np.linspace(-1, 1, 64)
    mels = rng.normal(size=(len(readers), 48, 64)) + 2 * brightness[:, None, None] * tilt
    states = rng.normal(size=(len(readers), 12, 8))
    states[:, :, 0] += brightness[:, None]
    kept = LogMels(mels.reshape(-1, 64).astype(np.float16), 48 * np.arange(1, len(readers) + 1))
    said = [Utterance(corpus="read", label=Emotion.NEUTRAL, speaker=str(r)) for r in readers]
    data = SpeechData(said, {PLAIN: kept}, settings.adaptation)
    read = ReadSpeech(data, states.astype(np.float16), readers)
    speech = dataclasses.replace(settings.speech, group=4, noise_share=0.0)
    long = dataclasses.replace(settings.pretraining, steps=200, validate_every=50)
    grouped = dataclasses.replace(settings, speech=speech, pretraining=long)
    torch.manual_seed(0)
    caplog.set_level("INFO")
    pretrain.learn(StserModel(grouped.sizes).smodel, read, [], grouped)
    excerpts = [float(r.getMessage().split()[-3]) for r in caplog.records if "tells" in r.msg]
    assert excerpts[-1] > 0.25


def test_fit_goes_on_from_the_pretrained_smodel_and_refuses_another(
    whisper: Path,  # noqa: F811
    read_root: Path,
    root: Path,
    albert: Path,
    settings_file: Path,
    settings: OpenSettings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, read = tmp_path / "smodel.safetensors", tmp_path / "read.npz"
    flags = ["--read", str(read)]
    assert main([*arguments(whisper, read_root, settings_file, out), *flags]) == 0
    first = out.read_bytes()
    for recording in (read_root / "read").glob("*.wav"):  # it is not heard again
        recording.rename(recording.with_suffix(".away"))
    assert main([*arguments(whisper, read_root, settings_file, out), *flags]) == 0
    assert out.read_bytes() == first
    read.write_bytes(read.read_bytes()[:1000])
    assert main([*arguments(whisper, read_root, settings_file, out), *flags]) == 2
    assert f"{read}: no read speech can be read" in capsys.readouterr().err
    for recording in (read_root / "read").glob("*.away"):
        recording.rename(recording.with_suffix(".wav"))
    smodel = StserModel(settings.sizes).smodel
    pretrain.load_pretrained(smodel, out)
    start = smodel.lstm.state_dict()
    frozen = tmp_path / "frozen.toml"
    frozen.write_text(
        settings_file.read_text("utf-8").replace("[speech]", "[speech]\nlearning_rate = 0.0"),
        "utf-8",
    )
    flags = ["--root", root, "--cache", tmp_path / "cache", "--smodel", out]
    runs = ["left-out", "--config", frozen, *flags, "--out", tmp_path / "runs"]
    assert main([str(flag) for flag in runs]) == 0
    kept = load_file(tmp_path / "runs" / "without-first.safetensors")
    for name, weight in start.items():
        torch.testing.assert_close(kept[f"0.lstm.{name}"], weight)
    wide = tmp_path / "wide.toml"
    wide.write_text(settings_file.read_text("utf-8").replace("hidden = 8", "hidden = 16", 1))
    fit = ["fit", "--config", wide, *flags, "--albert", albert, "--out", tmp_path / "new"]
    assert main([str(flag) for flag in fit]) == 2
    assert "a smodel of other sizes" in capsys.readouterr().err
    with pytest.raises(TrainingError, match="no smodel can be read"):
        pretrain.load_pretrained(smodel, tmp_path / "nowhere")


def test_the_branch_learns_from_readers_where_the_settings_say_so_and_not_without_hearing(
    whisper: Path,  # noqa: F811
    read_root: Path,
    root: Path,
    settings_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = tmp_path / "both.toml"
    both.write_text(
        settings_file.read_text("utf-8").replace("[speech]", "[speech]\nread_share = 0.5"), "utf-8"
    )
    smodel, read, hearing = (tmp_path / name for name in ("s.safetensors", "read.npz", "h"))
    taught = arguments(whisper, read_root, both, smodel)
    assert main([*taught, "--read", str(read)]) == 0
    assert main(["hear", *arguments(whisper, root, both, hearing)[1:]]) == 0
    shared = ["left-out", "--root", root, "--cache", tmp_path / "cache"]
    for name, flags in (
        ("with", ["--config", both, "--hearing", hearing, "--read", read]),
        ("without", ["--config", settings_file, "--hearing", hearing]),
    ):
        runs = [*shared, *flags, "--out", tmp_path / name]
        assert main([str(flag) for flag in runs]) == 0
    learnt, plain = (
        load_file(tmp_path / name / "without-first.safetensors") for name in ("with", "without")
    )
    assert any(not torch.equal(weight, plain[name]) for name, weight in learnt.items())
    for flags, complaint in (
        (["--config", both, "--read", read], "--read needs --hearing"),
        (["--config", both, "--hearing", hearing], "read_share is 0.5, but there is no --read"),
        (
            ["--config", settings_file, "--hearing", hearing, "--read", read],
            "nothing of it would be heard, for speech.read_share is 0",
        ),
    ):
        assert main([str(flag) for flag in [*shared, *flags, "--out", tmp_path / "alone"]]) == 2
        assert complaint in capsys.readouterr().err


def test_one_reader_is_too_few(whisper: Path, settings: OpenSettings, tmp_path: Path) -> None:  # noqa: F811
    _write(tmp_path, [tone(0, 0, 0)])
    with pytest.raises(TrainingError, match="two speakers"):
        hear_windows(WhisperEar(whisper), tmp_path, settings)
