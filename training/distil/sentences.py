"""Every training sentence of the text corpora, with all that its corpus says of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stser_core.labels import EMOTIONS
from stser_core.text import TextTokenizer, TokenisedText
from training.corpora.csv_manifest import read_rows
from training.mishearing import Confusions, Mishearing, misheard
from training.open_corpora import TextSplit
from training.text_data import tensors, written_as_heard

NO_CLASS = -1
"""In place of a label: the sentence's emotion is none of the four classes."""

_SAME = {"no_emotion": "neutral", "happiness": "joy"}
"""Names of one corpus for what another one calls otherwise."""
_POOL_BATCHES = 8


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of any emotion."""

    corpus: str
    words: tuple[str, ...]
    label: int
    """Index of the class, or :data:`NO_CLASS`."""
    emotions: tuple[str, ...]
    """What its corpus calls it: one of dozens of names, sometimes several."""


def training_sentences(root: Path, corpora: Sequence[str], split: TextSplit) -> list[Sentence]:
    """All sentences of the training files but those that are validated on, and their dialogues.

    Raises:
        CorpusError: A corpus is missing or damaged.
    """
    kept_apart = {
        (u.corpus, u.dialogue or u.text)
        for u in (split.data.utterances[i] for i in split.validation)
    }
    sentences = []
    for corpus in corpora:
        for row in read_rows(root / corpus / "train.csv", ("text", "label4", "label_original")):
            words = tuple(written_as_heard(row["text"]))
            if not words or (corpus, row.get("dialogue_id") or row["text"]) in kept_apart:
                continue
            label = EMOTIONS.index(row["label4"]) if row["label4"] else NO_CLASS
            names = tuple(_SAME.get(name, name) for name in row["label_original"].split("|"))
            sentences.append(Sentence(corpus, words, label, names))
    return sentences


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Sentences, as a recogniser would have written them."""

    ids: Tensor
    """int64 ``(batch, tokens)``."""
    mask: Tensor
    """1 for a token, int64 ``(batch, tokens)``."""
    labels: Tensor
    """int64 ``(batch,)``; :data:`NO_CLASS` where there is none."""
    emotions: Tensor
    """Share of each name in :attr:`SentenceBatches.names`, float32 ``(batch, names)``."""


class SentenceBatches:
    """An endless stream: corpora by their shares, classes equally, then sentences of no class."""

    def __init__(
        self,
        sentences: Sequence[Sentence],
        tokenizer: TextTokenizer,
        shares: dict[str, float],
        batch: int,
        no_class: float,
        mishearing: Mishearing,
        confusions: Confusions,
        rng: np.random.Generator,
    ) -> None:
        """Args:

        sentences: To draw from.
        tokenizer: Word pieces.
        shares: Of each corpus, in any unit.
        batch: Sentences in a batch.
        no_class: Share, within a corpus, of sentences without a class.
        mishearing: What happens to the words.
        confusions: What is heard for what.
        rng: Draws everything.
        """
        self.names = emotion_names(sentences)
        self._sentences, self._tokenizer = sentences, tokenizer
        self._batch, self._no_class, self._rng = batch, no_class, rng
        self._mishearing, self._confusions = mishearing, confusions
        self._cells: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, sentence in enumerate(sentences):
            self._cells[sentence.corpus][sentence.label].append(index)
        self._corpora = [name for name in shares if name in self._cells]
        weights = np.array([shares[name] for name in self._corpora])
        self._shares = weights / weights.sum()

    def __iter__(self) -> Iterator[Batch]:
        size = self._batch
        while True:
            pool = [self._draw() for _ in range(_POOL_BATCHES * size)]
            pool.sort(key=lambda drawn: len(drawn[0].ids))  # so that little is padded
            for at in self._rng.permutation(_POOL_BATCHES):
                rows = pool[at * size : (at + 1) * size]
                ids, mask = tensors([text for text, _ in rows])
                yield Batch(
                    ids,
                    mask,
                    torch.tensor([sentence.label for _, sentence in rows]),
                    torch.from_numpy(self._shares_of_names([s for _, s in rows])),
                )

    def _draw(self) -> tuple[TokenisedText, Sentence]:
        rng = self._rng
        cells = self._cells[self._corpora[rng.choice(len(self._corpora), p=self._shares)]]
        classes = [label for label in cells if label != NO_CLASS]
        if not classes or (NO_CLASS in cells and rng.random() < self._no_class):
            cell = cells[NO_CLASS]
        else:
            cell = cells[classes[rng.integers(len(classes))]]
        sentence = self._sentences[cell[rng.integers(len(cell))]]
        return self._tokenizer.encode(
            misheard(sentence.words, self._mishearing, self._confusions, rng)
        ), sentence

    def _shares_of_names(self, sentences: Sequence[Sentence]) -> NDArray[np.float32]:
        shares = np.zeros((len(sentences), len(self.names)), np.float32)
        for row, sentence in enumerate(sentences):
            for name in sentence.emotions:
                shares[row, self.names[name]] += 1 / len(sentence.emotions)
        return shares


def emotion_names(sentences: Sequence[Sentence]) -> dict[str, int]:
    """Every name of an emotion and its place."""
    return {name: at for at, name in enumerate(sorted({n for s in sentences for n in s.emotions}))}
