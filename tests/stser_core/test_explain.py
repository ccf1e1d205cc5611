from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stser_core.explain import WORD_GROUPS, speech_salience, word_groups, word_salience


def bins(weights: list[float], n_frames: int) -> tuple[float, ...]:
    return speech_salience(
        np.array(weights, np.float32), n_frames=n_frames, frame_ms=10, frames_per_weight=4
    )


def test_a_weight_whose_40_ms_cross_a_bin_is_divided_by_time() -> None:
    # Weights cover 0-40, 40-80, 80-120, 120-160 ms; half of the third lies before 100 ms.
    assert bins([0.1, 0.2, 0.4, 0.3], n_frames=16) == pytest.approx((0.5, 0.5))


def test_attention_on_one_moment_falls_into_its_bin() -> None:
    assert bins([0, 0, 0, 0, 0, 0, 1.0], n_frames=28) == pytest.approx((0, 0, 1))


@given(n_frames=st.integers(1, 1_600), seed=st.integers(0, 9))
def test_there_is_one_share_for_each_100_ms_begun_and_they_sum_to_one(
    n_frames: int, seed: int
) -> None:
    pooled = max(1, n_frames // 4)
    weights = np.random.default_rng(seed).dirichlet(np.ones(pooled))
    shares = bins(weights.tolist(), n_frames)
    assert len(shares) == -(-n_frames // 10)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0


def logits(*rows: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_a_words_share_is_what_the_odds_of_the_class_lose_without_it() -> None:
    whole = logits((2.0, 0.0, 0.0, 0.0))[0]
    without = logits((2.0, 0, 0, 0), (1.0, 0, 0, 0), (-1.0, 0, 0, 0), (5.0, 0, 0, 0))
    shares = word_salience(whole, without, word_groups(4))
    assert shares == pytest.approx((0, 0.25, 0.75, 0))


def test_a_word_without_which_nothing_is_left_takes_the_class_with_it() -> None:
    whole = logits((2.0, 0.0, 0.0, 0.0))[0]
    without = logits((np.nan,) * 4, (2.0, 0, 0, 0))
    assert word_salience(whole, without, word_groups(2)) == pytest.approx((1, 0))


def test_words_without_which_the_class_only_gains_share_equally() -> None:
    whole = logits((2.0, 0.0, 0.0, 0.0))[0]
    assert word_salience(whole, logits((3.0, 0, 0, 0), (3.0, 0, 0, 0)), word_groups(2)) == (
        0.5,
        0.5,
    )


@given(st.integers(1, 200))
def test_groups_hold_each_word_once_in_order_and_alone_in_a_short_sentence(n_words: int) -> None:
    groups = word_groups(n_words)
    assert [word for group in groups for word in group] == list(range(n_words))
    assert len(groups) == min(n_words, WORD_GROUPS)
    lengths = {len(group) for group in groups}
    assert max(lengths) - min(lengths) <= 1
