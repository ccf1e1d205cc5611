"""What a subscriber may ask for."""

from __future__ import annotations

import pytest

from monitor.publish.subscription import Subscription
from monitor.publish.wire import KINDS


def test_without_a_query_everything_is_wanted() -> None:
    assert Subscription.from_query("") == Subscription(frozenset(KINDS), None, True, {})


@pytest.mark.parametrize("name", ["emotion.state", "org.stser.emotion.state.v1"])
def test_types_are_named_in_full_or_in_short(name: str) -> None:
    subscription = Subscription.from_query(f"types={name}&transcript=0")
    assert subscription.wants("emotion.state", "mic")
    assert not subscription.wants("emotion.utterance", "mic")
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
        ("since=mic:", "since"),
        ("since=a/b:1", "since"),
        ("stream=", "stream"),
        ("stream=mic,a/b", "a/b"),
        ("types=emotion.state&types=mark", "2 times"),
    ],
)
def test_anything_else_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Subscription.from_query(query)


def test_since_is_a_sequence_as_events_carry_it() -> None:
    assert Subscription.from_query("since=00000000000000000017").since == {None: 17}


def test_streams_are_chosen_and_resumed_by_name() -> None:
    subscription = Subscription.from_query("stream=mic,door&since=17,door:4")
    assert subscription.wants("emotion.state", "door")
    assert not subscription.wants("emotion.state", "attic")
    assert subscription.since == {None: 17, "door": 4}
