"""Speaker-independent folds: no speaker is ever on two sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stser_core.labels import Emotion
from training.errors import CorpusError
from training.folds import left_out_fold, speaker_folds, training_only
from training.utterance import Utterance


def corpus(name: str, n_speakers: int, n_each: int = 2) -> list[Utterance]:
    return [
        Utterance(corpus=name, label=Emotion.SAD, speaker=f"{name}{s}", gender="mf"[s % 2])
        for s in range(n_speakers)
        for _ in range(n_each)
    ]


corpora = st.lists(st.integers(5, 12), min_size=1, max_size=3).map(
    lambda sizes: [u for i, n in enumerate(sizes) for u in corpus(f"c{i}-", n)]
)


@given(utterances=corpora, seed=st.integers(0, 1000))
def test_no_speaker_is_on_two_sides_of_a_fold(utterances: list[Utterance], seed: int) -> None:
    for fold in speaker_folds(utterances, 5, 0.2, seed):
        train, valid, test = (
            {utterances[i].speaker for i in part}
            for part in (fold.train, fold.validation, fold.test)
        )
        assert not (train | valid) & test
        assert not train & valid
        assert sorted((*fold.train, *fold.validation, *fold.test)) == list(range(len(utterances)))


@given(utterances=corpora, seed=st.integers(0, 1000))
def test_every_utterance_is_tested_exactly_once(utterances: list[Utterance], seed: int) -> None:
    tested = [i for fold in speaker_folds(utterances, 5, 0.2, seed) for i in fold.test]
    assert sorted(tested) == list(range(len(utterances)))


@given(utterances=corpora, seed=st.integers(0, 1000))
def test_each_corpus_is_on_every_side_of_every_fold(utterances: list[Utterance], seed: int) -> None:
    names = {u.corpus for u in utterances}
    for fold in speaker_folds(utterances, 5, 0.2, seed):
        for part in (fold.train, fold.validation, fold.test):
            assert {utterances[i].corpus for i in part} == names


def test_the_same_seed_gives_the_same_folds_and_another_seed_others() -> None:
    utterances = corpus("a", 20)
    assert speaker_folds(utterances, 5, 0.2, 1) == speaker_folds(utterances, 5, 0.2, 1)
    assert speaker_folds(utterances, 5, 0.2, 1) != speaker_folds(utterances, 5, 0.2, 2)


def test_genders_are_dealt_out_evenly() -> None:
    utterances = corpus("a", 20, 1)
    for fold in speaker_folds(utterances, 5, 0.2, 1):
        assert sorted(utterances[i].gender for i in fold.test) == ["f", "f", "m", "m"]


def test_a_corpus_with_too_few_speakers_is_refused_by_name() -> None:
    with pytest.raises(CorpusError, match="few: 4 speakers are too few for 5 folds"):
        speaker_folds(corpus("few", 4), 5, 0.2, 1)


def test_the_shipped_weights_have_validation_speakers_but_no_test_speakers() -> None:
    fold = training_only(corpus("a", 10), 0.2, 1)
    assert (len(fold.train), len(fold.validation), len(fold.test)) == (16, 4, 0)


def test_a_corpus_left_out_is_all_of_the_test_and_nothing_else() -> None:
    said = corpus("a-", 4) + corpus("b-", 5) + corpus("c-", 1)
    fold = left_out_fold(
        [Utterance(corpus=u.speaker[0], label=u.label, speaker=u.speaker) for u in said],
        "b",
        0.2,
        1,
    )
    assert {said[i].speaker[0] for i in fold.test} == {"b"}
    assert len(fold.test) == 10
    voices = [{said[i].speaker for i in part} for part in (fold.train, fold.validation)]
    assert not voices[0] & voices[1]
    assert {name[0] for name in voices[1]} == {"a", "c"}
