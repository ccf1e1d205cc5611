from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stser_core.explain import speech_salience


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
