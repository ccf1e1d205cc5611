"""One rule says how many streams are carried, and one search finds the number."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bench.capacity import LIMIT_MS, WARM_UP_S, counts, holds, largest, search
from monitor.events import SAMPLE_RATE_HZ, CloseReason, Segment

GOOD = {"counted": 20, "p95_ms": LIMIT_MS - 0.1, "without_words": 0, "lost_s": 0.0}


@dataclass(frozen=True)
class Few:
    """What came of a number of streams on a machine that carries ten."""

    streams: int

    @property
    def holds(self) -> bool:
        return self.streams <= 10


def test_streams_hold_while_all_is_heard_with_its_words_and_told_in_time() -> None:
    assert holds(**GOOD)  # type: ignore[arg-type]
    for worse in ({"counted": 0}, {"p95_ms": LIMIT_MS}, {"without_words": 1}, {"lost_s": 0.02}):
        assert not holds(**GOOD | worse)  # type: ignore[arg-type]


def test_the_first_moments_and_what_the_end_cut_off_have_no_part_in_the_times() -> None:
    closed_at = int((WARM_UP_S + 1) * SAMPLE_RATE_HZ)
    segment = Segment(
        utterance=1,
        start=0,
        end=closed_at,
        speech_end=closed_at,
        closed_at=closed_at,
        reason=CloseReason.SILENCE,
        level_dbfs=-20.0,
        noise_floor_dbfs=-70.0,
        clipped=False,
        speech_samples=closed_at,
    )
    assert counts(segment)
    assert counts(replace(segment, reason=CloseReason.GAP))
    assert not counts(replace(segment, reason=CloseReason.END))
    assert not counts(replace(segment, closed_at=int(WARM_UP_S * SAMPLE_RATE_HZ)))


def test_every_number_that_was_tried_is_told_in_order() -> None:
    tried = search(Few, first=4)
    assert list(tried) == [4, 8, 10, 11, 12, 16]
    assert max(count for count, each in tried.items() if each.holds) == 10


def test_where_nothing_holds_one_stream_is_tried() -> None:
    assert list(search(lambda count: Few(count + 10), first=4)) == [1, 2, 4]


@pytest.mark.parametrize("limit", [1, 7, 16, 100, 237])
def test_the_largest_number_that_holds_is_found_as_precisely_as_asked(limit: int) -> None:
    found = largest(lambda count: count <= limit, first=4, precision=0.05)
    assert limit - max(1, 0.06 * limit) <= found <= limit


def test_a_number_that_nothing_stops_ends_the_search_at_its_limit() -> None:
    tried: list[int] = []
    assert largest(lambda count: not tried.append(count), first=8, limit=100) == 100
    assert tried == [8, 16, 32, 64, 100]
