"""Speech of several corpora as normalised batches, with hearing simulated."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stser_core.adaptation import AdaptationSettings, Average, LogMelStatistics, normalise
from stser_core.features import LogMel
from stser_core.labels import EMOTIONS, Emotion
from training.augment import crop
from training.front_end import LogMels
from training.settings import SpeechTrainingSettings
from training.surroundings import Surroundings
from training.utterance import Utterance
from training.voices import weights

_POOL_BATCHES = 8
"""Batches that are drawn together and sorted by length, so that little is padded."""


def at_speed(speed: float) -> str:
    """Name of a version that is played at a speed."""
    return PLAIN if speed == 1 else f"speed {speed:g}"


def collate(log_mels: Sequence[LogMel]) -> tuple[Tensor, Tensor]:
    """Pad with zeros: float32 ``(batch, time, mels)`` and lengths ``(batch,)``."""
    lengths = [len(log_mel) for log_mel in log_mels]
    padded = np.zeros((len(log_mels), max(lengths), log_mels[0].shape[1]), np.float32)
    for row, log_mel in enumerate(log_mels):
        padded[row, : len(log_mel)] = log_mel
    return torch.from_numpy(padded), torch.tensor(lengths)


_NEUTRAL: Final = EMOTIONS.index(Emotion.NEUTRAL)
PLAIN: Final = "plain"
"""The version that is judged; all others are for training."""


class SpeechData:
    """The utterances of all speech corpora in all versions, and what else each speaker said."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        versions: Mapping[str, LogMels],
        adaptation: AdaptationSettings,
    ) -> None:
        """Count what each speaker said.

        Args:
            utterances: Of all corpora.
            versions: Their log-mel, by name: :data:`PLAIN`, and others through rooms and lines.
            adaptation: How fast what was heard replaces the prior.
        """
        self.utterances = utterances
        self.labels: NDArray[np.int64] = np.array([EMOTIONS.index(u.label) for u in utterances])
        self.versions = versions
        self.adaptation = adaptation
        self._sums = {name: _Sums.of(mels) for name, mels in versions.items()}
        said: dict[str, list[int]] = defaultdict(list)
        for index, utterance in enumerate(utterances):
            said[utterance.speaker].append(index)
        self._said = {speaker: np.array(indices) for speaker, indices in said.items()}

    @property
    def plain_mels(self) -> LogMels:
        """Log-mel as recorded."""
        return self.versions[PLAIN]

    def of_speaker(self, speaker: str) -> NDArray[np.int64]:
        """What a speaker said."""
        return self._said[speaker]

    def through(self, mels: LogMels) -> SpeechData:
        """The same utterances, each judged as this log-mel of it."""
        return SpeechData(self.utterances, {PLAIN: mels}, self.adaptation)

    def prior(self, indices: Sequence[int]) -> LogMelStatistics:
        """Statistics of the training speech, each corpus counting alike."""
        of_corpus: dict[str, list[int]] = defaultdict(list)
        for index in indices:
            of_corpus[self.utterances[index].corpus].append(index)
        merged = None
        for members in of_corpus.values():
            equal = self._sums[PLAIN].together(members).capped(100_000)
            merged = equal if merged is None else merged.merge(equal)
        assert merged is not None
        return merged

    def before(
        self, index: int, count: int, rng: np.random.Generator, *, mood: Emotion | None = None
    ) -> NDArray[np.int64]:
        """Up to ``count`` other utterances of the same speaker, drawn at random; of one mood alone, or of any."""
        said = self._said[self.utterances[index].speaker]
        others: NDArray[np.int64] = said[said != index]
        if mood is not None:
            others = others[self.labels[others] == EMOTIONS.index(mood)]
        return others[rng.permutation(len(others))[:count]]

    def heard(
        self,
        index: int,
        count: int,
        rng: np.random.Generator,
        version: str = PLAIN,
        *,
        mood: Emotion | None = None,
    ) -> Average | None:
        """Of the frames of these utterances in a version; None where there are none."""
        drawn = self.before(index, count, rng, mood=mood)
        return self._sums[version].average(drawn) if len(drawn) > 0 else None

    def heard_before(
        self, indices: Sequence[int], count: int, seed: int, *, mood: Emotion | None = None
    ) -> dict[int, NDArray[np.int64]]:
        """Which utterances :meth:`plain` takes as heard before each."""
        return {
            i: self.before(i, count, np.random.default_rng((seed, i)), mood=mood) for i in indices
        }

    def plain(
        self,
        indices: Sequence[int],
        prior: LogMelStatistics,
        *,
        heard: int,
        seed: int,
        mood: Emotion | None = None,
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Batches for evaluation: nothing augmented, ``heard`` utterances heard before.

        Yields:
            Positions in ``indices``, log-mel ``(batch, time, mels)``, lengths ``(batch,)``.
        """
        mels = self.plain_mels
        order = sorted(range(len(indices)), key=lambda at: mels.length(indices[at]))
        for first in range(0, len(order), 32):
            at = order[first : first + 32]
            rows = []
            for position in at:
                index = indices[position]
                # A generator for each utterance: the answer does not depend on the others.
                rng = np.random.default_rng((seed, index))
                before = self.heard(index, heard, rng, mood=mood)
                rows.append(normalise(mels[index], before, prior, self.adaptation))
            yield at, *collate(rows)


class SpeechBatches:
    """An endless stream of augmented training batches."""

    def __init__(
        self,
        data: SpeechData,
        indices: Sequence[int],
        prior: LogMelStatistics,
        noises: Sequence[LogMel],
        settings: SpeechTrainingSettings,
        rng: np.random.Generator,
        pieces: SpeechData | None = None,
    ) -> None:
        """Args:

        data: All utterances.
        indices: Which of them to train on.
        prior: For the normalisation.
        noises: That are added to some.
        settings: What is drawn, and how often.
        rng: Draws everything.
        pieces: Pieces of read speech, which come in groups of their own: ``settings.read_share``.
        """
        self._data = data
        self._pieces = pieces if settings.read_share > 0 else None
        self._prior = prior
        self._noises = noises
        self._settings = settings
        self._rng = rng
        self._channels = [name for name in settings.channels if name in data.versions]
        others = [*map(at_speed, settings.speeds), *settings.voices]
        self._speakers = [PLAIN, *(name for name in others if name in data.versions)]
        said: dict[str, dict[str, dict[int, list[int]]]] = {}
        for index in indices:
            utterance, label = data.utterances[index], int(data.labels[index])
            of_speaker = said.setdefault(utterance.corpus, {}).setdefault(utterance.speaker, {})
            of_speaker.setdefault(label, []).append(index)
        self._said = {corpus: [*speakers.values()] for corpus, speakers in said.items()}

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Log-mel ``(batch, time, mels)``, lengths and utterances ``(batch,)``, and what of each group's
        representations is taken off each as known of the voice, ``(groups, group, group)``.

        ``settings.group`` neighbours in a batch are of one voice in the same surroundings.
        """
        size = self._settings.batch // self._settings.group
        while True:
            pool = [self._group() for _ in range(_POOL_BATCHES * size)]
            pool.sort(key=lambda group: max(len(log_mel) for log_mel in group.log_mels))
            for batch in self._rng.permutation(_POOL_BATCHES):
                groups = pool[batch * size : (batch + 1) * size]
                yield (
                    *collate([log_mel for group in groups for log_mel in group.log_mels]),
                    torch.tensor([index for group in groups for index in group.indices]),
                    torch.from_numpy(np.stack([group.taken for group in groups])),
                )

    def _group(self) -> _Group:
        settings, rng = self._settings, self._rng
        if self._pieces is not None and rng.random() < settings.read_share:
            return self._read_group(self._pieces)
        shares = np.array(settings.corpus_shares)
        speakers = self._said[settings.corpora[rng.choice(len(shares), p=shares / shares.sum())]]
        of_label = [*speakers[rng.integers(len(speakers))].values()]
        others = rng.random() < settings.channel_share
        version = str(rng.choice(self._channels if others and self._channels else self._speakers))
        mood = Emotion.NEUTRAL if rng.random() < settings.neutral_heard else None
        drawn = [of_label[rng.integers(len(of_label))] for _ in range(settings.group)]
        indices = [said[rng.integers(len(said))] for said in drawn]
        return self._together(self._data, indices, version, mood)

    def _read_group(self, pieces: SpeechData) -> _Group:
        """Pieces that one voice reads; their places come after those of the utterances."""
        said = pieces.of_speaker(
            pieces.utterances[int(self._rng.integers(len(pieces.utterances)))].speaker
        )
        indices = self._rng.choice(said, self._settings.group).tolist()
        group = self._together(pieces, indices, PLAIN, None)
        after = len(self._data.utterances)
        return dataclasses.replace(group, indices=[after + index for index in indices])

    def _together(
        self, data: SpeechData, indices: Sequence[int], version: str, mood: Emotion | None
    ) -> _Group:
        """Utterances of one voice in the same surroundings."""
        settings, rng = self._settings, self._rng
        count = int(rng.choice(settings.heard_before))
        there = Surroundings.drawn(len(self._prior.mean), self._noises, settings, rng)
        log_mels = []
        for index in indices:
            log_mel = crop(data.versions[version][index], settings.crop_frames, rng)
            before = data.heard(index, count, rng, version, mood=mood)
            log_mel, before = there.heard(log_mel, before, rng)
            log_mels.append(normalise(log_mel, before, self._prior, data.adaptation))
        may_be_heard = (data.labels[list(indices)] == _NEUTRAL) | (mood is None)
        return _Group(log_mels, list(indices), weights(may_be_heard, count, data.adaptation, rng))


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Utterances of one voice."""

    log_mels: list[LogMel]
    indices: list[int]
    taken: NDArray[np.float32]
    """What of each representation is taken off each, ``(group, group)``."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Frames, sums and sums of squares of each utterance: those of many are added up at once."""

    counts: NDArray[np.float64]
    """``(utterances,)``."""
    sums: NDArray[np.float64]
    """``(utterances, mels)``."""
    squares: NDArray[np.float64]
    """``(utterances, mels)``."""

    @classmethod
    def of(cls, mels: LogMels) -> _Sums:
        blocks = [mels[index].astype(np.float64) for index in range(len(mels))]
        return cls(
            np.array([len(block) for block in blocks], np.float64),
            np.array([block.sum(axis=0) for block in blocks]),
            np.array([np.square(block).sum(axis=0) for block in blocks]),
        )

    def together(self, indices: Sequence[int] | NDArray[np.int64]) -> LogMelStatistics:
        """Statistics of these utterances joined."""
        joined = self.average(indices)
        squares = self.squares[indices].sum(axis=0) - joined.count * np.square(joined.mean)
        return LogMelStatistics(joined.count, joined.mean, np.maximum(squares, 0.0))

    def average(self, indices: Sequence[int] | NDArray[np.int64]) -> Average:
        """Of the frames of these utterances."""
        count = float(self.counts[indices].sum())
        return Average(count, self.sums[indices].sum(axis=0) / count)
