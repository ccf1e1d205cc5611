"""A third modality, from word times to the ensemble: speaking rate and pauses.

This is also the example of how to add one. ``SpeakingRate`` represents an utterance by four numbers
and classifies them by a softmax over a linear map, fitted here on drawn word times.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from stser_core.checkpoint import Manifest
from stser_core.ensemble import CLASSIFIERS, Stser
from stser_core.labels import EMOTIONS
from stser_core.modalities import (
    Evidence,
    ModalityRegistry,
    Representation,
    WordTime,
)
from stser_core.posterior import EmotionPosterior, mean_posterior

PAUSE_S = 0.15
"""A gap between two words that is longer counts as a pause."""


class SpeakingRate:
    """How fast somebody speaks, and how they pause."""

    name = "rate"

    def __init__(self, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        self._weights = weights  # (classes, 4)
        self._bias = bias  # (classes,)

    def represent(self, evidence: Evidence) -> Representation | None:
        """Words a second, pauses a second, their mean length in seconds, share of time in them.

        None below three timed words: two have one gap, which is no rate.
        """
        times = evidence.word_times
        if len(times) < 3:
            return None
        duration = times[-1].end_s - times[0].start_s
        gaps = [later.start_s - earlier.end_s for earlier, later in pairwise(times)]
        pauses = [gap for gap in gaps if gap > PAUSE_S]
        mean = float(np.mean(pauses)) if pauses else 0.0
        numbers = [len(times), len(pauses), mean * duration, sum(pauses)]
        return np.array(numbers, np.float32) / np.float32(duration)

    def classify(self, representation: Representation) -> EmotionPosterior:
        return EmotionPosterior.from_logits(self._weights @ representation + self._bias)


def spoken(rng: np.random.Generator, word_s: float, pause_s: float, n: int = 8) -> list[WordTime]:
    """Words of about a length, with a pause after every second one."""
    times, now = [], 0.0
    for index in range(n):
        end = now + word_s * rng.uniform(0.9, 1.1)
        times.append(WordTime(now, end))
        now = end + (pause_s * rng.uniform(0.8, 1.2) if index % 2 else 0.02)
    return times


MANNERS = {"angry": (0.18, 0.0), "happy": (0.25, 0.2), "neutral": (0.35, 0.3), "sad": (0.5, 0.9)}


@pytest.fixture(scope="module")
def rate() -> SpeakingRate:
    """Fitted on drawn utterances: anger hurries, sadness drags and pauses."""
    rng = np.random.default_rng(0)
    blank = SpeakingRate(np.zeros((4, 4)), np.zeros(4))
    rows, labels = [], []
    for label, emotion in enumerate(EMOTIONS):
        for _ in range(40):
            times = spoken(rng, *MANNERS[emotion])
            rows.append(blank.represent(Evidence(None, (), tuple(times))))
            labels.append(label)
    fitted = LogisticRegression(C=100, max_iter=2000).fit(np.array(rows), labels)
    return SpeakingRate(fitted.coef_, fitted.intercept_)


@pytest.fixture
def stser(manifest: Manifest, rate: SpeakingRate) -> Stser:
    modalities = ModalityRegistry()
    modalities.add(rate)
    return Stser.load(manifest.directory, modalities=modalities)


LOG_MEL = np.random.default_rng(5).normal(-8, 2, (80, 64)).astype(np.float32)
WORDS = ["leave", "me", "alone", "i", "am", "so", "sad", "me"]


def test_the_third_modality_joins_the_average_as_a_fourth_classifier(
    stser: Stser, manifest: Manifest
) -> None:
    times = spoken(np.random.default_rng(9), *MANNERS["sad"])
    without = Stser.load(manifest.directory).classify(LOG_MEL, WORDS)
    verdict = stser.classify(LOG_MEL, WORDS, word_times=times)
    assert tuple(verdict.classifiers) == (*CLASSIFIERS, "rate")
    assert verdict.modalities == ("speech", "text", "rate")
    own = verdict.classifiers["rate"]
    assert own is not None
    assert own.label == "sad"
    three = [without.classifiers[name] for name in CLASSIFIERS]
    assert verdict.posterior == mean_posterior([p for p in (*three, own) if p is not None])
    assert verdict.posterior.as_dict()["sad"] > without.posterior.as_dict()["sad"]


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_speaking_rate_and_pauses_tell_manners_apart_by_themselves(
    stser: Stser, emotion: str
) -> None:
    times = spoken(np.random.default_rng(77), *MANNERS[emotion])
    verdict = stser.classify(None, None, word_times=times)
    assert verdict.modalities == ("rate",)
    assert verdict.posterior.label == emotion


def test_without_word_times_the_verdict_is_that_of_speech_and_text(
    stser: Stser, manifest: Manifest
) -> None:
    plain = Stser.load(manifest.directory).classify(LOG_MEL, WORDS)
    verdict = stser.classify(LOG_MEL, WORDS)
    assert verdict.classifiers["rate"] is None
    assert verdict.posterior == plain.posterior
    assert verdict.modalities == plain.modalities == ("speech", "text")
    assert "rate" not in plain.classifiers


@pytest.mark.parametrize("name", ["speech", "bimodal", "", "rate"])
def test_a_name_that_is_taken_is_refused(rate: SpeakingRate, name: str) -> None:
    modalities = ModalityRegistry()
    modalities.add(rate)
    other = SpeakingRate(np.zeros((4, 4)), np.zeros(4))
    other.name = name
    with pytest.raises(ValueError, match="must be new; taken are speech, text, bimodal, rate"):
        modalities.add(other)


@pytest.mark.parametrize(("start", "end"), [(-0.1, 0.2), (0.5, 0.4)])
def test_a_word_time_that_cannot_be_is_refused(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="must not start before"):
        WordTime(start, end)
