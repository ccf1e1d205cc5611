"""Temperatures: of a run's own validation, or of what the other runs say of strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stser_core.adaptation import AdaptationSettings
from stser_core.labels import EMOTIONS
from training.calibrate import temperature
from training.folds import Fold
from training.front_end import LogMels
from training.held_out import HEARD, RELIABLE_AFTER, Run, of_strangers, of_validation
from training.settings import OpenSettings
from training.speech_data import PLAIN, SpeechData
from training.utterance import Utterance

EACH = 40
"""Utterances of a corpus."""


@pytest.fixture
def speech() -> SpeechData:
    said = [
        Utterance(corpus=corpus, label=EMOTIONS[n % 4], speaker=f"{corpus}{n % 2}")
        for corpus in "abc"
        for n in range(EACH)
    ]
    mels = LogMels(np.zeros((len(said), 64), np.float16), np.arange(1, len(said) + 1))
    return SpeechData(said, {PLAIN: mels}, AdaptationSettings())


@pytest.fixture
def runs(speech: SpeechData, tmp_path: Path) -> list[Run]:
    """One a corpus, whose model is the surer of the two others the later it comes."""
    everything = range(len(speech.utterances))
    made = []
    for place, corpus in enumerate("abc"):
        test = tuple(i for i in everything if speech.utterances[i].corpus == corpus)
        others = tuple(i for i in everything if i not in test)
        made.append(Run(f"without-{corpus}", Fold(others, others, test), OpenSettings()))
        write(made[-1], speech, tmp_path, sharpness=2.0**place)
    return made


def write(run: Run, speech: SpeechData, out: Path, sharpness: float) -> None:
    """Logits that are right as often in all runs, and ``sharpness`` times as sure of the test."""

    def said(indices: tuple[int, ...], times: float) -> np.ndarray:  # type: ignore[type-arg]
        labels = speech.labels[list(indices)]
        logits = np.random.default_rng(0).normal(0, 1, (len(labels), 4))
        logits[np.arange(len(labels)), labels] += 1.5
        return (times * logits).astype(np.float32)

    test, validation = said(run.fold.test, sharpness), said(run.fold.validation, 1.0)
    np.savez(
        out / f"{run.name}.npz",
        test=np.stack([test] * len(HEARD)),
        moods=np.stack([test, test]),
        validation=validation,
    )
    np.savez(
        out / f"pairs-{run.name}.npz",
        **{
            "test": np.stack([test] * 3),
            "validation": np.stack([validation] * 3),
            "test labels": speech.labels[list(run.fold.test)],
            "validation labels": speech.labels[list(run.fold.validation)],
        },
    )


def test_what_a_model_says_of_its_test_has_no_part_in_its_own_temperature(
    runs: list[Run], speech: SpeechData, tmp_path: Path
) -> None:
    before = of_strangers(runs, speech, tmp_path)
    write(runs[0], speech, tmp_path, sharpness=8.0)
    after = of_strangers(runs, speech, tmp_path)
    for name in ("without-a", "pairs-without-a"):
        assert after[name] == before[name]
    for run in runs[1:]:
        assert after[run.name][0] > before[run.name][0]


def test_a_stranger_is_believed_as_far_as_the_other_models_were_right_about_theirs(
    runs: list[Run], speech: SpeechData, tmp_path: Path
) -> None:
    found = of_strangers(runs[:2], speech, tmp_path)
    with np.load(tmp_path / "without-b.npz") as kept:
        logits = kept["test"][HEARD.index(RELIABLE_AFTER)]
    assert found["without-a"] == [temperature(logits, speech.labels[list(runs[1].fold.test)])]
    heard, read, _ = found["pairs-without-a"]
    assert heard == found["without-a"][0]
    assert read == of_validation(runs, speech, tmp_path)["pairs-without-a"][1]
