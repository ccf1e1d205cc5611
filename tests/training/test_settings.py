"""Settings with which nothing could be trained are refused by name, before anything is read."""

from __future__ import annotations

from typing import Any

import pytest

from config.loader import SettingsError, build
from training.recogniser.settings import RecogniserSettings
from training.settings import OpenSettings


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"folds": 1}, r"folds \(1\) must be 2 or more"),
        ({"speech": {"group": 0}}, r"speech\.group \(0\) must be positive"),
        ({"speech": {"batch": 0}}, r"speech\.batch \(0\) must be positive"),
        ({"speech": {"validate_every": 0}}, r"speech\.validate_every \(0\) must be positive"),
        ({"text": {"validate_every": -1}}, r"text\.validate_every \(-1\) must be positive"),
        ({"bimodal": {"batch": 0}}, r"bimodal\.batch \(0\) must be positive"),
    ],
)
def test_numbers_that_train_nothing_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build(OpenSettings, table)


@pytest.mark.parametrize("least", [[0.0, 3.0, 2.0], [5.0, 5.0, 5.0]])
def test_an_ngram_is_not_kept_without_the_shorter_ones_in_it(least: list[float]) -> None:
    with pytest.raises(SettingsError, match=r"min_counts .* must begin with 0 and never fall"):
        build(RecogniserSettings, {"language": {"min_counts": least}})
