"""What one slow consumer gets: the newest events, and the truth about the others."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from monitor.publish.outbox import Lost, Message, Outbox
from tests.support.happenings import numbered

MESSAGES = [Message.of(event) for event in numbered(60)]


def test_full_outbox_drops_the_oldest_and_says_which_before_the_rest() -> None:
    outbox = Outbox(2)
    for message in MESSAGES[:5]:
        outbox.put(message)
    lost = outbox.first()
    assert lost == Lost("/stser/node/mic", 1, 3, 3)
    outbox.delivered(lost)
    assert outbox.first() is MESSAGES[3]
    assert len(outbox) == 2


def test_what_was_said_in_passing_and_dropped_is_not_told() -> None:
    outbox = Outbox(1)
    for message in (replace(MESSAGES[0], sequence=0), MESSAGES[1]):
        outbox.put(message)
    assert outbox.first() is MESSAGES[1]


def test_what_was_looked_at_and_not_delivered_is_still_there() -> None:
    outbox = Outbox(2)
    outbox.put(MESSAGES[0])
    assert outbox.first() is outbox.first() is MESSAGES[0]
    outbox.delivered(MESSAGES[0])
    assert outbox.first() is None


def test_loss_that_grew_while_it_was_told_is_told_again_for_the_rest() -> None:
    outbox = Outbox(1)
    for message in MESSAGES[:3]:
        outbox.put(message)
    told = outbox.first()
    assert isinstance(told, Lost)
    outbox.put(MESSAGES[3])
    outbox.delivered(told)
    assert outbox.first() == Lost("/stser/node/mic", 3, 3, 1)


def test_message_dropped_while_it_was_sent_takes_no_other_with_it() -> None:
    outbox = Outbox(1)
    outbox.put(MESSAGES[0])
    sending = outbox.first()
    assert sending is not None
    outbox.put(MESSAGES[1])
    outbox.delivered(sending)
    outbox.delivered(outbox.first() or sending)
    assert outbox.first() is MESSAGES[1]


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from(["put", "look", "delivered"]), max_size=60),
)
def test_every_message_is_delivered_or_told_lost_in_order(capacity: int, steps: list[str]) -> None:
    outbox = Outbox(capacity)
    accounted: list[int] = []
    put = 0
    looked: Message | Lost | None = None

    def deliver(item: Message | Lost | None) -> None:
        if isinstance(item, Message):
            accounted.append(item.sequence)
        elif item is not None:
            accounted.extend(range(item.first, item.last + 1))
        if item is not None:
            outbox.delivered(item)

    for step in steps:
        if step == "put":
            outbox.put(MESSAGES[put])
            put += 1
        elif step == "look":
            looked = outbox.first()
        else:
            deliver(outbox.first() if looked is None else looked)
            looked = None
    deliver(looked)
    while (item := outbox.first()) is not None:
        deliver(item)
    # A message that was dropped while it was on its way is both delivered and told lost.
    assert sorted(set(accounted)) == list(range(1, put + 1))
