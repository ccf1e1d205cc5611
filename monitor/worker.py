"""One thread owns one native object: creates it, uses it, frees it.

Inference sessions and recognisers are not safe to share and take long to call. A
:class:`NativeWorker` keeps each on a thread of its own, so that the event loop never waits in
native code and no two threads ever meet in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Job(Generic[T]):
    """One function to apply to the native object."""

    apply: Callable[[T], Any]
    answer: asyncio.Future[Any] | None
    """Where the caller awaits the result; None for a posted function."""


class NativeWorker(Generic[T]):
    """A named thread that applies functions to one object, in the order in which they were given.

    All methods are called on the event loop's thread. The native object never leaves its own
    thread: functions must not return it or keep it.

    Args:
        name: Of the thread, for debuggers and logs.
        create: Makes the native object, on the worker's thread.
        capacity: Posted functions that may wait; one more is refused. Calls do not count, because
            whoever awaits an answer is bounded already.
    """

    def __init__(self, name: str, create: Callable[[], T], *, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._create = create
        self._capacity = capacity
        self._jobs: deque[_Job[T]] = deque()
        self._changed = threading.Condition()
        self._posted = 0
        self._closing = False
        self._failure: BaseException | None = None
        # A daemon: a second Ctrl-C must end the program even in the middle of a native call.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._created: asyncio.Future[None]
        self._ended: asyncio.Future[None]

    async def start(self) -> None:
        """Start the thread; returns when the object has been created, raises what that raised."""
        self._loop = asyncio.get_running_loop()
        self._created = self._loop.create_future()
        self._ended = self._loop.create_future()
        self._thread.start()
        try:
            await self._created
        except BaseException:
            self._stop()
            raise

    def call(self, function: Callable[[T], R]) -> asyncio.Future[R]:
        """Queue ``function`` at once; await the result for what it returns or raises.

        Where a posted function has failed since the last call, that error is raised instead and
        ``function`` is not run. Nor is it where the result is cancelled before its turn comes.

        Raises:
            RuntimeError: The worker is closed.
        """
        answer: asyncio.Future[R] = self._loop.create_future()
        with self._changed:
            if self._closing:
                raise RuntimeError(f"{self._thread.name} is closed: it takes no further calls")
            self._jobs.append(_Job(function, answer))
            self._changed.notify()
        return answer

    def post(self, function: Callable[[T], object]) -> bool:
        """Queue ``function`` without waiting for it; False where the queue is full or closed.

        What it raises is reported by the next :meth:`call`.
        """
        with self._changed:
            if self._closing or self._posted >= self._capacity:
                return False
            self._posted += 1
            self._jobs.append(_Job(function, None))
            self._changed.notify()
        return True

    async def close(self) -> None:
        """Free the object and end the thread. Idempotent.

        What is still queued is not done; calls that wait for it are cancelled. The function that is
        running is waited for, because native code cannot be interrupted.
        """
        if not self._thread.ident:
            return
        self._stop()
        await asyncio.shield(self._ended)
        self._thread.join()

    def _stop(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _run(self) -> None:
        """The thread: create, apply, free."""
        try:
            native = self._create()
        except BaseException as error:  # noqa: BLE001 - start() raises it
            self._answer(self._created, error=error)
        else:
            self._answer(self._created)
            while (job := self._next()) is not None:
                self._do(job, native)
            del native
        for job in self._jobs:
            if job.answer is not None:
                self._settle(job.answer.cancel)
        self._jobs.clear()
        self._answer(self._ended)

    def _next(self) -> _Job[T] | None:
        """The next job; None once the worker is closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing)
            if self._closing:
                return None
            job = self._jobs.popleft()
            self._posted -= job.answer is None
            return job

    def _do(self, job: _Job[T], native: T) -> None:
        if job.answer is not None and job.answer.cancelled():
            return
        if job.answer is not None and self._failure is not None:
            self._answer(job.answer, error=self._failure)
            self._failure = None
            return
        try:
            result = job.apply(native)
        except BaseException as error:  # noqa: BLE001 - this call or the next one raises it
            _release_locals(error)
            if job.answer is None:
                self._failure = error
            else:
                self._answer(job.answer, error=error)
        else:
            if job.answer is not None:
                self._answer(job.answer, result)
        finally:
            del native  # an error that somebody keeps would keep this frame

    def _answer(
        self, future: asyncio.Future[Any], result: object = None, error: BaseException | None = None
    ) -> None:
        def settle() -> None:
            if future.done():  # the caller has been cancelled
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._settle(settle)

    def _settle(self, settle: Callable[[], object]) -> None:
        # A loop that is gone has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle)


def _release_locals(error: BaseException) -> None:
    """Let go of the native object, which the frames of a traceback hold.

    It would be freed on whichever thread drops the error, whenever that is. Files and lines stay.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)  # skips the frame that still runs: the caller's
        link = link.__cause__ or link.__context__
