"""What the models of ``crossval`` and ``left-out`` said of their tests, as figures.

Posteriors are calibrated as those of the shipped model are: by a temperature that was found on the
validation speakers of the same fold. Nothing is found on a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stser_core.labels import EMOTIONS
from stser_core.posterior import EmotionPosterior, agreement
from training.folds import Fold
from training.metrics import confusion, unweighted_accuracy
from training.reliability import calibrated, coverage, diagram, least_bound, quality
from training.settings import OpenSettings
from training.speech_data import SpeechData

HEARD = (0, 1, 3, 10, 30)
"""Utterances of the test speaker heard before the one that is judged."""
NEUTRAL_HEARD = 10
"""Neutral utterances heard before, where they are of no other class."""
RELIABLE_AFTER = 3
"""Utterances heard before, where reliability is looked at: as validation has it."""
CLASSIFIERS = ("speech", "text", "bimodal")
"""Of pairs, in the order in which they are kept."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training of the speech branch."""

    name: str
    """Of its files."""
    fold: Fold
    settings: OpenSettings


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What the speech classifiers of some runs say of their test utterances."""

    posteriors: NDArray[np.float64]
    """Calibrated, ``(heard, utterances, classes)``; the last row is after neutral utterances alone."""
    truth: NDArray[np.int64]
    corpora: NDArray[np.str_]
    genders: NDArray[np.str_]
    runs: NDArray[np.int64]
    """Which run each is of."""


def told(runs: Sequence[Run], speech: SpeechData, out: Path) -> Told:
    """Read the scores of runs that are done."""
    posteriors: list[NDArray[np.float64]] = []
    indices: list[int] = []
    of_run: list[int] = []
    for number, run in enumerate(runs):
        with np.load((out / run.name).with_suffix(".npz"), allow_pickle=False) as kept:
            labels = speech.labels[list(run.fold.validation)]
            said = np.concatenate([kept["test"], kept["neutral"][None]])
            posteriors.append(calibrated(said, kept["validation"], labels))
        indices += run.fold.test
        of_run += [number] * len(run.fold.test)
    utterances = [speech.utterances[index] for index in indices]
    return Told(
        np.concatenate(posteriors, axis=1),
        speech.labels[indices],
        np.array([u.corpus for u in utterances]),
        np.array([u.gender for u in utterances]),
        np.array(of_run),
    )


def speech_figures(runs: Sequence[Run], speech: SpeechData, out: Path) -> dict[str, Any]:
    """WA, UA and calibration error by corpus, utterances heard and gender.

    Returns:
        By ``CORPUS, N heard`` and ``CORPUS, N neutral heard`` over all runs, with UA's deviation over the
        runs, and by ``CORPUS, N heard, GENDER``.
    """
    all_told = told(runs, speech, out)
    figures: dict[str, Any] = {}
    for corpus in np.unique(all_told.corpora):
        for place, heard in enumerate([*map(str, HEARD), f"{NEUTRAL_HEARD} neutral"]):
            rows = all_told.corpora == corpus
            name = f"{corpus}, {heard} heard"
            figures[name] = _quality(all_told, place, rows) | {
                "UA sd": round(float(np.std(_by_run(all_told, place, rows))), 4)
            }
            for gender in np.unique(all_told.genders[rows]):
                some = rows & (all_told.genders == gender)
                figures[f"{name}, {gender}"] = _quality(all_told, place, some)
    return figures


def _quality(all_told: Told, place: int, rows: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "utterances": int(rows.sum()),
        **quality(all_told.posteriors[place, rows], all_told.truth[rows]),
    }


def _by_run(all_told: Told, place: int, rows: NDArray[np.bool_]) -> list[float]:
    predicted = all_told.posteriors[place].argmax(axis=1)
    return [
        unweighted_accuracy(confusion(all_told.truth[some], predicted[some]))
        for run in np.unique(all_told.runs[rows])
        if (some := rows & (all_told.runs == run)).any()
    ]


def speech_reliability(runs: Sequence[Run], speech: SpeechData, out: Path) -> dict[str, Any]:
    """Calibration error, reliability diagram and coverage over all corpora, each utterance counting
    alike, and the bound on confidence that validation speakers ask for.
    """
    all_told = told(runs, speech, out)
    said = all_told.posteriors[HEARD.index(RELIABLE_AFTER)]
    confidence, correct = [], []
    for run in runs:
        with np.load((out / run.name).with_suffix(".npz"), allow_pickle=False) as kept:
            labels = speech.labels[list(run.fold.validation)]
            validated = calibrated(kept["validation"], kept["validation"], labels)
        confidence.append(validated.max(axis=1))
        correct.append(validated.argmax(axis=1) == labels)
    return {
        **quality(said, all_told.truth),
        "diagram": diagram(said, all_told.truth),
        "coverage": coverage(said, all_told.truth),
        "least confidence": least_bound(np.concatenate(confidence), np.concatenate(correct)),
    }


def pair_figures(runs: Sequence[Run], out: Path) -> dict[str, Any]:
    """Of each classifier and of their average on the pairs of all runs.

    Returns:
        By name WA, UA and calibration error; for ``STSER`` diagram and coverage, too, and the bounds
        on confidence and agreement that validation pairs ask for.
    """
    tested = [_pairs(run, out, "test") for run in runs]
    truth = np.concatenate([labels for _, labels in tested])
    said = np.concatenate([posteriors for posteriors, _ in tested], axis=1)
    figures: dict[str, Any] = {
        name: quality(said[place], truth) for place, name in enumerate(CLASSIFIERS)
    }
    average = said.mean(axis=0)
    figures["STSER"] = quality(average, truth) | {
        "diagram": diagram(average, truth),
        "coverage": coverage(average, truth),
    }
    validated = [_pairs(run, out, "validation") for run in runs]
    labels = np.concatenate([labels for _, labels in validated])
    posteriors = np.concatenate([posteriors for posteriors, _ in validated], axis=1)
    right = posteriors.mean(axis=0).argmax(axis=1) == labels
    agreed = np.array([_agreement(posteriors[:, row]) for row in range(posteriors.shape[1])])
    figures["bounds"] = {
        "least confidence": least_bound(posteriors.mean(axis=0).max(axis=1), right),
        "least agreement": least_bound(agreed, right),
    }
    return figures


def _pairs(run: Run, out: Path, side: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Calibrated posteriors ``(classifiers, pairs, classes)`` of a side, and labels."""
    with np.load(out / f"pairs-{run.name}.npz", allow_pickle=False) as kept:
        labels = kept["validation labels"]
        posteriors = [
            calibrated(logits, validation, labels)
            for logits, validation in zip(kept[side], kept["validation"], strict=True)
        ]
        return np.stack(posteriors), kept[f"{side} labels"]


def _agreement(posteriors: NDArray[np.float64]) -> float:
    angry, happy, neutral, sad = range(len(EMOTIONS))
    return agreement(
        [
            EmotionPosterior((row[angry], row[happy], row[neutral], row[sad]))
            for row in posteriors.tolist()
        ]
    )
