"""The mailbox: bounded, drops the oldest, drains at the end."""

from __future__ import annotations

import asyncio

import pytest

from monitor.mailbox import Mailbox


async def drained(box: Mailbox[int]) -> list[int]:
    items = []
    while await box.ready():
        items.append(box.take())
    return items


def test_a_full_mailbox_keeps_the_newest_items() -> None:
    async def main() -> None:
        box = Mailbox[int](capacity=2)
        for item in range(5):
            box.offer(item)
        box.close()
        assert await drained(box) == [3, 4]

    asyncio.run(main())


def test_a_bite_drops_several_at_once_so_that_the_next_ones_fit() -> None:
    async def main() -> None:
        box = Mailbox[int](capacity=4, bite=3)
        for item in range(7):
            box.offer(item)
        box.close()
        assert await drained(box) == [3, 4, 5, 6]

    asyncio.run(main())


def test_items_come_in_order_and_the_consumer_is_woken_for_each() -> None:
    async def main() -> None:
        box = Mailbox[int](capacity=1)
        heard: list[int] = []

        async def consume() -> None:
            while await box.ready():
                heard.append(box.take())
                taken.set()

        taken = asyncio.Event()
        consumer = asyncio.create_task(consume())
        for item in range(20):
            taken.clear()
            box.offer(item)
            await asyncio.wait_for(taken.wait(), 5)
        box.close()
        await asyncio.wait_for(consumer, 5)
        assert heard == list(range(20))

    asyncio.run(main())


def test_what_comes_after_the_end_is_not_taken() -> None:
    async def main() -> None:
        box = Mailbox[int](capacity=2)
        box.offer(1)
        box.close()
        box.close()
        box.offer(2)
        assert await drained(box) == [1]

    asyncio.run(main())


def test_closing_ends_a_consumer_that_waits() -> None:
    async def main() -> None:
        box = Mailbox[int](capacity=1)
        consumer = asyncio.create_task(drained(box))
        await asyncio.sleep(0)
        box.close()
        assert await asyncio.wait_for(consumer, 5) == []

    asyncio.run(main())


@pytest.mark.parametrize(("capacity", "bite"), [(0, 1), (2, 3), (2, 0)])
def test_sizes_that_make_no_sense_are_refused(capacity: int, bite: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        Mailbox[int](capacity, bite=bite)


def test_waiting_takes_nothing_even_when_it_is_given_up() -> None:
    async def main() -> None:
        mailbox: Mailbox[int] = Mailbox(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await mailbox.ready()
        mailbox.offer(1)
        assert await mailbox.ready()
        assert await mailbox.ready()
        assert mailbox.take() == 1
        mailbox.close()
        assert not await mailbox.ready()

    asyncio.run(main())
