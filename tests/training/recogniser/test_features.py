"""Features against Kaldi's own, styles that keep what they promise, and the cache."""

from __future__ import annotations

from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest

from tests.support.speech import spoken
from training.errors import TrainingError
from training.recogniser.features import (
    FLOOR,
    MFCC_CONF,
    N_MELS,
    Features,
    Spoken,
    log_mel,
    mfcc_matrix,
    write_features,
)
from training.recogniser.styles import Style, styled_log_mel, warped


def test_log_mel_times_the_matrix_is_the_mfcc_that_vosk_computes() -> None:
    samples = (np.random.default_rng(0).standard_normal(16_000) * 0.1).astype(np.float32)
    options = kaldi_native_fbank.MfccOptions()
    for line in MFCC_CONF.split():
        name, _, value = line.removeprefix("--").partition("=")
        match name:
            case "use-energy":
                options.use_energy = value == "true"
            case "num-ceps":
                options.num_ceps = int(value)
            case "num-mel-bins":
                options.mel_opts.num_bins = int(value)
            case "low-freq":
                options.mel_opts.low_freq = float(value)
            case "high-freq":
                options.mel_opts.high_freq = float(value)
            case "dither":
                options.frame_opts.dither = float(value)
    options.frame_opts.snip_edges = True
    computer = kaldi_native_fbank.OnlineMfcc(options)
    computer.accept_waveform(16_000, np.rint(np.clip(samples, -1, 1) * 32767))
    computer.input_finished()
    theirs = np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])
    assert np.allclose(log_mel(samples) @ mfcc_matrix().T, theirs, atol=1e-3)


def test_digital_silence_is_the_floor() -> None:
    assert np.allclose(log_mel(np.zeros(1600, np.float32)), FLOOR, atol=1e-4)


def test_audio_shorter_than_a_window_has_no_frames() -> None:
    assert log_mel(np.zeros(399, np.float32)).shape == (0, N_MELS)


def test_warping_by_one_changes_nothing_and_a_faster_pace_is_shorter() -> None:
    frames = np.random.default_rng(0).standard_normal((100, N_MELS)).astype(np.float32)
    assert np.allclose(warped(frames, 1.0, 1.0), frames, atol=1e-4)
    assert warped(frames, 1.25, 1.0).shape == (80, N_MELS)


def test_a_smaller_speaker_has_higher_resonances() -> None:
    frames = np.zeros((10, N_MELS), np.float32)
    frames[:, 20] = 1.0
    assert np.argmax(warped(frames, 1.0, 1.2)[5]) > 20 > np.argmax(warped(frames, 1.0, 0.8)[5])


def test_a_raised_pitch_keeps_the_pace() -> None:
    samples = spoken("leave me alone")
    plain = styled_log_mel(samples, Style(), np.random.default_rng(0))
    raised = styled_log_mel(samples, Style(pitch=1.4), np.random.default_rng(0))
    assert len(raised) == pytest.approx(len(plain), abs=4)


def test_features_come_back_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = [
        Spoken(("so", "what"), rng.standard_normal((n, N_MELS)).astype(np.float32)) for n in (3, 5)
    ]
    assert (
        write_features(
            tmp_path / "a", [*written, Spoken(("no",), np.zeros((0, N_MELS), np.float32))]
        )
        == 2
    )
    features = Features([tmp_path / "a", tmp_path / "a"])
    assert (len(features), features.n_frames(3)) == (4, 5)
    assert features[2].words == ("so", "what")
    assert np.allclose(features[3].frames, written[1].frames, atol=1e-2)


def test_features_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing: no features"):
        Features([tmp_path / "nothing"])
