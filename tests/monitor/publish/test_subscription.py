"""What a subscriber may ask for."""

from __future__ import annotations

import pytest

from monitor.publish.subscription import Subscription
from monitor.publish.wire import KINDS


def test_without_a_query_everything_is_wanted() -> None:
    assert Subscription.from_query("") == Subscription(frozenset(KINDS), True, None)


@pytest.mark.parametrize("name", ["emotion.state", "org.stser.emotion.state.v1"])
def test_types_are_named_in_full_or_in_short(name: str) -> None:
    subscription = Subscription.from_query(f"types={name}&transcript=0")
    assert subscription.wants("emotion.state")
    assert not subscription.wants("emotion.utterance")
    assert not subscription.transcript


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("types=emotion.smell", "emotion.smell"),
        ("types=", "''"),
        ("transcript=no", "'no'"),
        ("after=1", "after"),
        ("since=-1", "since"),
        ("since=" + 21 * "1", "since"),
        ("types=emotion.state&types=mark", "2 times"),
    ],
)
def test_anything_else_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Subscription.from_query(query)


def test_since_is_a_sequence_as_events_carry_it() -> None:
    assert Subscription.from_query("since=00000000000000000017").since == 17
