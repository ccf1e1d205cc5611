"""How many streams one process carries: the one rule and the one search of ``bench.streams`` and ``bench.load``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from monitor.events import SAMPLE_RATE_HZ, CloseReason, Segment

LIMIT_MS: Final = 50.0
WARM_UP_S: Final = 3.0
"""Utterances that end earlier have no part in the times: the first calls of everything fall there."""
MOST: Final = 1_024
"""Streams that are tried at most."""
PRECISION: Final = 0.1
"""The search ends where the number is known so well, as a share of it."""

RULE: Final = (
    "A number of streams holds where all audio is heard, no utterance lacks its words, and 95 % of the events come "
    f"less than {LIMIT_MS:g} ms after the moment at which the pause had lasted long enough, late hearing included. "
    f"Utterances of the first {WARM_UP_S:g} s, and those that the end of the run cut off, have no part in the times. "
    "The number is doubled until it does not hold; then the distance is halved until the number is known to "
    f"{100 * PRECISION:g} %."
)
"""For the pages' headers."""


def holds(*, counted: int, p95_ms: float, without_words: int, lost_s: float = 0.0) -> bool:
    """Whether so many streams are carried, by :data:`RULE`.

    Args:
        counted: Utterances that the times are of; without any nothing is known.
        p95_ms: Of their delays.
        without_words: Utterances that were to be recognised and were not.
        lost_s: Audio that was not heard.
    """
    return counted > 0 and p95_ms < LIMIT_MS and not without_words and lost_s == 0


def counts(segment: Segment) -> bool:
    """Whether the delay of an utterance has a part in the times."""
    warm = segment.closed_at > WARM_UP_S * SAMPLE_RATE_HZ
    return warm and segment.reason is not CloseReason.END


class Tried(Protocol):
    """What came of a number of streams."""

    @property
    def holds(self) -> bool: ...


T = TypeVar("T", bound=Tried)


def search(trial: Callable[[int], T], first: int) -> dict[int, T]:
    """Trials around the largest number of streams that holds, by their number.

    Args:
        trial: Of a number of streams.
        first: To begin with.
    """
    trials: dict[int, T] = {}

    def good(count: int) -> bool:
        trials[count] = trial(count)
        return trials[count].holds

    largest(good, first)
    return dict(sorted(trials.items()))


def largest(
    holds: Callable[[int], bool], first: int, limit: int = MOST, precision: float = PRECISION
) -> int:
    """The largest number that holds: doubled until one does not, then halving the distance.

    Args:
        holds: Holds for small numbers and not for large ones.
        first: To begin with.
        limit: None larger is tried.
        precision: The search ends where the number is known so well, as a share of it.
    """
    good, bad = 0, min(first, limit)
    while holds(bad):
        good, bad = bad, min(2 * bad, limit)
        if good == limit:
            return good
    while bad - good > max(1, precision * bad):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good
