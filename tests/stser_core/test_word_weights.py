from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stser_core import word_weights
from stser_core.text import TextTokenizer, TokenisedText
from stser_core.word_weights import WORDS_LEFT_OUT, ReadSentence, WordWeigher, word_shares

SAYS: dict[str, float] = {"happy": 3.0, "sad": -3.0, "leave": 2.5, "alone": 2.2, "am": 2.1}


def logits(*rows: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


class Reader:
    """Reads by adding up what each word says of the first class, and counts the sentences."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._says = {tokenizer.encode([word]).ids[1]: odds for word, odds in SAYS.items()}
        self.n_read = 0

    def tokens(self, words: Sequence[str]) -> TokenisedText | None:
        text = self._tokenizer.encode(words)
        return text if max(text.word_of_token) >= 0 else None

    def read(self, texts: Sequence[TokenisedText]) -> NDArray[np.float32]:
        self.n_read += len(texts)
        sums = [sum(self._says.get(token, 0.0) for token in text.ids) for text in texts]
        return logits(*((total, 0, 0, 0) for total in sums))

    def sentence(self, *words: str) -> ReadSentence:
        text = self.tokens(words)
        assert text is not None
        return ReadSentence(words, text, self.read([text])[0])


@pytest.fixture
def reader(tokenizer_json: Path) -> Reader:
    return Reader(TextTokenizer.load(tokenizer_json, 16))


@pytest.fixture
def weigher(reader: Reader) -> WordWeigher:
    return WordWeigher(reader.tokens, reader.read)


def test_a_words_share_is_what_the_odds_of_the_class_lose_without_it() -> None:
    whole = logits((2.0, 0.0, 0.0, 0.0))[0]
    without = logits((1.0, 0, 0, 0), (-1.0, 0, 0, 0), (5.0, 0, 0, 0))
    assert word_shares(whole, without, (1, 2, 3), 5) == pytest.approx((0, 0.25, 0.75, 0, 0))


def test_words_without_which_the_class_only_gains_share_equally() -> None:
    whole = logits((2.0, 0.0, 0.0, 0.0))[0]
    assert word_shares(whole, logits((3.0, 0, 0, 0)), (1,), 2) == (0.5, 0.5)


def test_the_words_that_say_most_alone_weigh_as_the_odds_fall_without_them(
    reader: Reader, weigher: WordWeigher
) -> None:
    (shares,) = weigher.weigh([reader.sentence("i", "am", "so", "happy", "leave", "me", "alone")])
    fallen = np.array([0, 0, 0, 3.0, 2.5, 0, 2.2])  # "am" comes fourth
    assert shares == pytest.approx(tuple(fallen / fallen.sum()))


def test_a_word_that_says_far_less_than_another_is_not_left_out(
    reader: Reader, weigher: WordWeigher
) -> None:
    (shares,) = weigher.weigh([reader.sentence("i", "happy", "so", "me")])
    assert shares == pytest.approx((0, 1, 0, 0))
    known = reader.n_read
    weigher.weigh([reader.sentence("so", "happy", "i")])
    assert reader.n_read == known + 2  # the sentence itself, and without "happy"


def test_a_sentence_is_read_again_at_most_three_times_once_its_words_are_known(
    reader: Reader, weigher: WordWeigher
) -> None:
    words = ("leave", "me", "alone", "i", "am", "so", "happy")
    sentence = reader.sentence(*words)
    weigher.weigh([sentence])
    assert reader.n_read == 1 + len(words) + WORDS_LEFT_OUT
    weigher.weigh([sentence])
    assert reader.n_read == 1 + len(words) + 2 * WORDS_LEFT_OUT


def test_a_word_without_which_nothing_is_left_takes_the_class_with_it(
    reader: Reader, weigher: WordWeigher
) -> None:
    assert weigher.weigh([reader.sentence("[unk]", "happy")]) == [(0, 1)]


def test_words_beyond_the_longest_sentence_weigh_nothing(
    reader: Reader, weigher: WordWeigher
) -> None:
    (shares,) = weigher.weigh([reader.sentence("alone", *["me"] * 13, "am")])
    assert shares == (1, *[0] * 14)
    assert reader.n_read == 1 + 2 + 1  # "am" is not looked at


def test_sentences_are_weighed_together_as_each_alone(reader: Reader, weigher: WordWeigher) -> None:
    sentences = [
        reader.sentence("i", "am", "happy"),
        reader.sentence("[unk]", "sad"),
        reader.sentence("leave", "me", "alone"),
    ]
    alone = [*(weigher.weigh([sentence])[0] for sentence in sentences)]
    assert WordWeigher(reader.tokens, reader.read).weigh(sentences) == alone
    assert weigher.weigh([]) == []


def test_the_word_that_was_not_met_for_longest_is_forgotten(
    reader: Reader, weigher: WordWeigher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_weights, "WORDS_REMEMBERED", 2)
    for word in ("happy", "leave", "happy", "alone"):
        weigher.weigh([reader.sentence(word)])
    known = reader.n_read
    weigher.weigh([reader.sentence("happy")])
    assert reader.n_read == known + 1
    weigher.weigh([reader.sentence("leave")])
    assert reader.n_read == known + 3
