from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stser_core.errors import CheckpointError
from stser_core.text import (
    PADDING,
    TextTokenizer,
    TokenisedText,
    of_like_length,
    pad_tokens,
    spoken_words,
)

START, END = 2, 3


@pytest.fixture
def tokenizer(tokenizer_json: Path) -> TextTokenizer:
    return TextTokenizer.load(tokenizer_json, 16)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Don\u2019t leave me!", "don't leave me"),
        ("  Well-known, 'quoted' -- words...  ", "well known quoted words"),
        ("[unk] hello <unk> [laughter]", "hello"),
        ("?!", ""),
    ],
)
def test_written_text_becomes_what_a_recogniser_would_write(written: str, spoken: str) -> None:
    assert " ".join(spoken_words(written)) == spoken


@given(st.text(max_size=40))
def test_spoken_words_are_spoken_words_already(text: str) -> None:
    words = spoken_words(text)
    assert spoken_words(" ".join(words)) == words


def test_each_token_knows_its_word_and_unspeakable_words_have_none(
    tokenizer: TextTokenizer,
) -> None:
    text = tokenizer.encode(["Don't", "[unk]", "sadness", "me"])
    assert text.word_of_token == (-1, 0, 0, 0, 2, 2, 3, -1)
    assert (text.ids[0], text.ids[-1]) == (START, END)


def test_how_the_words_were_cut_does_not_change_the_tokens(tokenizer: TextTokenizer) -> None:
    apart, together = tokenizer.encode(["leave", "me"]), tokenizer.encode(["Leave me."])
    np.testing.assert_array_equal(apart.ids, together.ids)


def test_a_long_transcript_is_cut_and_still_framed(tokenizer: TextTokenizer) -> None:
    text = tokenizer.encode(["happy"] * 50)
    assert len(text.ids) == 16
    assert text.ids[-1] == END
    assert max(text.word_of_token) == 13


def test_padding_is_masked(tokenizer: TextTokenizer) -> None:
    long, short = tokenizer.encode(["leave", "me", "alone"]), tokenizer.encode(["me"])
    ids, mask = pad_tokens([long, short])
    assert ids.shape == (2, 5)
    np.testing.assert_array_equal(mask, [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    np.testing.assert_array_equal(ids[1, :3], short.ids)


def test_a_file_that_is_no_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer"):
        TextTokenizer.load(path, 16)


def test_a_tokenizer_of_another_vocabulary_is_refused(tokenizer_json: Path) -> None:
    with pytest.raises(CheckpointError, match="the tmodel knows 5"):
        TextTokenizer.load(tokenizer_json, 16, vocabulary=5)


@given(st.lists(st.integers(2, 40), max_size=30))
def test_texts_share_a_call_where_that_takes_little_padding(lengths: list[int]) -> None:
    texts = [TokenisedText(np.zeros(length, np.int64), (-1,) * length) for length in lengths]
    calls = of_like_length(texts)
    assert sorted(at for call in calls for at in call) == list(range(len(texts)))
    for call in calls:
        longest = max(lengths[at] for at in call)
        assert sum(longest - lengths[at] for at in call) <= PADDING
    assert len(calls) <= len(set(lengths))
