"""Sentences of several corpora as token batches, as a recogniser would have written them."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stser_core.labels import EMOTIONS
from stser_core.text import TextTokenizer, TokenisedText, pad_tokens, spoken_words
from training.mishearing import Confusions, misheard
from training.settings import TextTrainingSettings
from training.utterance import Utterance

_POOL_BATCHES = 8
"""Batches that are drawn together and sorted by length, so that little is padded."""


def tensors(texts: Sequence[TokenisedText]) -> tuple[Tensor, Tensor]:
    """Token identifiers and mask, both int64 ``(batch, tokens)``."""
    ids, mask = pad_tokens(texts)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def written_as_heard(text: str) -> list[str]:
    """Words of a written sentence as a recogniser would write them; a masked name becomes one."""
    return spoken_words(text.replace("[NAME]", "sam"))


class TextData:
    """Labelled sentences without case and punctuation."""

    def __init__(self, utterances: Sequence[Utterance], tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        spoken = [(u, written_as_heard(u.text or "")) for u in utterances]
        self.utterances = [u for u, words in spoken if words]
        self.words = [words for _, words in spoken if words]
        self.labels: NDArray[np.int64] = np.array(
            [EMOTIONS.index(u.label) for u in self.utterances]
        )

    def __len__(self) -> int:
        return len(self.words)

    def with_words(self, words: Sequence[list[str]]) -> Self:
        """The same sentences with other words, as many."""
        other = copy.copy(self)
        other.words = list(words)
        return other

    def plain(
        self, indices: Sequence[int], tokenizer: TextTokenizer | None = None
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Batches for evaluation: positions in ``indices``, token identifiers, mask.

        Args:
            indices: Which sentences.
            tokenizer: Another one than that of the data.
        """
        encode = (tokenizer or self.tokenizer).encode
        order = sorted(range(len(indices)), key=lambda at: len(self.words[indices[at]]))
        for first in range(0, len(order), 64):
            at = order[first : first + 64]
            texts = [encode(self.words[indices[position]]) for position in at]
            yield at, *tensors(texts)


class TextBatches:
    """An endless stream of augmented training batches."""

    def __init__(
        self,
        data: TextData,
        indices: Sequence[int],
        settings: TextTrainingSettings,
        rng: np.random.Generator,
        confusions: Confusions | None = None,
        opinions: NDArray[np.float32] | None = None,
    ) -> None:
        """Args:

        data: Labelled sentences.
        indices: Those to draw from.
        settings: What is drawn, and how it is misheard.
        rng: Draws everything.
        confusions: What is heard for what.
        opinions: A teacher's posteriors of all sentences, ``(sentences, classes)``, NaN for those
            that it was not asked about.
        """
        self._confusions = confusions if confusions is not None else Confusions.none()
        self._targets = targets(data.labels, opinions, settings)
        self._data = data
        self._settings = settings
        self._rng = rng
        self._cells: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index in indices:
            corpus = data.utterances[index].corpus
            self._cells[corpus][int(data.labels[index])].append(index)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Token identifiers and mask, ``(batch, tokens)``, and targets ``(batch, classes)``."""
        size = self._settings.batch
        while True:
            pool = [self._draw() for _ in range(_POOL_BATCHES * size)]
            pool.sort(key=lambda drawn: len(drawn[0].ids))
            for batch in self._rng.permutation(_POOL_BATCHES):
                rows = pool[batch * size : (batch + 1) * size]
                target = torch.from_numpy(self._targets[[index for _, index in rows]])
                yield *tensors([text for text, _ in rows]), target

    def _draw(self) -> tuple[TokenisedText, int]:
        settings, rng = self._settings, self._rng
        present = [
            (name, share)
            for name, share in zip(settings.corpora, settings.corpus_shares, strict=True)
            if name in self._cells
        ]
        shares = np.array([share for _, share in present])
        cells = self._cells[present[rng.choice(len(shares), p=shares / shares.sum())][0]]
        label = list(cells)[rng.integers(len(cells))]  # some corpora lack a class
        index = cells[label][rng.integers(len(cells[label]))]
        words = misheard(self._data.words[index], settings.mishearing, self._confusions, rng)
        return self._data.tokenizer.encode(words), index


def targets(
    labels: NDArray[np.int64],
    opinions: NDArray[np.float32] | None,
    settings: TextTrainingSettings,
) -> NDArray[np.float32]:
    """What the text branch should say, ``(sentences, classes)``, rows that sum to 1.

    The label, a little of it spread over all classes, mixed with the teacher's opinion.
    """
    classes, spread = len(EMOTIONS), settings.label_smoothing
    said = (1 - spread) * np.eye(classes, dtype=np.float32)[labels] + np.float32(spread / classes)
    if opinions is None:
        return said
    asked = ~np.isnan(opinions).any(axis=1)
    said[asked] += settings.opinion_share * (opinions[asked] - said[asked])
    return said
