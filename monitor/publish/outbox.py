"""What one consumer has not had yet: bounded, and honest about what it lost. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Self

from monitor.events import WireEvent


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it waits for a consumer.

    The happening stays behind: it holds the audio of its segment, which must not pile up in memory
    because a consumer is slow.
    """

    source: str
    kind: str
    sequence: int
    body: bytes

    @classmethod
    def of(cls, event: WireEvent) -> Self:
        """All that a channel needs of an event."""
        return cls(event.source, event.kind, event.sequence, event.body)


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages in a row that one consumer will not get."""

    source: str
    first: int
    """Sequence of the first."""
    last: int
    """Sequence of the last."""
    count: int
    """How many of those between were for this consumer."""


def one_more(lost: Lost | None, source: str, sequence: int) -> Lost:
    """What is lost where a source's next message is, too."""
    if lost is None:
        return Lost(source, sequence, sequence, 1)
    return replace(lost, last=sequence, count=lost.count + 1)


class Outbox:
    """A queue that drops its oldest message when full, and tells so before the next one.

    The consumer looks at :meth:`first`, delivers it, and only then calls :meth:`delivered`: what a
    broken connection swallowed is still there.
    """

    def __init__(self, capacity: int) -> None:
        self._waiting: deque[Message] = deque()
        self._capacity = capacity
        self._lost: dict[str, Lost] = {}
        """By source."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message) -> None:
        """Add a message; the oldest makes room where there is none."""
        if len(self._waiting) == self._capacity:
            self._lose(self._waiting.popleft())
        self._waiting.append(message)

    def first(self) -> Message | Lost | None:
        """What the consumer must hear next; None where there is nothing."""
        for lost in self._lost.values():
            return lost
        return self._waiting[0] if self._waiting else None

    def delivered(self, item: Message | Lost) -> None:
        """The consumer has this. It may have been dropped, or have grown, in the meantime."""
        if isinstance(item, Message):
            if self._waiting and self._waiting[0] is item:
                self._waiting.popleft()
        elif (lost := self._lost.pop(item.source, None)) is not None:
            rest = lost.count - item.count
            if rest:
                self._lost[item.source] = replace(lost, first=item.last + 1, count=rest)

    def _lose(self, message: Message) -> None:
        if not message.sequence:  # said in passing: nobody is told that it was missed
            return
        lost = self._lost.get(message.source)
        self._lost[message.source] = one_more(lost, message.source, message.sequence)
