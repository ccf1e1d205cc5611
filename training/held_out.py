"""What the models of ``crossval`` and ``left-out`` said of their tests, as figures.

Posteriors are calibrated by temperatures. Those of ``crossval`` are found on the validation speakers of the
same fold. Validation speakers say nothing of strangers, of whom every model is too sure; so those of ``left-out`` are
found on what the other runs say of the corpora that they never heard. Nothing is found on a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from stser_core.labels import EMOTIONS, Emotion
from stser_core.posterior import EmotionPosterior, agreement
from training.calibrate import common_temperature, temperature
from training.errors import TrainingError
from training.folds import Fold
from training.metrics import confusion, unweighted_accuracy
from training.reliability import calibrated, coverage, diagram, least_bound, quality
from training.settings import OpenSettings
from training.speech_data import SpeechData

HEARD = (0, 1, 3, 10, 30)
"""Utterances of the test speaker heard before the one that is judged."""
MOODS = (Emotion.NEUTRAL, Emotion.ANGRY)
"""Where the utterances heard before were of one class alone: that of most talk, and of some."""
MOOD_HEARD = 10
"""So many, or as many as the corpus has."""
RELIABLE_AFTER = 3
"""Utterances heard before, where reliability is looked at, and temperatures are found on strangers: as
validation has it."""
CLASSIFIERS = ("speech", "text", "bimodal")
"""Of pairs, in the order in which they are kept."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training of the speech branch."""

    name: str
    """Of its files."""
    fold: Fold
    settings: OpenSettings


Temperatures = Mapping[str, Sequence[float]]
"""Of each run, by the name of a run's file: for the speech classifier one, for pairs one of each of
:data:`CLASSIFIERS`."""


def of_validation(runs: Sequence[Run], speech: SpeechData, out: Path) -> Temperatures:
    """Found on each run's own validation speakers, and pairs of these."""
    found: dict[str, Sequence[float]] = {}
    for run in runs:
        labels = speech.labels[list(run.fold.validation)]
        found[run.name] = [temperature(_kept(out, run.name)["validation"], labels)]
        if (out / f"pairs-{run.name}.npz").is_file():
            kept = _kept(out, f"pairs-{run.name}")
            labels = kept["validation labels"]
            found[f"pairs-{run.name}"] = [temperature(said, labels) for said in kept["validation"]]
    return found


def of_strangers(runs: Sequence[Run], speech: SpeechData, out: Path) -> Temperatures:
    """Found for each run on the tests of all others; the text classifier's on its own validation, because what
    it reads comes from the same corpora in all runs.
    """
    own, found = of_validation(runs, speech, out), {}
    for run in runs:
        heard, fused = stranger_temperatures([r for r in runs if r is not run], speech, out)
        found[run.name] = [heard]
        if f"pairs-{run.name}" in own:
            found[f"pairs-{run.name}"] = [heard, own[f"pairs-{run.name}"][1], fused]
    return found


def stranger_temperatures(
    runs: Sequence[Run], speech: SpeechData, out: Path
) -> tuple[float, float]:
    """One for the speech and one for the bimodal classifier, found on the tests of these runs, each of
    which counts alike.
    """
    heard, fused = [], []
    for run in runs:
        said = _kept(out, run.name)["test"][HEARD.index(RELIABLE_AFTER)]
        heard.append((said, speech.labels[list(run.fold.test)]))
        pairs = _kept(out, f"pairs-{run.name}")
        fused.append((pairs["test"][CLASSIFIERS.index("bimodal")], pairs["test labels"]))
    return common_temperature(heard), common_temperature(fused)


def read_by(run: Run, out: Path) -> str | None:
    """Digest of the checkpoint whose text branch read the sentences of a run's pairs; None before that."""
    name = f"pairs-{run.name}"
    if not (out / f"{name}.npz").is_file():
        return None
    kept = _kept(out, name)
    return str(kept["checkpoint"]) if "checkpoint" in kept else None


def _kept(out: Path, name: str) -> Mapping[str, NDArray[Any]]:
    path = (out / name).with_suffix(".npz")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return dict(kept)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise TrainingError(
            f"{path}: cannot be read ({error}). Remove it, and run again."
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What the speech classifiers of some runs say of their test utterances."""

    posteriors: NDArray[np.float64]
    """Calibrated, ``(heard, utterances, classes)``; the last rows are those of :data:`MOODS`."""
    truth: NDArray[np.int64]
    corpora: NDArray[np.str_]
    genders: NDArray[np.str_]
    runs: NDArray[np.int64]
    """Which run each is of."""


def told(runs: Sequence[Run], scales: Temperatures, speech: SpeechData, out: Path) -> Told:
    """Read the scores of runs that are done."""
    posteriors: list[NDArray[np.float64]] = []
    indices: list[int] = []
    of_run: list[int] = []
    for number, run in enumerate(runs):
        kept = _kept(out, run.name)
        said = np.concatenate([kept["test"], kept["moods"]])
        posteriors.append(calibrated(said, *scales[run.name]))
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


def speech_figures(
    runs: Sequence[Run], scales: Temperatures, speech: SpeechData, out: Path
) -> dict[str, Any]:
    """WA, UA and calibration error by corpus, utterances heard and gender.

    Returns:
        By ``CORPUS, N heard`` and ``CORPUS, N MOOD heard`` over all runs, with UA's deviation over the
        runs, and by ``CORPUS, N heard, GENDER``.
    """
    all_told = told(runs, scales, speech, out)
    figures: dict[str, Any] = {}
    for corpus in np.unique(all_told.corpora):
        for place, heard in enumerate([*map(str, HEARD), *of_one_mood()]):
            rows = all_told.corpora == corpus
            name = f"{corpus}, {heard} heard"
            figures[name] = _quality(all_told, place, rows) | {
                "UA sd": round(float(np.std(_by_run(all_told, place, rows))), 4)
            }
            for gender in np.unique(all_told.genders[rows]):
                some = rows & (all_told.genders == gender)
                figures[f"{name}, {gender}"] = _quality(all_told, place, some)
    return figures


def of_one_mood() -> list[str]:
    """What was heard before, where it was of one mood alone, in words."""
    return [f"{MOOD_HEARD} {mood.value}" for mood in MOODS]


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


def speech_reliability(
    runs: Sequence[Run], scales: Temperatures, speech: SpeechData, out: Path
) -> dict[str, Any]:
    """Calibration error, reliability diagram and coverage over all corpora, each utterance counting
    alike, and the bound on confidence that validation speakers ask for.
    """
    all_told = told(runs, scales, speech, out)
    said = all_told.posteriors[HEARD.index(RELIABLE_AFTER)]
    confidence, correct = [], []
    for run in runs:
        labels = speech.labels[list(run.fold.validation)]
        validated = calibrated(_kept(out, run.name)["validation"], *scales[run.name])
        confidence.append(validated.max(axis=1))
        correct.append(validated.argmax(axis=1) == labels)
    return {
        **quality(said, all_told.truth),
        "diagram": diagram(said, all_told.truth),
        "coverage": coverage(said, all_told.truth),
        "least confidence": least_bound(np.concatenate(confidence), np.concatenate(correct)),
    }


def pair_figures(runs: Sequence[Run], scales: Temperatures, out: Path) -> dict[str, Any]:
    """Of each classifier and of their average on the pairs of all runs.

    Returns:
        By name WA, UA and calibration error; for ``STSER`` diagram and coverage, too, and the bounds
        on confidence and agreement that validation pairs ask for.
    """
    tested = [_pairs(run, scales, out, "test") for run in runs]
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
    validated = [_pairs(run, scales, out, "validation") for run in runs]
    labels = np.concatenate([labels for _, labels in validated])
    posteriors = np.concatenate([posteriors for posteriors, _ in validated], axis=1)
    right = posteriors.mean(axis=0).argmax(axis=1) == labels
    agreed = np.array([_agreement(posteriors[:, row]) for row in range(posteriors.shape[1])])
    figures["bounds"] = {
        "least confidence": least_bound(posteriors.mean(axis=0).max(axis=1), right),
        "least agreement": least_bound(agreed, right),
    }
    return figures


def _pairs(
    run: Run, scales: Temperatures, out: Path, side: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Calibrated posteriors ``(classifiers, pairs, classes)`` of a side, and labels."""
    name = f"pairs-{run.name}"
    kept = _kept(out, name)
    said, labels = kept[side], kept[f"{side} labels"]
    return np.stack([calibrated(a, b) for a, b in zip(said, scales[name], strict=True)]), labels


def _agreement(posteriors: NDArray[np.float64]) -> float:
    angry, happy, neutral, sad = range(len(EMOTIONS))
    return agreement(
        [
            EmotionPosterior((row[angry], row[happy], row[neutral], row[sad]))
            for row in posteriors.tolist()
        ]
    )
