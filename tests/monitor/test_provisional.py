"""When the emotion so far is due."""

from __future__ import annotations

import pytest

from monitor.events import FRAME_SAMPLES
from monitor.provisional import ProvisionalSchedule, ProvisionalSettings


def due_ms(settings: ProvisionalSettings, speech: str) -> list[int]:
    """Moments at which one is due; a letter a frame of 20 ms: ``x`` speech, ``|`` a new segment, else silence."""
    schedule, spoken, found = ProvisionalSchedule(settings), 0, []
    for number, frame in enumerate(speech, start=1):
        spoken = 0 if frame == "|" else spoken + (frame == "x")
        if schedule.due(number * FRAME_SAMPLES, spoken * FRAME_SAMPLES):
            found.append(number * 20)
    return found


def test_the_first_is_due_after_its_speech_and_the_next_each_interval_later() -> None:
    assert due_ms(ProvisionalSettings(), "x" * 100) == [700, 1200, 1700]


def test_silence_does_not_count_as_speech_but_does_as_time() -> None:
    assert due_ms(ProvisionalSettings(), "x" * 30 + "." * 20 + "x" * 10) == [1100]


def test_each_utterance_needs_its_own_speech_and_never_two_are_closer_than_the_interval() -> None:
    settings = ProvisionalSettings(after_ms=100, every_ms=500)
    assert due_ms(settings, "xxxxx|xxxxx|" + "x" * 30) == [100, 600]


def test_none_is_due_where_they_are_switched_off() -> None:
    assert due_ms(ProvisionalSettings(enabled=False), "x" * 100) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"after_ms": -1}, r"provisional\.after_ms \(-1\) must not be negative"),
        ({"every_ms": 499}, r"provisional\.every_ms \(499\) must be at least 500"),
    ],
)
def test_a_setting_that_breaks_the_contract_is_refused_by_name(
    changed: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ProvisionalSettings(**changed)
