"""Lexicon, language model and HMM states as automata, followed by hand."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import pytest

from training.recogniser.graph import fst, grammar, lexicon_tree, positional
from training.recogniser.kaldi_model import KALDI_PHONES
from training.recogniser.language_model import language_model, ngram_counts
from training.recogniser.lexicon import PHONE_INDEX, Pronunciation
from training.recogniser.settings import LanguageSettings

pytestmark = pytest.mark.usefixtures("programs")


def phones(text: str) -> Pronunciation:
    return tuple(PHONE_INDEX[name] for name in text.split())


LEXICON = {
    "to": (phones("T UW"), phones("T AH")),
    "two": (phones("T UW"),),
    "too": (phones("T UW"),),
    "tooth": (phones("T UW TH"),),
    "a": (phones("AH"),),
}
WORD_ID = {word: number for number, word in enumerate(["[unk]", *LEXICON], 1)}
Arcs = dict[int, list[tuple[int, int, int, float]]]


def automaton(text: str) -> tuple[int, Arcs, dict[int, float]]:
    """Start, arcs by source as (target, input, output, cost), and final states with their cost."""
    arcs: Arcs = defaultdict(list)
    final: dict[int, float] = {}
    rows = [line.split() for line in text.splitlines()]
    for row in rows:
        if len(row) >= 4:
            cost = float(row[4]) if len(row) > 4 else 0.0
            arcs[int(row[0])].append((int(row[1]), int(row[2]), int(row[3]), cost))
        else:
            final[int(row[0])] = float(row[1]) if len(row) > 1 else 0.0
    return int(rows[0][0]), arcs, final


def paths(text: str) -> set[tuple[tuple[str, ...], str]]:
    """Every phone sequence of an automaton without loops, with the word that it gives."""
    start, arcs, final = automaton(text)
    names = {number: word for word, number in WORD_ID.items()}
    found = set()
    waiting: list[tuple[int, tuple[str, ...], str]] = [(start, (), "")]
    while waiting:
        state, heard, word = waiting.pop()
        if state in final:
            found.add((heard, word))
        for target, label, output, _ in arcs[state]:
            phone = (KALDI_PHONES[label - 1],) if 0 < label <= len(KALDI_PHONES) else ()
            waiting.append((target, heard + phone, word + names.get(output, "")))
    return found


def test_phones_say_where_in_a_word_they_are() -> None:
    assert positional(phones("T UW TH")) == ["T_B", "UW_I", "TH_E"]
    assert positional(phones("AH")) == ["AH_S"]


def test_the_tree_gives_each_pronunciation_its_words_homophones_included(tmp_path: Path) -> None:
    expected = {
        (tuple(positional(pronunciation)), word)
        for word, said in LEXICON.items()
        for pronunciation in said
    }
    assert paths(lexicon_tree(LEXICON, WORD_ID, tmp_path)) == expected


def test_words_with_the_same_beginning_share_it(tmp_path: Path) -> None:
    start, arcs, _ = automaton(lexicon_tree(LEXICON, WORD_ID, tmp_path))
    assert sorted(KALDI_PHONES[label - 1] for _, label, _, _ in arcs[start]) == ["AH_S", "T_B"]


def test_the_grammar_costs_what_the_language_model_says() -> None:
    said = [tuple(text.split()) for text in ("to a tooth", "to a tooth too", "two a", "a too to")]
    settings = LanguageSettings(min_counts=(0, 0, 0), max_ngrams=8)
    model = language_model(ngram_counts({"talk": said}, {}, LEXICON, 3), settings)
    start, arcs, final = automaton(grammar(model, WORD_ID, unknown_cost=0.0))

    def step(state: int, word: str) -> tuple[int, float]:
        cost = 0.0
        while True:
            labels = {label: (target, own) for target, label, _, own in arcs[state]}
            if WORD_ID[word] in labels:
                target, own = labels[WORD_ID[word]]
                return target, cost + own
            state, own = labels[0]
            cost += own

    def ended(state: int) -> float:
        cost = 0.0
        while state not in final:
            [(state, own)] = [(t, own) for t, label, _, own in arcs[state] if label == 0]
            cost += own
        return cost + final[state]

    for words in [*said, ("tooth", "a", "two", "to")]:
        state, total, history, expected = start, 0.0, ("<s>",), 0.0
        for word in words:
            state, cost = step(state, word)
            total += cost
            expected -= model.log_probability(word, history)
            history = (*history, word)
        expected -= model.log_probability("</s>", history)
        assert math.isclose(total + ended(state), expected, abs_tol=0.01), words


def test_a_program_of_openfst_that_fails_says_which_and_why() -> None:
    with pytest.raises(Exception, match="fstcompile"):
        fst("fstcompile", b"0 not an arc")
