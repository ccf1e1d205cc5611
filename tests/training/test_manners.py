"""Speech in another manner keeps its words, and changes as it is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import pyworld
from numpy.typing import NDArray

from config.loader import load
from stser_core.features import LogMelSettings, log_mel
from tests.training.test_hear import config  # noqa: F401
from training.errors import TrainingError
from training.manners import RATE_HZ, VOICES, Manner, spoken
from training.open_corpora import read_speech
from training.settings import OpenSettings
from training.speech_data import PLAIN, SpeechData


@pytest.fixture(scope="module")
def vowel() -> NDArray[np.float32]:
    """Two seconds of a voice between 150 and 210 Hz with two resonances, louder in the middle."""
    times = np.arange(2 * RATE_HZ) / RATE_HZ
    pitch = 180 + 30 * np.sin(2 * np.pi * times)
    phase = np.cumsum(pitch) / RATE_HZ
    voice = np.zeros(len(times))
    for n in range(1, 30):
        strength = (
            1 / n * (1 + sum(6 * np.exp(-(((180 * n - f) / 150) ** 2)) for f in (700, 1_200)))
        )
        voice += strength * np.sin(2 * np.pi * n * phase)
    noise = np.random.default_rng(0).normal(size=len(times))
    loud = 0.03 + 0.1 * np.sin(np.pi * times / 2) ** 2
    return (loud * (0.2 * voice + 0.01 * noise)).astype(np.float32)


def pitch_of(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    pitch, times = pyworld.dio(samples.astype(np.float64), RATE_HZ)
    refined = pyworld.stonemask(samples.astype(np.float64), pitch, times, RATE_HZ)
    return np.asarray(refined[refined > 0])


def mels_of(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return log_mel(samples, LogMelSettings())


def test_without_a_manner_speech_sounds_as_it_was(vowel: NDArray[np.float32]) -> None:
    again = spoken(vowel, Manner())
    assert abs(len(again) - len(vowel)) < RATE_HZ / 50
    before, after = mels_of(vowel), mels_of(again)
    n = min(len(before), len(after))
    assert np.corrcoef(before[:n].ravel(), after[:n].ravel())[0, 1] > 0.95
    np.testing.assert_allclose(np.median(pitch_of(again)), np.median(pitch_of(vowel)), rtol=0.03)


def test_a_higher_voice_is_higher_and_a_flat_one_moves_less(vowel: NDArray[np.float32]) -> None:
    before = pitch_of(vowel)
    high = pitch_of(spoken(vowel, Manner(height=1.3)))
    flat = pitch_of(spoken(vowel, Manner(liveliness=0.3)))
    np.testing.assert_allclose(np.median(high), 1.3 * np.median(before), rtol=0.03)
    assert np.std(flat) < 0.5 * np.std(before)


def test_pitch_stays_within_what_people_can_do(vowel: NDArray[np.float32]) -> None:
    assert pitch_of(spoken(vowel, Manner(height=8.0))).max() < 700


def test_a_faster_voice_says_the_same_in_less_time(vowel: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(len(spoken(vowel, Manner(pace=1.25))), len(vowel) / 1.25, rtol=0.02)


def test_a_raised_voice_is_brighter_and_a_gain_is_one(vowel: NDArray[np.float32]) -> None:
    plain = mels_of(spoken(vowel, Manner())).mean(axis=0)
    bright = mels_of(spoken(vowel, Manner(tilt_db=4.0))).mean(axis=0)
    assert (bright - plain)[40:].mean() > (bright - plain)[:10].mean() + 1
    loud = spoken(vowel, Manner(gain_db=6.0))
    np.testing.assert_allclose(np.std(loud), 2 * np.std(vowel), rtol=0.02)


def test_emphasis_widens_the_differences_of_loudness(vowel: NDArray[np.float32]) -> None:
    def spread(emphasis: float) -> float:
        loudness = mels_of(spoken(vowel, Manner(emphasis=emphasis))).mean(axis=1)
        return float(np.percentile(loudness, 90) - np.percentile(loudness, 10))

    assert spread(1.5) > 1.2 * spread(1.0)


def test_a_breathy_voice_has_more_noise_and_a_driven_one_flatter_peaks(
    vowel: NDArray[np.float32],
) -> None:
    def noisiness(samples: NDArray[np.float32]) -> float:
        given = samples.astype(np.float64)
        pitch, times = pyworld.dio(given, RATE_HZ)
        return float(pyworld.d4c(given, pitch, times, RATE_HZ)[pitch > 0].mean())

    assert noisiness(spoken(vowel, Manner(breath=2.0))) > noisiness(spoken(vowel, Manner()))
    driven = spoken(vowel, Manner(drive=4.0))
    assert np.abs(driven).max() / np.std(driven) < np.abs(vowel).max() / np.std(vowel)


def test_silence_stays_silence() -> None:
    quiet = spoken(np.zeros(RATE_HZ, np.float32), Manner(height=1.2, tremor=0.02, drive=3.0))
    assert np.isfinite(quiet).all()
    assert np.abs(quiet).max() < 1e-3


def test_manners_are_drawn_alike_from_one_seed_and_differ_among_themselves() -> None:
    first, again = (
        [Manner.drawn(rng) for _ in range(200)]
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert first == again
    heights = np.log([manner.height for manner in first])
    tilts = [manner.tilt_db for manner in first]
    assert 0.1 < np.std(heights) < 0.4
    assert np.corrcoef(heights, tilts)[0, 1] > 0.2  # effort raises both


def test_other_voices_are_versions_of_all_utterances_and_an_unknown_one_is_refused(
    root: Path,
    config: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    settings = load(config, OpenSettings)

    def with_voices(*names: str) -> SpeechData:
        speech = dataclasses.replace(settings.speech, voices=names)
        return read_speech(root, dataclasses.replace(settings, speech=speech), tmp_path)

    data = with_voices("larger", "smaller")
    plain, larger, smaller = (data.versions[name] for name in (PLAIN, "larger", "smaller"))
    assert len(plain) == len(larger) == len(smaller)
    frames = [(plain[n], larger[n], smaller[n]) for n in range(len(plain))]
    assert all(abs(len(a) - len(b)) <= 2 for a, b, _ in frames)

    def middle(log_mel: NDArray[np.float32]) -> float:
        """Where the power of a tone lies, in mel bands."""
        power = np.exp(log_mel).mean(axis=0)
        return float((power * np.arange(len(power))).sum() / power.sum())

    heights = np.array([[middle(log_mel) for log_mel in each] for each in frames]).mean(axis=0)
    assert heights[1] < heights[0] < heights[2]
    with pytest.raises(TrainingError, match="no 'huge'"):
        with_voices("huge")


def test_other_voices_are_made_at_16_khz_alone() -> None:
    with pytest.raises(TrainingError, match="not at 8000"):
        VOICES["larger"].change(np.zeros(800, np.float32), 8_000, np.random.default_rng(0))
