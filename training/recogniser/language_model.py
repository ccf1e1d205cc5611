"""An n-gram model of what people say, small enough to ship.

Interpolated Kneser-Ney smoothing (Chen and Goodman, 1999) with one discount an order, on counts that are
weighted by corpus; then only those n-grams are kept whose loss would cost the most (after Stolcke, 1998).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Final

from training.recogniser.sentences import Sentence
from training.recogniser.settings import LanguageSettings

START, END, UNKNOWN = "<s>", "</s>", "[unk]"
DISCOUNT: Final = 0.75

Ngram = tuple[str, ...]
Counts = dict[Ngram, float]


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A back-off model. A word's probability is that of the longest n-gram kept, else back-off times shorter."""

    probability: dict[Ngram, float]
    """Natural logarithm, by n-gram; the last word follows the others."""
    backoff: dict[Ngram, float]
    """Natural logarithm, by history; 0 where it is not there."""
    order: int

    def log_probability(self, word: str, history: Ngram) -> float:
        """Natural logarithm of the probability that ``word`` follows; words outside are ``[unk]``."""
        known = word if (word,) in self.probability else UNKNOWN
        history = tuple(w if (w,) in self.probability or w == START else UNKNOWN for w in history)
        history = history[len(history) - (self.order - 1) :] if self.order > 1 else ()
        cost = 0.0
        while (*history, known) not in self.probability:
            cost += self.backoff.get(history, 0.0)
            history = history[1:]
        return cost + self.probability[*history, known]


def ngram_counts(
    corpora: Mapping[str, Iterable[Sentence]],
    weights: Mapping[str, float],
    words: Iterable[str],
    order: int,
    nothing: float = 0.0,
) -> list[Counts]:
    """Weighted counts of all n-grams from one word up to ``order``, other words as ``[unk]``.

    Args:
        corpora: Sentences, by corpus.
        weights: How much a sentence of each counts; 1 where it is not there.
        words: The vocabulary.
        order: Longest n-gram.
        nothing: Share of further utterances in which no word is said.
    """
    known = set(words)
    counts: list[Counts] = [defaultdict(float) for _ in range(order)]
    for name, corpus in corpora.items():
        weight = weights.get(name, 1.0)
        for sentence in corpus:
            said = (START, *(w if w in known else UNKNOWN for w in sentence), END)
            for n in range(1, order + 1):
                for at in range(len(said) - n + 1):
                    counts[n - 1][said[at : at + n]] += weight
    silent = nothing * counts[0][START,]
    if silent and order > 1:
        counts[0][END,] += silent
        counts[1][START, END] += silent
    del counts[0][START,]
    return counts


def language_model(counts: list[Counts], settings: LanguageSettings) -> LanguageModel:
    """Smooth the counts, drop what is rare, and keep the n-grams that matter most."""
    order = len(counts)
    smoothed = _kneser_ney(counts, settings.min_counts)
    kept = _kept(smoothed, counts, settings.max_ngrams)
    probability = {
        ngram: log(p) for ngram, p in smoothed.items() if len(ngram) == 1 or ngram in kept
    }
    return LanguageModel(probability, _backoffs(probability, order), order)


def _kneser_ney(counts: list[Counts], min_counts: Iterable[float]) -> dict[Ngram, float]:
    """Interpolated probability of each n-gram that is frequent enough."""
    order = len(counts)
    probability: dict[Ngram, float] = {}
    for n, least in zip(range(1, order + 1), min_counts, strict=True):
        used = counts[n - 1] if n == order else _continuations(counts[n], counts[n - 1])
        total: dict[Ngram, float] = defaultdict(float)
        discounted: dict[Ngram, float] = defaultdict(float)
        for ngram, count in used.items():
            keep = counts[n - 1][ngram] >= least
            total[ngram[:-1]] += count
            discounted[ngram[:-1]] += min(count, DISCOUNT) if keep else count
        n_words = len(counts[0])
        for ngram, count in used.items():
            history = ngram[:-1]
            if counts[n - 1][ngram] >= least:
                lower = probability[ngram[1:]] if n > 1 else 1 / n_words
                own = count - min(count, DISCOUNT)
                probability[ngram] = (own + discounted[history] * lower) / total[history]
    return probability


def _continuations(longer: Counts, own: Counts) -> Counts:
    """In how many contexts each n-gram occurs; its own count where it opens a sentence."""
    contexts: Counts = defaultdict(float)
    for ngram in longer:
        contexts[ngram[1:]] += 1
    return {ngram: own[ngram] if ngram[0] == START else contexts[ngram] for ngram in own}


def _kept(probability: Mapping[Ngram, float], counts: list[Counts], most: int) -> set[Ngram]:
    """The ``most`` n-grams of two words and more whose loss changes the model most, and their prefixes."""
    total = sum(counts[0].values())
    worth = {}
    for ngram, p in probability.items():
        if len(ngram) > 1:
            lower = probability[ngram[1:]]
            worth[ngram] = counts[len(ngram) - 1][ngram] / total * (log(p) - log(lower))
    kept: set[Ngram] = set()
    for ngram in sorted(worth, key=lambda ngram: (-worth[ngram], ngram)):
        if len(kept) >= most:
            break
        kept |= {ngram[:n] for n in range(2, len(ngram) + 1)}
    return kept


def _backoffs(probability: Mapping[Ngram, float], order: int) -> dict[Ngram, float]:
    """Back-off weights that make each history's probabilities sum to one."""
    backoff: dict[Ngram, float] = {}
    for n in range(2, order + 1):
        explicit: dict[Ngram, float] = defaultdict(float)
        shorter: dict[Ngram, float] = defaultdict(float)
        for ngram, p in probability.items():
            if len(ngram) == n:
                explicit[ngram[:-1]] += exp(p)
                shorter[ngram[:-1]] += exp(_log_probability(probability, backoff, ngram[1:]))
        for history, mass in explicit.items():
            backoff[history] = log(max(1 - mass, 1e-6)) - log(max(1 - shorter[history], 1e-6))
    return backoff


def _log_probability(
    probability: Mapping[Ngram, float], backoff: Mapping[Ngram, float], ngram: Ngram
) -> float:
    cost = 0.0
    while ngram not in probability:
        cost += backoff.get(ngram[:-1], 0.0)
        ngram = ngram[1:]
    return cost + probability[ngram]
