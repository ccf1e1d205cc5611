"""What the speech branch learns of an utterance: its label and, where a teacher heard it, more.

Of the training speakers of a fold alone, a teacher's hearing (``hearing.py``) becomes opinions, the
posteriors of a logistic regression that was fitted without the speaker (Hinton et al., 2015), and
a sound, its principal components (Romero et al., 2015), which the representation has to tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stser_core.labels import EMOTIONS
from training.errors import TrainingError
from training.settings import LessonSettings, SpeechTrainingSettings
from training.utterance import Utterance

NO_LABEL: Final = -1
"""In place of a label: the emotion of read speech is not known."""
_ENOUGH = 10_000
"""Rows that principal components are found from."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a teacher says of the utterances that it was asked about; NaN for all others.

    Pieces of read speech come after the utterances: of them there are opinions alone.
    """

    opinions: NDArray[np.float32]
    """Logarithms of posteriors, ``(utterances + pieces, classes)``."""
    sounds: NDArray[np.float32]
    """``(utterances + pieces, components)``, their mean variance 1."""


def prepare(
    heard: NDArray[np.float32],
    utterances: Sequence[Utterance],
    train: Sequence[int],
    training: SpeechTrainingSettings,
    settings: LessonSettings,
    rng: np.random.Generator,
    pieces: NDArray[np.float32] | None = None,
) -> Lesson:
    """Prepare a lesson from what a teacher heard.

    Args:
        heard: ``(utterances, values)``, as :func:`training.hearing.read_hearing` gives it.
        utterances: All of them.
        train: Those of the training speakers; the teacher learns from and speaks of no other.
        training: Gives the corpora and what each counts.
        settings: How the teacher learns.
        rng: Parts the speakers.
        pieces: What it heard in pieces of read speech, relative to their voices: ``(pieces, width)``.

    Raises:
        TrainingError: There are too few speakers.
    """
    rows, speakers = np.array(train), np.array([utterances[i].speaker for i in train])
    values = heard[rows]
    for speaker in np.unique(speakers):
        values[speakers == speaker] -= values[speakers == speaker].mean(axis=0)
    labels = np.array([EMOTIONS.index(utterances[i].label) for i in train])
    corpora = np.array([utterances[i].corpus for i in train])
    weights = _weights(labels, corpora, training)
    of_pieces = np.empty((0, len(EMOTIONS)), np.float32)
    if pieces is not None:
        of_pieces = _of_pieces(pieces, _means(values, settings), labels, weights, settings)
    values /= values.std(axis=0) + 1e-4
    opinions = np.full((len(utterances), len(EMOTIONS)), np.nan, np.float32)
    opinions[rows] = _opinions(
        values, labels, weights, _parts(speakers, corpora, settings, rng), settings
    )
    told = components(values, settings.components)
    sounds = np.full((len(utterances) + len(of_pieces), told.shape[1]), np.nan, np.float32)
    sounds[rows] = told
    return Lesson(np.concatenate([opinions, of_pieces]), sounds)


def _means(values: NDArray[np.float32], settings: LessonSettings) -> NDArray[np.float32]:
    """Of what was heard the mean over time and layers, as of pieces of read speech: ``(rows, width)``."""
    by_layer = values.reshape(len(values), len(settings.layers), 2, -1)
    return np.asarray(by_layer[:, :, 0].mean(axis=1))


def _of_pieces(
    pieces: NDArray[np.float32],
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    settings: LessonSettings,
) -> NDArray[np.float32]:
    """Opinions of read speech by a regression that was fitted to all training speakers."""
    spread = values.std(axis=0) + 1e-4
    regression = _regression(values / spread, labels, weights, settings)
    return np.asarray(regression.predict_log_proba(pieces / spread), np.float32)


def _regression(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    settings: LessonSettings,
) -> Any:
    """A teacher's opinion of emotions, fitted."""
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=settings.regularisation, max_iter=500)
    return regression.fit(values, labels, weights)


def _weights(
    labels: NDArray[np.int64], corpora: NDArray[np.str_], training: SpeechTrainingSettings
) -> NDArray[np.float64]:
    """What each row counts, 1 on average: corpora by their shares, classes within them alike."""
    weights: NDArray[np.float64] = np.zeros(len(labels))
    for corpus, share in zip(training.corpora, training.corpus_shares, strict=True):
        for label in range(len(EMOTIONS)):
            cell = (corpora == corpus) & (labels == label)
            weights[cell] = share / max(1, cell.sum())
    weights /= weights.mean()
    return weights


def _parts(
    speakers: NDArray[np.str_],
    corpora: NDArray[np.str_],
    settings: LessonSettings,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The part of each row: the speakers are dealt out, corpus by corpus."""
    of_corpus: dict[str, list[str]] = defaultdict(list)
    for speaker, corpus in sorted(set(zip(speakers.tolist(), corpora.tolist(), strict=True))):
        of_corpus[corpus].append(speaker)
    order = [s for corpus in sorted(of_corpus) for s in rng.permutation(of_corpus[corpus]).tolist()]
    part = {speaker: at % settings.parts for at, speaker in enumerate(order)}
    if len(set(part.values())) < 2:
        raise TrainingError(
            "a teacher's opinion needs two training speakers, and lesson.parts of 2 or more."
        )
    return np.array([part[speaker] for speaker in speakers.tolist()])


def _opinions(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    parts: NDArray[np.int64],
    settings: LessonSettings,
) -> NDArray[np.float32]:
    """Of each part by a regression that was fitted to the others, ``(rows, classes)``."""
    opinions = np.zeros((len(labels), len(EMOTIONS)), np.float32)
    for part in np.unique(parts):
        others, those = parts != part, parts == part
        regression = _regression(values[others], labels[others], weights[others], settings)
        opinions[those] = regression.predict_log_proba(values[those])
    return opinions


def components(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Principal components ``(rows, components)`` of values whose mean is 0.

    The mean variance is 1; deviations are the square roots of what they were, so that small ones count.
    """
    some = values[:: -(-len(values) // _ENOUGH)]
    axes = np.linalg.svd(some, full_matrices=False)[2][:count]
    along = values @ axes.T
    along /= np.sqrt(along.std(axis=0)) + 1e-6
    scaled: NDArray[np.float32] = along / along.std()
    return scaled


class SpeechTargets(nn.Module):
    """The losses of the speech branch, and what only training needs to tell a teacher's sounds."""

    def __init__(
        self,
        labels: NDArray[np.int64],
        settings: SpeechTrainingSettings,
        lesson: Lesson | None = None,
        representation: int = 0,
    ) -> None:
        """Of all utterances.

        Args:
            labels: ``(utterances,)``.
            settings: How much each target counts.
            lesson: A teacher's.
            representation: Values of the speech representation, where there is a lesson.
        """
        super().__init__()
        self._settings = settings
        pieces = 0 if lesson is None else len(lesson.opinions) - len(labels)
        self.labels: Final = torch.from_numpy(np.concatenate([labels, np.full(pieces, NO_LABEL)]))
        self._opinions = self._sounds = None
        self.tell: nn.Linear | None = None
        if lesson is not None and settings.opinion_share > 0:
            self._opinions = torch.from_numpy(lesson.opinions)
        if lesson is not None and settings.sound_share > 0:
            self._sounds = torch.from_numpy(lesson.sounds)
            self.tell = nn.Linear(representation, lesson.sounds.shape[1])

    def of_logits(self, logits: Tensor, at: Tensor) -> Tensor:
        """Loss of each row, float32 ``(batch,)``; ``at`` says which utterances the rows are."""
        settings = self._settings
        labels = self.labels[at]
        by_label = F.cross_entropy(
            logits,
            labels,
            label_smoothing=settings.label_smoothing,
            reduction="none",
            ignore_index=NO_LABEL,
        )
        if self._opinions is None:
            return by_label
        # Posteriors that are not so sure say how near the other classes are.
        heat = settings.opinion_temperature
        share = torch.where(labels == NO_LABEL, 1.0, settings.opinion_share)
        opinions = F.log_softmax(self._opinions[at] / heat, dim=1)
        ours = F.log_softmax(logits / heat, dim=1)
        divergence = F.kl_div(ours, opinions, reduction="none", log_target=True).sum(dim=1)
        return (1 - share) * by_label + share * heat**2 * divergence

    def of_representation(self, representation: Tensor, at: Tensor) -> Tensor:
        """Loss of what representations ``(batch, values)`` tell of the teacher's sounds; a scalar."""
        if self._sounds is None or self.tell is None:
            return representation.new_zeros(())
        heard = self.labels[at] != NO_LABEL
        if not heard.any():
            return representation.new_zeros(())
        wrong = F.mse_loss(self.tell(representation[heard]), self._sounds[at[heard]])
        return self._settings.sound_share * wrong
