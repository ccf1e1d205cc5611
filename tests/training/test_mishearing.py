"""What a recogniser makes of words, counted and drawn again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import TrainingError
from training.mishearing import Confusions, Mishearing, aligned, counted_table, misheard

EXACT = Mishearing(confused=1.0, drop_word=0.0, swap_words=0.0)


@given(st.lists(st.text("abc", min_size=1), min_size=1, max_size=30), st.integers(0, 99))
def test_a_misheard_sentence_keeps_at_least_one_and_at_most_the_allowed_words(
    words: list[str], seed: int
) -> None:
    often = Mishearing(drop_word=0.9, swap_words=0.5, max_words=5)
    heard = misheard(words, often, Confusions.none(), np.random.default_rng(seed))
    assert 1 <= len(heard) <= 5
    assert set(heard) <= set(words)


def test_words_heard_right_and_short_spans_heard_wrong_are_counted() -> None:
    said, heard = ["i", "am", "so", "angry", "with", "you"], ["i", "am", "sew", "angry", "you"]
    assert aligned(said, heard) == [
        (("i",), ("i",)),
        (("am",), ("am",)),
        (("so",), ("sew",)),
        (("angry",), ("angry",)),
        (("with",), ()),
        (("you",), ("you",)),
    ]


def test_a_sentence_that_was_not_understood_at_all_says_nothing_of_single_words() -> None:
    assert aligned(["one", "two", "three", "four"], ["for"]) == []


def counted(pairs: Iterable[tuple[list[str], list[str]]], folder: Path) -> Confusions:
    """The confusions of these sentences as said and as heard, by way of the table on disk."""
    (folder / "table.tsv").write_text(counted_table(pairs), "utf-8")
    return Confusions.read(folder / "table.tsv")


def test_confusions_are_drawn_as_often_as_they_were_counted(tmp_path: Path) -> None:
    confusions = counted([(["mad"], ["mad"])] * 3 + [(["mad"], ["bad"])], tmp_path)
    rng = np.random.default_rng(0)
    drawn = Counter(misheard(["mad"], EXACT, confusions, rng)[0] for _ in range(400))
    assert drawn.keys() == {"mad", "bad"}
    assert 70 <= drawn["bad"] <= 130


def test_two_words_heard_as_one_stay_together(tmp_path: Path) -> None:
    confusions = counted([(["going", "to"], ["gonna"])], tmp_path)
    words = misheard(["i", "am", "going", "to", "go"], EXACT, confusions, np.random.default_rng(0))
    assert words == ["i", "am", "gonna", "go"]


def test_a_table_that_is_written_is_read_again(tmp_path: Path) -> None:
    pairs = [(["so", "sad"], ["so", "said"]), (["oh", "no"], ["oh"]), (["so"], ["so"])]
    assert counted(pairs, tmp_path).heard == {
        ("no",): (((),), (1.0,)),
        ("oh",): ((("oh",),), (1.0,)),
        ("sad",): ((("said",),), (1.0,)),
        ("so",): ((("so",),), (1.0,)),
    }


@pytest.mark.parametrize("content", ["", "said\theard\na\tb\n", "said\theard\ttimes\na\tb\tc\n"])
def test_a_damaged_table_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "table.tsv").write_text(content, "utf-8")
    if content:
        with pytest.raises(TrainingError, match=r"table\.tsv: no table of confusions"):
            Confusions.read(tmp_path / "table.tsv")
    else:
        assert not Confusions.read(tmp_path / "table.tsv").heard


def test_the_table_in_the_package_knows_common_words() -> None:
    heard = Confusions.read().heard
    assert {("you",), ("what",), ("no",)} <= heard.keys()
