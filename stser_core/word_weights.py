"""How much of the text classifier's verdict goes with each word: the sentence is read again without it.

Reading a sentence without each of its words costs as many times the sentence. So only the words that say most of
its class when they stand alone are left out; what a word alone says is remembered. Measured in
docs/results/faithfulness.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stser_core.explain import shares
from stser_core.labels import EMOTIONS
from stser_core.text import TokenisedText

WORDS_LEFT_OUT: Final = 3
"""Words of a sentence without which it is read again, at most; the others weigh nothing."""

WITHIN: Final = 1.0
"""Log-odds by which a word that is left out may say less than the one that says most."""

WORDS_REMEMBERED: Final = 4096
"""Distinct words of which the verdict alone is kept, the latest: about a megabyte."""

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ReadSentence:
    """A sentence and what the text classifier says of it."""

    words: Sequence[str]
    text: TokenisedText
    logits: Logits
    """``(classes,)``."""


class WordWeigher:
    """Weighs the words of sentences that were read.

    Args:
        tokenise: Words to tokens; None where not one of them can be read.
        read: Sentences to logits of the text classifier, ``(sentences, classes)``.
    """

    def __init__(
        self,
        tokenise: Callable[[Sequence[str]], TokenisedText | None],
        read: Callable[[Sequence[TokenisedText]], Logits],
    ) -> None:
        self._tokenise = tokenise
        self._read = read
        self._alone: dict[str, Logits] = {}

    def weigh(self, sentences: Sequence[ReadSentence]) -> list[tuple[float, ...]]:
        """A share for each word of each sentence, by :func:`word_shares`."""
        readable = [sorted(set(sentence.text.word_of_token) - {-1}) for sentence in sentences]
        self._remember(
            {
                sentence.words[word]
                for sentence, words in zip(sentences, readable, strict=True)
                for word in words
            }
        )
        left_out = [*map(self._telling, sentences, readable)]
        without = self._logits(
            [
                [*sentence.words[:word], *sentence.words[word + 1 :]]
                for sentence, chosen in zip(sentences, left_out, strict=True)
                for word in chosen
            ]
        )
        ends = np.cumsum([len(chosen) for chosen in left_out])
        return [
            word_shares(
                sentence.logits, without[end - len(chosen) : end], chosen, len(sentence.words)
            )
            for sentence, chosen, end in zip(sentences, left_out, ends, strict=True)
        ]

    def _telling(self, sentence: ReadSentence, readable: Sequence[int]) -> list[int]:
        """Which words say most of the sentence's class when they stand alone."""
        alone = np.array([self._alone[sentence.words[word]] for word in readable])
        odds = log_odds(alone, int(sentence.logits.argmax()))
        most = np.argsort(-odds, kind="stable")[:WORDS_LEFT_OUT]
        return [readable[at] for at in most if odds[at] >= odds[most[0]] - WITHIN]

    def _remember(self, words: set[str]) -> None:
        """What each says alone; where there are too many, the one not met for longest is forgotten."""
        for word in words & self._alone.keys():
            self._alone[word] = self._alone.pop(word)
        new = sorted(words - self._alone.keys())
        self._alone |= zip(new, self._logits([[word] for word in new]), strict=True)
        while len(self._alone) > max(WORDS_REMEMBERED, len(words)):
            del self._alone[next(iter(self._alone))]

    def _logits(self, sentences: Sequence[Sequence[str]]) -> Logits:
        """What the classifier says of each, ``(sentences, classes)``; of one that cannot be read, all classes alike."""
        texts = [self._tokenise(words) for words in sentences]
        logits = np.zeros((len(texts), len(EMOTIONS)), np.float32)
        readable = [text for text in texts if text is not None]
        if readable:
            logits[[text is not None for text in texts]] = self._read(readable)
        return logits


def word_shares(
    whole: Logits, without: Logits, left_out: Sequence[int], n_words: int
) -> tuple[float, ...]:
    """How much of the verdict of the text classifier goes with each word.

    Args:
        whole: Logits of the sentence, ``(classes,)``.
        without: Logits of the sentence without each of some words, ``(len(left_out), classes)``.
        left_out: Which words these are.
        n_words: Of the sentence.

    Returns:
        A share for each word, summing to 1: of the falls of the log-odds of the sentence's class. Where the class
        becomes likelier without a word, and for a word that was not left out, it is 0; where that holds for all,
        all share alike.
    """
    chosen = int(whole.argmax())
    falls = np.zeros(n_words)
    falls[list(left_out)] = np.maximum(log_odds(whole[None], chosen) - log_odds(without, chosen), 0)
    return shares(falls)


def log_odds(logits: Logits, chosen: int) -> NDArray[np.float64]:
    """Of one class against all others, ``(rows,)``."""
    wide = logits.astype(np.float64)
    others = np.delete(wide, chosen, axis=1)
    highest = others.max(axis=1)
    total = highest + np.log(np.exp(others - highest[:, None]).sum(axis=1))
    odds: NDArray[np.float64] = wide[:, chosen] - total
    return odds
