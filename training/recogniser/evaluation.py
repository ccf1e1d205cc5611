"""What Vosk itself makes of a model: word errors, confidence, speed, and what the words are worth."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.recogniser.features import SAMPLE_RATE_HZ
from training.recogniser.sentences import Sentence
from training.transcripts import VoskModel

BEFORE_S, AFTER_S = 0.4, 0.6
"""Quiet room around each utterance, as a segment of the monitor has."""
LEVEL_DBFS, ROOM_DBFS = -24.0, -70.0
CONFIDENCE_BINS: Final = 10

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spoken:
    """An utterance and the words in it."""

    words: Sentence
    samples: Samples
    """float32 ``(samples,)`` at 16 kHz."""
    groups: tuple[str, ...] = ()
    """What it is counted under besides the whole, such as a speaker or an emotion."""


@dataclass(slots=True)
class Score:
    """Word errors and confidences of a set."""

    errors: int = 0
    words: int = 0
    unknown: int = 0
    """Words of the reference that the model does not have."""
    utterances: int = 0
    exact: int = 0
    audio_s: float = 0.0
    work_s: float = 0.0
    confidences: list[tuple[float, bool]] = field(default_factory=list)
    """Of each word that was heard, and whether it was said."""

    @property
    def word_error_rate(self) -> float:
        return self.errors / max(1, self.words)

    @property
    def real_time_factor(self) -> float:
        """Processor time over duration."""
        return self.work_s / max(1e-9, self.audio_s)

    def calibration_error(self) -> float:
        """Mean distance of confidence and share of right words, over bins of confidence, by size."""
        if not self.confidences:
            return 0.0
        confidence, right = np.array(self.confidences, float).T
        bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
        gaps = [
            abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
            for b in np.unique(bins)
        ]
        return float(np.sum(gaps))


class Recogniser(VoskModel):
    """A model and what it costs to hold.

    Raises:
        TrainingError: Vosk cannot load the folder, or its words are not beside it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        table = folder / "graph" / "words.txt"
        try:
            lines = table.read_text("utf-8").splitlines()
        except OSError as error:
            raise TrainingError(
                f"{table}: cannot be read ({error.strerror}). Words that a model does not have are counted by it."
            ) from error
        self.words = frozenset(line.split()[0] for line in lines)

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def in_quiet_room(
    samples: Samples, rng: np.random.Generator, room_dbfs: float = ROOM_DBFS
) -> Samples:
    """The utterance at a usual level with a room, by default a quiet one, before, after and under it."""
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + 1e-9
    loud = samples * (10 ** (LEVEL_DBFS / 20) / level)
    around = (round(BEFORE_S * SAMPLE_RATE_HZ), round(AFTER_S * SAMPLE_RATE_HZ))
    framed = np.pad(loud, around)
    noise = rng.standard_normal(len(framed)) * 10 ** (room_dbfs / 20)
    return np.clip(framed + noise, -1, 1).astype(np.float32)


def score(recogniser: Recogniser, utterances: Iterable[Spoken], seed: int = 0) -> dict[str, Score]:
    """Recognise a set; the score of the whole is under ``""``, those of its groups by name."""
    scores: dict[str, Score] = {"": Score()}
    rng = np.random.default_rng(seed)
    for spoken in utterances:
        samples = in_quiet_room(spoken.samples, rng)
        begun = time.process_time()
        heard = recogniser.recognise(samples)
        work_s = time.process_time() - begun
        errors, right = alignment(spoken.words, [word.word for word in heard])
        for name in dict.fromkeys(("", *spoken.groups)):
            one = scores.setdefault(name, Score())
            one.errors += errors
            one.words += len(spoken.words)
            one.unknown += sum(word not in recogniser.words for word in spoken.words)
            one.utterances += 1
            one.exact += errors == 0
            one.audio_s += len(samples) / SAMPLE_RATE_HZ
            one.work_s += work_s
            one.confidences += [
                (word.confidence, ok) for word, ok in zip(heard, right, strict=True)
            ]
    return scores


def alignment(said: Sequence[str], heard: Sequence[str]) -> tuple[int, list[bool]]:
    """Fewest substitutions, insertions and deletions, and whether each word that was heard is right."""
    cost = np.zeros((len(said) + 1, len(heard) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(said) + 1), np.arange(len(heard) + 1)
    for i, word in enumerate(said, 1):
        for j, other in enumerate(heard, 1):
            cost[i, j] = min(
                cost[i - 1, j - 1] + (word != other), cost[i - 1, j] + 1, cost[i, j - 1] + 1
            )
    right = [False] * len(heard)
    i, j = len(said), len(heard)
    while i and j:
        same = said[i - 1] == heard[j - 1]
        if cost[i, j] == cost[i - 1, j - 1] + (not same):
            right[j - 1] = same
            i, j = i - 1, j - 1
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return int(cost[-1, -1]), right
