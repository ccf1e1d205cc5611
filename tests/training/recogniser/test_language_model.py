"""What the n-gram model promises: probabilities that sum to one, back-off, and few n-grams."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from training.recogniser.language_model import (
    END,
    START,
    UNKNOWN,
    LanguageModel,
    language_model,
    ngram_counts,
)
from training.recogniser.sentences import Sentence
from training.recogniser.settings import LanguageSettings

SAID = [
    tuple(text.split())
    for text in (
        "i am happy",
        "i am sad",
        "i am so happy",
        "you are so sad",
        "are you happy",
        "you are late today",
    )
] * 3
WORDS = sorted({word for words in SAID for word in words} - {"late"})


def model(max_ngrams: int = 1000, min_counts: tuple[float, ...] = (0, 0, 0)) -> LanguageModel:
    settings = LanguageSettings(max_ngrams=max_ngrams, min_counts=min_counts)
    return language_model(ngram_counts({"talk": SAID}, {}, WORDS, 3), settings)


def likelihood(of: LanguageModel, sentences: Iterable[Sentence]) -> float:
    """Natural logarithm of the probability of sentences, their ends included."""
    said = [(START, START, *words, END) for words in sentences]
    return sum(
        of.log_probability(words[at], words[at - 2 : at])
        for words in said
        for at in range(2, len(words))
    )


@pytest.mark.parametrize("max_ngrams", [1000, 12, 1])
@pytest.mark.parametrize(
    "history", [("<s>",), ("<s>", "i"), ("i", "am"), ("am", "so"), ("sad", "sad"), ("so", "late")]
)
def test_probabilities_of_all_words_after_a_history_sum_to_one(
    history: tuple[str, ...], max_ngrams: int
) -> None:
    one = model(max_ngrams)
    total = sum(math.exp(one.log_probability(w, history)) for w in [*WORDS, UNKNOWN, END])
    assert total == pytest.approx(1.0, abs=1e-3)


def test_what_was_said_is_likelier_than_what_was_not() -> None:
    one = model()
    assert one.log_probability("am", ("<s>", "i")) > one.log_probability("are", ("<s>", "i"))
    assert likelihood(one, SAID) > likelihood(one, [words[::-1] for words in SAID])


def test_a_word_outside_the_vocabulary_counts_as_unknown() -> None:
    one = model()
    assert one.log_probability("late", ("you", "are")) == one.log_probability(
        "hippopotamus", ("you", "are")
    )
    assert (UNKNOWN,) in one.probability


def test_the_n_grams_that_are_kept_are_those_that_matter() -> None:
    few, all_of_them = model(max_ngrams=12), model()
    kept = {ngram for ngram in few.probability if len(ngram) > 1}
    assert 12 <= len(kept) <= 13
    assert all(ngram[:-1] in kept for ngram in kept if len(ngram) == 3)
    least = model(max_ngrams=1)
    assert likelihood(all_of_them, SAID) > likelihood(few, SAID) > likelihood(least, SAID)


def test_a_rare_n_gram_is_dropped_and_its_probability_given_to_shorter_ones() -> None:
    rare = [*SAID, ("happy", "today")]
    counts = ngram_counts({"talk": rare}, {}, WORDS, 3)
    kept = language_model(counts, LanguageSettings(min_counts=(0, 2, 2), max_ngrams=1000))
    assert ("happy", "today") not in kept.probability
    total = sum(math.exp(kept.log_probability(w, ("happy",))) for w in [*WORDS, UNKNOWN, END])
    assert total == pytest.approx(1.0, abs=1e-3)


def test_a_corpus_counts_by_its_weight() -> None:
    counts = ngram_counts({"a": [("yes",)], "b": [("no",)]}, {"a": 4.0, "b": 0.5}, ["yes", "no"], 2)
    assert counts[0] == {("yes",): 4.0, ("no",): 0.5, (END,): 4.5}
    assert counts[1]["<s>", "yes"] == 4.0


def test_an_utterance_may_hold_no_word_at_all() -> None:
    settings = LanguageSettings(max_ngrams=1000, min_counts=(0, 0, 0))
    one = language_model(ngram_counts({"talk": SAID}, {}, WORDS, 3, nothing=0.25), settings)
    # A fifth of all utterances: 0.25 of 1.25, less what smoothing takes.
    assert math.exp(one.log_probability(END, ("<s>",))) == pytest.approx(0.2, abs=0.03)
    assert math.exp(model().log_probability(END, ("<s>",))) < 0.05
    total = sum(math.exp(one.log_probability(w, ("<s>",))) for w in [*WORDS, UNKNOWN, END])
    assert total == pytest.approx(1.0, abs=1e-3)
