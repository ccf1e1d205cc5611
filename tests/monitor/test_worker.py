"""NativeWorker: one thread, one object, in order."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Awaitable, Callable

import pytest

from monitor.worker import MOST_HUNG, NativeWorker, WorkerHungError


class Diary:
    """A native object that notes which thread did what to it, and when it was freed."""

    def __init__(self, freed_on: list[str]) -> None:
        self.entries: list[str] = []
        self.threads = {threading.current_thread().name}
        self._freed_on = freed_on

    def note(self, entry: str) -> list[str]:
        self.threads.add(threading.current_thread().name)
        self.entries.append(entry)
        return list(self.entries)

    def __del__(self) -> None:
        self._freed_on.append(threading.current_thread().name)


def with_diary(
    test: Callable[[NativeWorker[Diary]], Awaitable[None]], *, capacity: int = 8
) -> list[str]:
    """Run ``test`` with a started worker; returns the threads on which diaries were freed."""
    freed_on: list[str] = []
    unhandled: list[object] = []

    async def main() -> None:
        handler = asyncio.get_running_loop().set_exception_handler
        handler(lambda _, context: unhandled.append(context))
        worker = NativeWorker("diary", lambda: Diary(freed_on), capacity=capacity)
        await worker.start()
        try:
            await test(worker)
        finally:
            await worker.close()

    asyncio.run(main())
    assert unhandled == []
    return freed_on


class Gate:
    """Holds the worker's thread inside a function until it is opened."""

    def __init__(self, worker: NativeWorker[Diary]) -> None:
        self._opened = threading.Event()
        entered = threading.Event()
        self.passed = worker.call(lambda _: (entered.set(), self._opened.wait()))
        entered.wait()

    def open(self) -> None:
        self._opened.set()


def fail(_: Diary) -> None:
    raise ValueError("the diary is full")


def test_object_is_created_used_and_freed_on_the_named_thread_only() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        worker.post(lambda diary: diary.note("posted"))
        assert await worker.call(lambda diary: diary.note("called")) == ["posted", "called"]
        assert await worker.call(lambda diary: set(diary.threads)) == {"diary"}

    assert with_diary(test) == ["diary"]
    assert "diary" not in {thread.name for thread in threading.enumerate()}


def test_calls_and_posts_are_done_in_the_order_in_which_they_were_given() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        first = worker.call(lambda diary: diary.note("1"))
        worker.post(lambda diary: diary.note("2"))
        third = worker.call(lambda diary: diary.note("3"))
        assert await third == ["1", "2", "3"]
        assert await first == ["1"]

    with_diary(test)


def test_a_full_queue_refuses_the_post_and_takes_it_again_when_there_is_room() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        gate = Gate(worker)
        accepted = [worker.post(lambda diary, n=n: diary.note(str(n))) for n in range(3)]
        last = worker.call(lambda diary: diary.note("call"))
        assert accepted == [True, True, False]
        gate.open()
        assert await last == ["0", "1", "call"]
        assert worker.post(lambda diary: diary.note("later"))
        assert await worker.call(lambda diary: diary.note("end")) == [*"01", "call", "later", "end"]

    with_diary(test, capacity=2)


def test_error_of_a_call_is_raised_by_it_and_leaves_the_worker_usable() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        with pytest.raises(ValueError, match="the diary is full"):
            await worker.call(fail)
        assert await worker.call(lambda diary: diary.note("next")) == ["next"]

    with_diary(test)


def test_object_is_freed_on_its_thread_even_where_somebody_keeps_its_error() -> None:
    kept: list[BaseException] = []

    async def test(worker: NativeWorker[Diary]) -> None:
        with pytest.raises(ValueError, match="the diary is full") as caught:
            await worker.call(fail)
        kept.append(caught.value)
        worker.post(fail)

    assert with_diary(test) == ["diary"]
    assert "fail" in traceback.format_exception(kept[0])[-2]


def test_error_of_a_post_is_raised_by_the_next_call_which_is_not_run() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        worker.post(fail)
        with pytest.raises(ValueError, match="the diary is full"):
            await worker.call(lambda diary: diary.note("not run"))
        assert await worker.call(lambda diary: diary.note("run")) == ["run"]

    with_diary(test)


def test_object_that_cannot_be_created_fails_the_start_and_ends_the_thread() -> None:
    async def main() -> None:
        worker = NativeWorker("broken", lambda: int("no number"), capacity=1)
        with pytest.raises(ValueError, match="no number"):
            await worker.start()
        await worker.close()

    asyncio.run(main())
    assert "broken" not in {thread.name for thread in threading.enumerate()}


def test_closing_finishes_the_running_call_and_cancels_those_that_wait() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        gate = Gate(worker)
        waiting = worker.call(lambda diary: diary.note("never"))
        closing = asyncio.create_task(worker.close())
        await asyncio.sleep(0)
        gate.open()
        await closing
        assert gate.passed.done()
        assert not gate.passed.cancelled()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    assert with_diary(test) == ["diary"]


def test_closed_worker_takes_nothing_and_may_be_closed_again() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        await worker.close()
        await worker.close()
        assert not worker.post(lambda diary: diary.note("late"))
        with pytest.raises(RuntimeError, match="diary is closed"):
            worker.call(lambda diary: diary.note("late"))

    with_diary(test)


def test_worker_that_was_never_started_can_be_closed() -> None:
    asyncio.run(NativeWorker("idle", dict, capacity=1).close())


def test_call_cancelled_before_its_turn_is_not_run_and_does_not_disturb_the_others() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        gate = Gate(worker)
        impatient = worker.call(lambda diary: diary.note("impatient"))
        patient = worker.call(lambda diary: diary.note("patient"))
        impatient.cancel()
        gate.open()
        assert await patient == ["patient"]

    with_diary(test)


def test_loop_runs_on_while_the_object_is_busy() -> None:
    async def test(worker: NativeWorker[Diary]) -> None:
        gate = Gate(worker)
        turns = 0
        while turns < 100:
            await asyncio.sleep(0)
            turns += 1
        assert not gate.passed.done()
        gate.open()
        await gate.passed

    with_diary(test)


def test_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        NativeWorker("none", dict, capacity=0)


# --- what never comes back ---------------------------------------------------------------------


async def until(condition: Callable[[], bool]) -> None:
    """Nothing tells that a worker takes jobs again, but that it takes one."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_function_that_hangs_is_left_alone_and_a_fresh_object_does_what_waits() -> None:
    created, let_go, done = [], threading.Event(), []

    def create() -> int:
        created.append(threading.get_ident())
        return len(created)

    async def main() -> None:
        worker: NativeWorker[int] = NativeWorker("test-worker", create, capacity=4, hang_s=0.2)
        await worker.start()
        assert worker.post(lambda _: let_go.wait(), lambda: done.append("hung"))
        assert worker.post(lambda _: None, lambda: done.append("next"))
        assert await worker.call(lambda native: native) == 2
        assert done == ["hung", "next"]
        let_go.set()
        await worker.close()

    asyncio.run(main())
    assert len(set(created)) == 2


def test_caller_of_a_function_that_hangs_is_told() -> None:
    let_go = threading.Event()

    async def main() -> None:
        worker = NativeWorker("test-worker", object, capacity=1, hang_s=0.2)
        await worker.start()
        with pytest.raises(WorkerHungError, match=r"no answer for 0\.2 s"):
            await worker.call(lambda _: let_go.wait())
        let_go.set()
        await worker.close()

    asyncio.run(main())


def test_nobody_takes_over_from_a_fourth_that_hangs_until_one_comes_back() -> None:
    let_go = threading.Event()

    async def main() -> None:
        worker = NativeWorker("test-worker", object, capacity=1, hang_s=0.1)
        await worker.start()
        for _ in range(MOST_HUNG):
            with pytest.raises(WorkerHungError):
                await worker.call(lambda _: let_go.wait())
        with pytest.raises(WorkerHungError):
            await worker.call(lambda _: "at once, without being run")
        assert not worker.post(lambda _: None)
        let_go.set()
        await until(lambda: worker.post(lambda _: None))
        assert await worker.call(lambda _: "works again") == "works again"
        await worker.close()

    asyncio.run(main())


def test_fresh_object_that_cannot_be_had_is_tried_again_later() -> None:
    let_go, created = threading.Event(), []

    def create() -> int:
        created.append(None)
        if len(created) == 2:
            raise ValueError("no memory")
        return len(created)

    async def main() -> None:
        worker: NativeWorker[int] = NativeWorker("test-worker", create, capacity=1, hang_s=0.2)
        await worker.start()
        hanging = worker.call(lambda _: let_go.wait())
        waiting = worker.call(lambda native: native)
        with pytest.raises(WorkerHungError):
            await hanging
        with pytest.raises(ValueError, match="no memory"):
            await waiting
        await until(lambda: worker.post(lambda _: None))
        assert await worker.call(lambda native: native) == 3
        let_go.set()
        await worker.close()

    asyncio.run(main())


def test_closing_does_not_wait_for_what_hangs() -> None:
    begun, let_go = threading.Event(), threading.Event()

    async def main() -> None:
        worker = NativeWorker("test-worker", object, capacity=1, hang_s=0.3)
        await worker.start()
        hanging = worker.call(lambda _: (begun.set(), let_go.wait()))
        waiting = worker.call(lambda _: None)
        await asyncio.to_thread(begun.wait)
        async with asyncio.timeout(10):
            await worker.close()
        assert waiting.cancelled()
        with pytest.raises(WorkerHungError):
            await hanging
        let_go.set()

    asyncio.run(main())


def test_closing_where_nobody_is_left_ends_at_once() -> None:
    let_go, created = threading.Event(), []

    def create() -> None:
        created.append(None)
        if len(created) == 2:
            raise ValueError("no memory")

    async def main() -> None:
        worker = NativeWorker("test-worker", create, capacity=1, hang_s=0.2)
        await worker.start()
        assert worker.unavailable is None
        hanging = worker.call(lambda _: let_go.wait())
        waiting = worker.call(lambda _: None)
        with pytest.raises(WorkerHungError):
            await hanging
        with pytest.raises(ValueError, match="no memory") as failure:
            await waiting
        assert worker.unavailable is failure.value
        closing = asyncio.create_task(worker.close())
        await asyncio.sleep(0)
        assert closing.done()
        let_go.set()

    asyncio.run(main())


def test_long_function_is_not_taken_for_one_that_hangs_while_others_came_back() -> None:
    async def main() -> None:
        worker = NativeWorker("test-worker", object, capacity=100, hang_s=0.3)
        await worker.start()
        for _ in range(20):
            worker.post(lambda _: threading.Event().wait(0.05))
        assert await worker.call(lambda _: "all done") == "all done"
        await worker.close()

    asyncio.run(main())


def test_one_that_hangs_gives_its_turn_to_the_others_and_who_waits_for_a_turn_does_not_hang() -> (
    None
):
    let_go, turns = threading.Event(), threading.Semaphore(1)

    async def main() -> None:
        first, second = (
            NativeWorker("test-worker", object, capacity=1, hang_s=hang_s, turns=turns)
            for hang_s in (0.8, 0.2)
        )
        await first.start()
        await second.start()
        hanging = first.call(lambda _: let_go.wait())
        waiting = second.call(lambda _: "in its turn")
        assert await waiting == "in its turn"
        with pytest.raises(WorkerHungError):
            await hanging
        assert await first.call(lambda _: "a fresh one") == "a fresh one"
        let_go.set()
        await first.close()
        await second.close()

    asyncio.run(main())
