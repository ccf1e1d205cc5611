"""Calibration, coverage and bounds, on verdicts whose trustworthiness is known."""

from __future__ import annotations

import numpy as np
import pytest

from training.calibrate import common_temperature, temperature
from training.reliability import calibrated, coverage, diagram, least_bound, quality


def verdicts(n: int, seed: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Logits, and labels drawn from the softmax of the same logits without ``sharpness``."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (n, 4))
    p = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in p])
    return (sharpness * honest).astype(np.float32), labels


def test_overconfident_logits_are_calibrated_by_validation_alone() -> None:
    validation, test = verdicts(4_000, 0, 3.0), verdicts(4_000, 1, 3.0)
    raw = np.exp(test[0]) / np.exp(test[0]).sum(axis=1, keepdims=True)
    posteriors = calibrated(test[0], temperature(*validation))
    assert quality(raw.astype(np.float64), test[1])["ECE"] > 0.15
    assert quality(posteriors, test[1])["ECE"] < 0.03
    assert quality(posteriors, test[1])["WA"] == quality(raw.astype(np.float64), test[1])["WA"]


def test_a_common_temperature_lets_small_and_large_sets_count_alike() -> None:
    small, large = verdicts(500, 0, 4.0), verdicts(8_000, 1, 1.0)
    alone = temperature(*small), temperature(*large)
    assert alone == pytest.approx((4.0, 1.0), rel=0.1)
    common = common_temperature([small, large])
    assert common == common_temperature([small, (np.tile(large[0], (2, 1)), np.tile(large[1], 2))])
    assert 1.5 < common < 3


def test_a_higher_bound_covers_less_and_is_right_more_often() -> None:
    logits, labels = verdicts(4_000, 0, 1.0)
    rows = coverage(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels)
    assert rows[0][1] == 1.0
    shares, accuracies = zip(*[row[1:] for row in rows], strict=True)
    assert list(shares) == sorted(shares, reverse=True)
    assert accuracies[-1] > accuracies[0] + 0.2
    assert shares[-1] * 4_000 >= 50


def test_a_diagram_counts_every_verdict_once() -> None:
    logits, labels = verdicts(1_000, 0, 1.0)
    rows = diagram(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels)
    assert sum(n for _, _, n in rows) == 1_000
    assert all(abs(confidence - accuracy) < 0.15 for confidence, accuracy, n in rows if n > 100)


def test_the_bound_is_where_verdicts_begin_to_be_right() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.25, 1, 8_000)
    correct = rng.random(8_000) < np.where(confidence < 0.5, 0.3, 0.8)
    assert least_bound(confidence, correct) == pytest.approx(0.5, abs=0.03)
    assert least_bound(confidence, np.ones(8_000, bool)) == 0.0
    assert least_bound(confidence[:50], correct[:50]) == 0.0
