from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stser_core.errors import ShapeError
from stser_core.features import LogMelSettings, LogMelStream, log_mel

SETTINGS = LogMelSettings()


def by_librosa(samples: NDArray[np.float32], settings: LogMelSettings) -> NDArray[np.float64]:
    # librosa puts the window into the middle of its longer Fourier frame.
    pad = (settings.n_fft - settings.win_length) // 2
    mel = librosa.feature.melspectrogram(
        y=np.pad(samples, pad).astype(np.float64),
        sr=settings.sample_rate_hz,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        win_length=settings.win_length,
        window="hann",
        center=False,
        power=2.0,
        n_mels=settings.n_mels,
        fmin=settings.f_min_hz,
        fmax=settings.f_max_hz,
        htk=False,
        norm="slaney",
    )
    return np.log(np.maximum(mel, settings.floor)).T


@pytest.mark.timeout(600)  # librosa compiles itself at its first call
@pytest.mark.parametrize("settings", [SETTINGS, LogMelSettings(n_mels=40, f_min_hz=0, n_fft=1024)])
def test_log_mel_is_that_of_librosa(speech: NDArray[np.float32], settings: LogMelSettings) -> None:
    ours = log_mel(speech, settings)
    # librosa keeps its filters in float32: 1e-5 of the power, so about 1e-5 of its logarithm.
    np.testing.assert_allclose(ours, by_librosa(speech, settings), rtol=1e-5, atol=5e-5)


@given(
    cuts=st.lists(st.integers(0, 3_000), max_size=30),
    seed=st.integers(0, 100),
    quiet=st.booleans(),
)
def test_any_chunking_gives_the_very_bits_of_the_whole(
    cuts: list[int], seed: int, quiet: bool
) -> None:
    samples = np.random.default_rng(seed).normal(0, 1e-5 if quiet else 0.3, 3_000)
    samples = samples.astype(np.float32)
    stream = LogMelStream(SETTINGS)
    chunks = [stream.push(chunk) for chunk in np.split(samples, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(chunks), log_mel(samples, SETTINGS))


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)]
)
def test_a_frame_appears_with_the_last_sample_of_its_window(n_samples: int, n_frames: int) -> None:
    assert SETTINGS.n_frames(n_samples) == n_frames
    assert log_mel(np.zeros(n_samples, np.float32), SETTINGS).shape == (n_frames, 64)


def test_digital_silence_is_the_floor_and_nothing_is_below_it() -> None:
    silence = log_mel(np.zeros(1_600, np.float32), SETTINGS)
    np.testing.assert_array_equal(silence, np.float32(np.log(1e-10)))


def test_twice_the_amplitude_adds_the_logarithm_of_four() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4_000).astype(np.float32)
    louder = log_mel(2 * noise, SETTINGS) - log_mel(noise, SETTINGS)
    np.testing.assert_allclose(louder, np.log(4), atol=1e-5)


@pytest.mark.parametrize("hz", [200, 1_000, 4_000, 7_500])
def test_a_tone_is_loudest_in_the_bin_around_its_frequency(hz: float) -> None:
    samples = np.sin(2 * np.pi * hz * np.arange(8_000) / 16_000).astype(np.float32)
    centres = librosa.mel_frequencies(66, fmin=50, fmax=8_000)[1:-1]
    loudest = log_mel(samples, SETTINGS).mean(axis=0).argmax()
    assert loudest == np.abs(centres - hz).argmin()


def test_stereo_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(samples,\)"):
        log_mel(np.zeros((1_600, 2), np.float32), SETTINGS)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"hop_length": 0}, "hop_length"),
        ({"win_length": 600}, "n_fft"),
        ({"f_max_hz": 8_001.0}, "f_max_hz"),
        ({"f_min_hz": 8_000.0}, "f_min_hz"),
        ({"floor": 0.0}, "floor"),
    ],
)
def test_settings_that_make_no_spectrogram_are_refused_by_name(
    change: dict[str, float], name: str
) -> None:
    with pytest.raises(ValueError, match=rf"log_mel\.\S*.*{name}"):
        LogMelSettings(**change)  # type: ignore[arg-type]


def test_more_filters_than_fourier_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="without a Fourier bin"):
        log_mel(np.zeros(400, np.float32), LogMelSettings(n_mels=200))


def test_one_channel_of_interleaved_audio_is_read_in_place_correctly() -> None:
    stereo = np.random.default_rng(0).normal(0, 0.1, (2_000, 2)).astype(np.float32)
    left = stereo[:, 0]
    np.testing.assert_array_equal(log_mel(left, SETTINGS), log_mel(left.copy(), SETTINGS))
