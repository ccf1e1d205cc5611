"""Utterances that have both voice and words, as batches of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stser_core.adaptation import LogMelStatistics, normalise
from stser_core.features import LogMel
from stser_core.text import TextTokenizer, spoken_words
from training.augment import crop
from training.settings import PaperSettings
from training.speech_data import SpeechData, collate
from training.text_data import tensors

_POOL_BATCHES: Final = 8
"""Batches that are drawn together and sorted by length, so that little is padded."""


@dataclass(frozen=True, slots=True)
class Excerpts:
    """How training shortens and varies what it hears."""

    frames: int
    """Longest excerpt, in frames of 10 ms."""
    seed: tuple[int, ...]
    """Another for each epoch; with an utterance's index it decides that utterance's excerpt, whatever
    else is in the batch."""


class PairedData:
    """Voice and words of the same utterances. An utterance without words is an empty sentence."""

    def __init__(
        self, speech: SpeechData, tokenizer: TextTokenizer, settings: PaperSettings
    ) -> None:
        self.speech = speech
        self.utterances = speech.utterances
        self.labels: NDArray[np.int64] = speech.labels
        self._settings = settings
        # A laugh alone is transcribed "[LAUGHTER]": no word is left, and all rows still count.
        self._tokens = [tokenizer.encode(spoken_words(u.text or "")) for u in self.utterances]

    def hear(
        self,
        indices: Sequence[int],
        prior: LogMelStatistics,
        excerpts: Excerpts | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Normalised log-mel, float32 ``(batch, time, mels)``, and lengths ``(batch,)``.

        Args:
            indices: Utterances.
            prior: Speech of the training sessions.
            excerpts: For training; None gives all of each utterance, the same each time.
        """
        return collate([self._normal(index, prior, excerpts) for index in indices])

    def _normal(self, index: int, prior: LogMelStatistics, excerpts: Excerpts | None) -> LogMel:
        settings = self._settings
        seed = (settings.seed,) if excerpts is None else excerpts.seed
        rng = np.random.default_rng((*seed, index))
        before = self.speech.heard(index, settings.heard, rng)
        frames = normalise(self.speech.plain_mels[index], before, prior, settings.adaptation)
        if excerpts is not None:
            frames = crop(frames, excerpts.frames, rng)
        lacking = settings.speech.pool_time - len(frames)
        return np.pad(frames, ((0, lacking), (0, 0)), mode="edge") if lacking > 0 else frames

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Token identifiers and mask, both int64 ``(batch, tokens)``."""
        return tensors([self._tokens[index] for index in indices])

    def epoch(self, indices: Sequence[int], rng: np.random.Generator) -> Iterator[list[int]]:
        """Each utterance once, in batches of about equal length and random order."""
        size = self._settings.batch
        order = rng.permutation(np.asarray(indices))
        for first in range(0, len(order), _POOL_BATCHES * size):
            pool = sorted(order[first : first + _POOL_BATCHES * size].tolist(), key=self._length)
            batches = [pool[at : at + size] for at in range(0, len(pool), size)]
            for batch in rng.permutation(len(batches)):
                yield batches[batch]

    def in_order_of_length(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """Positions in ``indices``, in batches of about equal length: for evaluation."""
        order = sorted(range(len(indices)), key=lambda at: self._length(indices[at]))
        for first in range(0, len(order), self._settings.batch):
            yield order[first : first + self._settings.batch]

    def _length(self, index: int) -> int:
        return self.speech.plain_mels.length(index)
