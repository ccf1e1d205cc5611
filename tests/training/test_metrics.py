"""WA, UA and calibration against scikit-learn and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from training.calibrate import log_posterior, temperature
from training.early_stopping import EarlyStopping
from training.metrics import calibration_error, confusion, unweighted_accuracy, weighted_accuracy

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(pairs)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_wa_and_ua_are_those_of_scikit_learn(answers: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(answers).T
    matrix = confusion(truth, predicted)
    assert (matrix == confusion_matrix(truth, predicted, labels=range(4))).all()
    assert weighted_accuracy(matrix) == pytest.approx(accuracy_score(truth, predicted))
    assert unweighted_accuracy(matrix) == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_confidence_that_is_always_right_and_certain_has_no_calibration_error() -> None:
    assert calibration_error(np.eye(4), np.arange(4)) == 0.0


def test_certainty_that_is_right_half_of_the_time_is_off_by_a_half() -> None:
    posteriors = np.repeat([[1.0, 0.0, 0.0, 0.0]], 10, axis=0)
    assert calibration_error(posteriors, np.array([0, 1] * 5)) == pytest.approx(0.5)


def test_the_temperature_that_blew_up_the_logits_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 4)).astype(np.float32)
    posteriors = np.exp(log_posterior(logits, 1.0))
    labels = np.array([rng.choice(4, p=p) for p in posteriors])
    assert temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.1)


def test_early_stopping_keeps_the_best_and_stops_when_patience_is_over() -> None:
    stopping = EarlyStopping(patience=2)
    taken = [stopping.better(value) for value in (0.4, 0.6, 0.6)]
    assert (taken, stopping.stop) == ([True, True, False], False)
    assert not stopping.better(0.5)
    assert (stopping.best, stopping.stop) == (0.6, True)
