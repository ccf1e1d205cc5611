"""Speech of several corpora as normalised batches, with hearing simulated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stser_core.adaptation import AdaptationSettings, LogMelStatistics, normalise
from stser_core.features import LogMel
from stser_core.labels import EMOTIONS
from training.augment import crop, mask, response, with_noise
from training.front_end import LogMels
from training.settings import SpeechTrainingSettings
from training.utterance import Utterance

_POOL_BATCHES = 8
"""Batches that are drawn together and sorted by length, so that little is padded."""


def collate(log_mels: Sequence[LogMel]) -> tuple[Tensor, Tensor]:
    """Pad with zeros: float32 ``(batch, time, mels)`` and lengths ``(batch,)``."""
    lengths = [len(log_mel) for log_mel in log_mels]
    padded = np.zeros((len(log_mels), max(lengths), log_mels[0].shape[1]), np.float32)
    for row, log_mel in enumerate(log_mels):
        padded[row, : len(log_mel)] = log_mel
    return torch.from_numpy(padded), torch.tensor(lengths)


class SpeechData:
    """The utterances of all speech corpora at all speeds, and what else each speaker said."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        by_speed: dict[float, LogMels],
        adaptation: AdaptationSettings,
    ) -> None:
        self.utterances = utterances
        self.labels: NDArray[np.int64] = np.array([EMOTIONS.index(u.label) for u in utterances])
        self.by_speed = by_speed
        self.adaptation = adaptation
        self._statistics = {
            speed: [LogMelStatistics.of(mels[i]) for i in range(len(mels))]
            for speed, mels in by_speed.items()
        }
        self._said: dict[str, list[int]] = defaultdict(list)
        for index, utterance in enumerate(utterances):
            self._said[utterance.speaker].append(index)

    def prior(self, indices: Sequence[int]) -> LogMelStatistics:
        """Statistics of the training speech, each corpus counting alike."""
        of_corpus: dict[str, LogMelStatistics] = {}
        for index in indices:
            corpus, new = self.utterances[index].corpus, self._statistics[1.0][index]
            of_corpus[corpus] = of_corpus[corpus].merge(new) if corpus in of_corpus else new
        merged = None
        for statistics in of_corpus.values():
            equal = statistics.capped(100_000)
            merged = equal if merged is None else merged.merge(equal)
        assert merged is not None
        return merged

    def heard(
        self, index: int, count: int, rng: np.random.Generator, speed: float = 1.0
    ) -> LogMelStatistics | None:
        """Statistics of up to ``count`` other utterances of the same speaker, drawn at random."""
        others = [other for other in self._said[self.utterances[index].speaker] if other != index]
        if count == 0 or not others:
            return None
        drawn = rng.choice(others, size=min(count, len(others)), replace=False)
        statistics = LogMelStatistics.empty(self._statistics[speed][index].n_mels)
        for other in drawn:
            statistics = statistics.merge(self._statistics[speed][other])
        return statistics

    def plain(
        self, indices: Sequence[int], prior: LogMelStatistics, *, heard: int, seed: int
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Batches for evaluation: nothing augmented, ``heard`` utterances heard before.

        Yields:
            Positions in ``indices``, log-mel ``(batch, time, mels)``, lengths ``(batch,)``.
        """
        mels = self.by_speed[1.0]
        order = sorted(range(len(indices)), key=lambda at: mels.length(indices[at]))
        for first in range(0, len(order), 32):
            at = order[first : first + 32]
            rows = []
            for position in at:
                index = indices[position]
                # A generator for each utterance: the answer does not depend on the others.
                before = self.heard(index, heard, np.random.default_rng((seed, index)))
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
    ) -> None:
        self._data = data
        self._prior = prior
        self._noises = noises
        self._settings = settings
        self._rng = rng
        self._cells: dict[tuple[str, int], list[int]] = defaultdict(list)
        for index in indices:
            self._cells[data.utterances[index].corpus, int(data.labels[index])].append(index)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Log-mel ``(batch, time, mels)``, lengths ``(batch,)``, labels ``(batch,)``."""
        size = self._settings.batch
        while True:
            pool = [self._draw() for _ in range(_POOL_BATCHES * size)]
            pool.sort(key=lambda drawn: len(drawn[0]))
            for batch in self._rng.permutation(_POOL_BATCHES):
                rows = pool[batch * size : (batch + 1) * size]
                yield *collate([row for row, _ in rows]), torch.tensor([label for _, label in rows])

    def _draw(self) -> tuple[LogMel, int]:
        settings, rng, data = self._settings, self._rng, self._data
        shares = np.array(settings.corpus_shares)
        corpus = settings.corpora[rng.choice(len(shares), p=shares / shares.sum())]
        cell = self._cells[corpus, int(rng.integers(len(EMOTIONS)))]
        index = cell[rng.integers(len(cell))]
        speed = float(rng.choice(settings.speeds))
        log_mel = data.by_speed[speed][index]
        if self._noises and rng.random() < settings.noise_share:
            noise = self._noises[int(rng.integers(len(self._noises)))]
            log_mel = with_noise(log_mel, noise, rng.uniform(5, 30), rng)
        before = data.heard(index, int(rng.choice(settings.heard_before)), rng, speed)
        # The same microphone heard what was said before.
        microphone = response(log_mel.shape[1], rng)
        before = None if before is None else before.shifted(microphone)
        normal = normalise(log_mel + microphone, before, self._prior, data.adaptation)
        return mask(crop(normal, settings.crop_frames, rng), rng), int(data.labels[index])
