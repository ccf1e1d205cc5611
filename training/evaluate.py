"""``stser-train evaluate``: a checkpoint on a corpus, judged as the monitor judges.

Utterances pass through the engine of the monitor one by one, in manifest order. Each speaker is a
stream of its own: what a speaker said before is heard when the next utterance is normalised.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stser_core.adaptation import HeardSpeech
from stser_core.ensemble import CLASSIFIERS, Stser, Verdict
from stser_core.features import LogMel, LogMelSettings, log_mel
from stser_core.labels import EMOTIONS
from stser_core.posterior import EmotionPosterior
from stser_core.text import spoken_words
from training.errors import CorpusError
from training.front_end import load_audio, trim
from training.metrics import (
    calibration_error,
    confusion,
    unweighted_accuracy,
    weighted_accuracy,
)
from training.utterance import Utterance

ENSEMBLE: Final = "ensemble"
"""Name of the average of the classifiers that spoke, beside those of the classifiers."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One utterance and what STSER said of it."""

    utterance: Utterance
    verdict: Verdict

    def posterior(self, name: str) -> EmotionPosterior | None:
        """Of a classifier or the ensemble; None where it could not speak."""
        if name == ENSEMBLE:
            return self.verdict.posterior if self.verdict.modalities else None
        return self.verdict.classifiers[name]


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """How one classifier did on the utterances that it could judge."""

    name: str
    counts: NDArray[np.int64]
    """By true class (rows) and predicted class (columns), ``(classes, classes)``."""
    calibration_error: float
    """Expected calibration error in 15 bins, 0 to 1."""

    @property
    def utterances(self) -> int:
        return int(self.counts.sum())

    @property
    def weighted(self) -> float:
        """WA, 0 to 1."""
        return weighted_accuracy(self.counts)

    @property
    def unweighted(self) -> float:
        """UA over the classes that occur, 0 to 1."""
        return unweighted_accuracy(self.counts)


def evaluate(
    utterances: Sequence[Utterance], stser: Stser, *, adaptation: bool = True
) -> list[Judged]:
    """Judge utterances in their order.

    Args:
        utterances: With audio, text or both.
        stser: A loaded checkpoint.
        adaptation: Adapt to what the speaker was heard to say before; otherwise each
            utterance is the first of its stream.

    Raises:
        CorpusError: An audio file cannot be decoded or is shorter than one frame.
    """
    heard: dict[str, HeardSpeech] = {}
    judged = []
    for utterance in tqdm(utterances, desc="utterances", mininterval=5):
        frames = None
        if utterance.audio is not None:
            frames = _frames(utterance.audio, stser.log_mel_settings)
        words = spoken_words(utterance.text) if utterance.text is not None else None
        before = heard.get(utterance.speaker, HeardSpeech())
        verdict = stser.classify(frames, words, before)
        judged.append(Judged(utterance, verdict))
        if adaptation and frames is not None and utterance.speaker:
            heard[utterance.speaker] = before.after(frames).judged(verdict.voice)
    return judged


def _frames(audio: Path, settings: LogMelSettings) -> LogMel:
    frames = log_mel(
        trim(load_audio(audio, settings.sample_rate_hz), settings.sample_rate_hz), settings
    )
    if len(frames) == 0:
        raise CorpusError(f"{audio}: shorter than one frame of {settings.win_length} samples.")
    return frames


def figures(judged: Sequence[Judged]) -> list[Figures]:
    """One for each classifier that could judge an utterance, and the ensemble last."""
    found = []
    for name in (*CLASSIFIERS, ENSEMBLE):
        rows = [
            (EMOTIONS.index(each.utterance.label), posterior.probabilities)
            for each in judged
            if (posterior := each.posterior(name)) is not None
        ]
        if rows:
            truth = np.array([label for label, _ in rows], np.int64)
            posteriors = np.array([values for _, values in rows])
            counts = confusion(truth, posteriors.argmax(axis=1))
            found.append(Figures(name, counts, calibration_error(posteriors, truth)))
    return found


def report(found: Sequence[Figures]) -> str:
    """WA, UA, calibration error and confusion matrix of each classifier, as plain text."""
    lines = [f"{'classifier':<10} {'utterances':>10} {'WA':>7} {'UA':>7} {'ECE':>7}"]
    lines += [
        f"{each.name:<10} {each.utterances:>10} {each.weighted:>7.4f} {each.unweighted:>7.4f} "
        f"{each.calibration_error:>7.4f}"
        for each in found
    ]
    for each in found:
        lines += ["", f"{each.name}: said (down) and judged (across)"]
        lines.append(" " * 8 + "".join(f"{emotion:>8}" for emotion in EMOTIONS))
        lines += [
            f"{emotion:<8}" + "".join(f"{count:>8}" for count in row)
            for emotion, row in zip(EMOTIONS, each.counts.tolist(), strict=True)
        ]
    return "\n".join(lines) + "\n"


def predictions(judged: Sequence[Judged], root: Path) -> str:
    """CSV, one row an utterance in the order judged.

    Columns: ``corpus``, ``speaker``, ``path`` (below ``root``, where it is), ``text``, ``label4``,
    ``predicted`` (of the ensemble), and the probability of each class by each classifier and the
    ensemble, empty where it could not speak.
    """
    names = [f"{name}_{emotion}" for name in (*CLASSIFIERS, ENSEMBLE) for emotion in EMOTIONS]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["corpus", "speaker", "path", "text", "label4", "predicted", *names])
    for each in judged:
        said = each.utterance
        ensemble = each.posterior(ENSEMBLE)
        path = "" if said.audio is None else _below(said.audio, root)
        row = [said.corpus, said.speaker, path, said.text or "", said.label.value]
        row.append("" if ensemble is None else ensemble.label.value)
        for name in (*CLASSIFIERS, ENSEMBLE):
            posterior = each.posterior(name)
            values = ("",) * len(EMOTIONS) if posterior is None else posterior.probabilities
            row += [value if isinstance(value, str) else f"{value:.6f}" for value in values]
        rows.writerow(row)
    return text.getvalue()


def _below(audio: Path, root: Path) -> str:
    """The sound of a video lies in the cache: then the whole path."""
    return (audio.relative_to(root) if audio.is_relative_to(root) else audio).as_posix()
