"""What a subscriber may ask for."""

from __future__ import annotations

import pytest

from monitor.publish.subscription import Subscription
from monitor.publish.wire import KINDS
from tests.support.happenings import STATE, UTTERANCE, encoded

UTTERED, STATED = encoded(UTTERANCE, STATE)


def test_without_a_query_everything_is_wanted() -> None:
    assert Subscription.from_query("") == Subscription(frozenset(KINDS), True)


@pytest.mark.parametrize("name", ["emotion.state", "org.stser.emotion.state.v1"])
def test_types_are_named_in_full_or_in_short(name: str) -> None:
    subscription = Subscription.from_query(f"types={name}&transcript=0")
    assert subscription.wants(STATED)
    assert not subscription.wants(UTTERED)
    assert not subscription.transcript


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("types=emotion.smell", "emotion.smell"),
        ("types=", "''"),
        ("transcript=no", "'no'"),
        ("since=1", "since"),
        ("types=emotion.state&types=mark", "2 times"),
    ],
)
def test_anything_else_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Subscription.from_query(query)
