"""The bounded hand-off between a producer that cannot wait and a consumer that may be slow."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue that never blocks its producer and never grows beyond its capacity.

    When full, the *oldest* items are dropped: in a live monitor, what was said last is
    worth more than what was said first. One consumer; event-loop thread only (a driver's thread
    goes through ``loop.call_soon_threadsafe``).
    """

    def __init__(self, capacity: int, *, bite: int = 1) -> None:
        """Make an empty mailbox.

        Args:
            capacity: Items that may wait.
            bite: Items dropped at a time. For a stream, more leaves fewer and longer holes in it.
        """
        if capacity < 1:
            raise ValueError(f"capacity ({capacity}) of a mailbox must be at least 1.")
        if not 1 <= bite <= capacity:
            raise ValueError(f"bite ({bite}) must be at least 1 and at most capacity ({capacity}).")
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._bite = bite
        self._closed = False
        self._wakeup = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether the end has come, but for what is still there."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T) -> None:
        """Add an item; the oldest make room where there is none. What comes after :meth:`close` is not taken."""
        if self._closed:
            return
        if len(self._items) == self._capacity:
            for _ in range(self._bite):
                self._items.popleft()
        self._items.append(item)
        self._wakeup.set()

    def close(self) -> None:
        """Take nothing more; the consumer gets what is there, then it is told the end.
        Idempotent."""
        self._closed = True
        self._wakeup.set()

    async def ready(self) -> bool:
        """Wait for an item; False where the end has come. Takes nothing, so it may be cancelled."""
        while not self._items and not self._closed:
            self._wakeup.clear()
            await self._wakeup.wait()
        return bool(self._items)

    def take(self) -> T:
        """The oldest item, which :meth:`ready` has found to be there."""
        return self._items.popleft()
