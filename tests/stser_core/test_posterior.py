from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from stser_core.errors import ShapeError
from stser_core.labels import Emotion
from stser_core.posterior import EmotionPosterior, agreement, mean_posterior

LOGITS = st.lists(st.floats(-300, 300), min_size=4, max_size=4)
POSTERIORS = LOGITS.map(lambda logits: EmotionPosterior.from_logits(np.array(logits)))


def one_hot(index: int) -> EmotionPosterior:
    return EmotionPosterior(tuple(float(i == index) for i in range(4)))  # type: ignore[arg-type]


@given(logits=LOGITS, temperature=st.floats(0.05, 20))
def test_from_logits_is_the_softmax_and_sums_to_one(
    logits: list[float], temperature: float
) -> None:
    posterior = EmotionPosterior.from_logits(np.array(logits), temperature)
    expected = softmax(np.array(logits) / temperature)
    np.testing.assert_allclose(posterior.probabilities, expected, atol=1e-12)
    assert sum(posterior.probabilities) == pytest.approx(1, abs=1e-12)


@given(logits=LOGITS)
def test_calibration_never_changes_the_label(logits: list[float]) -> None:
    best = sorted(logits)
    if best[-1] - best[-2] > 1e-6:
        labels = {EmotionPosterior.from_logits(np.array(logits), t).label for t in (0.5, 1, 3)}
        assert len(labels) == 1


def test_label_and_confidence_are_those_of_the_largest_probability() -> None:
    posterior = EmotionPosterior((0.1, 0.2, 0.3, 0.4))
    assert posterior.label is Emotion.SAD
    assert posterior.confidence == 0.4
    assert list(posterior.as_dict()) == ["angry", "happy", "neutral", "sad"]
    assert posterior.as_dict()["neutral"] == 0.3


@pytest.mark.parametrize(
    "values",
    [(0.5, 0.5, 0.1, 0.0), (-0.1, 0.6, 0.5, 0.0), (math.nan, 0.5, 0.5, 0.0), (0.0, 0.0, 0.0, 0.0)],
)
def test_probabilities_that_are_none_are_refused(
    values: tuple[float, float, float, float],
) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        EmotionPosterior(values)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ShapeError):
        EmotionPosterior.from_logits(np.zeros(3))
    with pytest.raises(ShapeError):
        EmotionPosterior((0.5, 0.5))  # type: ignore[arg-type]


@given(posteriors=st.lists(POSTERIORS, min_size=1, max_size=3))
def test_the_mean_is_between_the_lowest_and_the_highest(posteriors: list[EmotionPosterior]) -> None:
    values = np.array([each.probabilities for each in posteriors])
    mean = np.array(mean_posterior(posteriors).probabilities)
    assert ((values.min(axis=0) - 1e-12 <= mean) & (mean <= values.max(axis=0) + 1e-12)).all()


@given(posterior=POSTERIORS, count=st.integers(1, 3))
def test_the_mean_of_equal_posteriors_is_that_posterior_and_they_agree(
    posterior: EmotionPosterior, count: int
) -> None:
    mean = mean_posterior([posterior] * count)
    np.testing.assert_allclose(mean.probabilities, posterior.probabilities, atol=1e-12)
    assert agreement([posterior] * count) == pytest.approx(1.0)


@example(
    first=EmotionPosterior(
        (3.1391327920480296e-17, 1.0, 3.1391327920480296e-17, 3.1391327920480296e-17)
    ),
    second=EmotionPosterior(
        (1.0787320499430928e-68, 0.9999999999999998, 1.0787320499430928e-68, 1.4068617124461464e-16)
    ),
)
@given(first=POSTERIORS, second=POSTERIORS)
def test_agreement_of_two_is_one_minus_scipys_divergence(
    first: EmotionPosterior, second: EmotionPosterior
) -> None:
    with np.errstate(invalid="ignore"):  # scipy's sum of what is alike may be just below 0
        distance = np.nan_to_num(jensenshannon(first.probabilities, second.probabilities, base=2))
    assert agreement([first, second]) == pytest.approx(1 - distance**2, abs=1e-6)


def test_opposite_classifiers_do_not_agree_at_all() -> None:
    assert agreement([one_hot(0), one_hot(1)]) == pytest.approx(0)
    assert agreement([one_hot(0), one_hot(1), one_hot(2)]) == 0


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        mean_posterior([])
