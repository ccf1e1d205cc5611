"""One thread owns one native object: creates it, uses it, frees it.

Inference sessions and recognisers are not safe to share and take long to call. A
:class:`NativeWorker` keeps each on a thread of its own, so that the event loop never waits in
native code and no two threads ever meet in it. A call that never comes back cannot be interrupted:
its thread is left alone with its object, and a fresh thread with a fresh object takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

LOOKS: Final = 5
"""How often a function must be found running within ``hang_s``: a process that was stopped looks but once."""
MOST_HUNG: Final = 3
"""Threads left alone at a time: each may hold a model. Beyond it, nothing takes over until one comes back."""


class WorkerHungError(Exception):
    """A function did not come back in time."""


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One function to apply to the native object."""

    apply: Callable[[T], Any]
    answer: asyncio.Future[Any] | None
    """Where the caller awaits the result; None for a posted function."""
    turn: bool = True
    """Whether it runs in a turn; creating does not."""
    done: Callable[[], object] | None = None
    """Called on the loop's thread when a posted function has run, or never will."""


@dataclass(slots=True, eq=False)
class _Owner(Generic[T]):
    """A thread with the object that it has created."""

    running: _Job[T] | None
    """What it is busy with; None while it waits. Creating counts."""
    thread: threading.Thread | None = None
    queues: bool = False
    """It waits for its turn, with a function in hand."""
    left_alone: bool = False
    """It hangs: whatever it comes back with is of no interest any more."""


class NativeWorker(Generic[T]):
    """A named thread that applies functions to one object, in the order in which they were given.

    All methods are called on the event loop's thread. The native object never leaves its own
    thread: functions must not return it or keep it.

    Args:
        name: Of the thread, for debuggers and logs.
        create: Makes the native object, on the worker's thread.
        capacity: Posted functions that may wait; one more is refused. Calls do not count, because
            whoever awaits an answer is bounded already.
        hang_s: A function that runs for longer hangs, and a fresh thread and object take over.
        turns: Shared by workers of which only so many shall run at a time; waiting for a turn is no hanging.
    """

    def __init__(
        self,
        name: str,
        create: Callable[[], T],
        *,
        capacity: int,
        hang_s: float = math.inf,
        turns: threading.Semaphore | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._name = name
        self._create = create
        self._capacity = capacity
        self._hang_s = hang_s
        self._turns = turns if turns is not None else threading.Semaphore()
        self._jobs: deque[_Job[T]] = deque()
        self._changed = threading.Condition()
        self._posted = 0
        self._closing = False
        self._failure: BaseException | None = None
        self._owner: _Owner[T] | None = None
        """Who takes jobs; None before the start, and where a fresh object could not be had."""
        self._unavailable: BaseException = WorkerHungError(f"{name} has not been started")
        self._retry_s = 0.0
        self._hung = 0
        self._seen: _Job[T] | None = None
        self._looks = 0
        self._watching: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._created: asyncio.Future[None]
        self._ended: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Start the thread; returns when the object has been created, raises what that raised."""
        self._loop = asyncio.get_running_loop()
        self._created = self._loop.create_future()
        self._ended = self._loop.create_future()
        self._take_over()
        try:
            await self._created
        except BaseException:
            self._stop()
            raise

    def call(self, function: Callable[[T], R]) -> asyncio.Future[R]:
        """Queue ``function`` at once; await the result for what it returns or raises.

        Where a posted function has failed since the last call, that error is raised instead and
        ``function`` is not run. Nor is it where the result is cancelled before its turn comes.
        The result raises :class:`WorkerHungError` where the function does not come back.

        Raises:
            RuntimeError: The worker is closed.
        """
        answer: asyncio.Future[R] = self._loop.create_future()
        if self._closing:
            raise RuntimeError(f"{self._name} is closed: it takes no further calls")
        if self._available():
            self._queue(_Job(function, answer))
        else:
            answer.set_exception(self._unavailable)
        return answer

    def post(
        self, function: Callable[[T], object], done: Callable[[], object] | None = None
    ) -> bool:
        """Queue ``function`` without waiting for it; False where the queue is full or closed.

        What it raises is reported by the next :meth:`call`. Where it was queued, ``done`` is called once, on the
        loop's thread, when it has run or never will.
        """
        if self._closing or self._posted >= self._capacity or not self._available():
            return False
        self._queue(_Job(function, None, done=done))
        return True

    @property
    def unavailable(self) -> BaseException | None:
        """Why nobody takes functions at the moment; None where somebody does."""
        return self._unavailable if self._owner is None else None

    async def close(self) -> None:
        """Free the object and end the thread. Idempotent.

        What is still queued is not done; calls that wait for it are cancelled. The function that is
        running is waited for, because native code cannot be interrupted, unless it hangs.
        """
        if self._ended is None:
            return
        self._stop()
        limit_s = self._hang_s if math.isfinite(self._hang_s) else None
        if self._owner is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await asyncio.shield(self._ended)
                    if self._owner is not None and self._owner.thread is not None:
                        self._owner.thread.join()
        self._forget_jobs()

    # --- on the loop's thread ------------------------------------------------------------------

    def _queue(self, job: _Job[T]) -> None:
        with self._changed:
            self._posted += job.answer is None
            self._jobs.append(job)
            self._changed.notify_all()
        self._watch()

    def _available(self) -> bool:
        """Whether somebody takes jobs, after another try where it is time for one."""
        if self._owner is None and self._hung < MOST_HUNG and self._loop.time() >= self._retry_s:
            self._take_over()
        return self._owner is not None

    def _take_over(self) -> None:
        owner = self._owner = _Owner(_Job(lambda _: None, None, turn=False))
        # A daemon: a second Ctrl-C must end the program even in the middle of a native call.
        owner.thread = threading.Thread(
            target=self._run, args=(owner,), name=self._name, daemon=True
        )
        owner.thread.start()

    def _watch(self) -> None:
        if self._watching is None and math.isfinite(self._hang_s):
            self._watching = self._loop.call_later(self._hang_s / LOOKS, self._look)

    def _look(self) -> None:
        """Whether what runs is what ran the last times, too."""
        self._watching = None
        owner = self._owner
        if owner is None:
            return
        job = owner.running
        if job is None and not self._jobs and not owner.queues:
            return
        self._looks = self._looks + 1 if job is not None and job is self._seen else 0
        self._seen = job
        if job is None or self._looks < LOOKS or not self._leave_alone(owner, job):
            self._watch()

    def _leave_alone(self, owner: _Owner[T], job: _Job[T]) -> bool:
        """Have a fresh thread take over from one that hangs; False where it has just come back."""
        error = WorkerHungError(f"no answer for {self._hang_s:g} s")
        with self._changed:
            if owner.running is not job:
                return False
            owner.left_alone = True
            self._owner, self._failure = None, None
        if job.turn:
            self._turns.release()
        self._hung += 1
        self._unavailable = error
        logger.error("%s hangs: %s; a fresh one takes over", self._name, error)
        self._conclude(job, error=error)
        if self._closing:
            return True
        if self._available():
            self._watch()
        else:
            logger.error("%s: %d hang already, none takes over", self._name, self._hung)
            self._forget_jobs(error)
        return True

    def _was_created(self, error: BaseException | None) -> None:
        if not self._created.done():
            if error is None:
                self._created.set_result(None)
            else:
                self._created.set_exception(error)
        elif error is not None:
            logger.error("%s: no fresh one can be had: %s", self._name, error)
            self._owner, self._unavailable = None, error
            self._retry_s = self._loop.time() + self._hang_s
            self._forget_jobs(error)

    def _has_ended(self, owner: _Owner[T]) -> None:
        if owner.left_alone:
            self._hung -= 1
            logger.warning("%s: one that hung has come back, and is gone", self._name)
        elif owner is self._owner:
            self._forget_jobs()
            assert self._ended is not None
            self._ended.set_result(None)

    def _forget_jobs(self, error: BaseException | None = None) -> None:
        """Nobody does what is queued: its callers are cancelled, or told why."""
        with self._changed:
            jobs = [*self._jobs]
            self._jobs.clear()
            self._posted = 0
        for job in jobs:
            if error is None and job.answer is not None:
                job.answer.cancel()
            else:
                self._conclude(job, error=error)

    def _conclude(
        self, job: _Job[T], result: object = None, error: BaseException | None = None
    ) -> None:
        if job.done is not None:
            job.done()
        if job.answer is None or job.answer.done():  # the caller may have been cancelled
            return
        if error is not None:
            job.answer.set_exception(error)
        else:
            job.answer.set_result(result)

    def _stop(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    # --- on the worker's thread ----------------------------------------------------------------

    def _run(self, owner: _Owner[T]) -> None:
        """The thread: create, apply, free."""
        try:
            native = self._create()
        except BaseException as error:  # noqa: BLE001 - start() raises it, or the next call
            failure = error
            if not owner.left_alone:
                self._settle(lambda: self._was_created(failure))
        else:
            if not owner.left_alone:
                self._settle(lambda: self._was_created(None))
            while (job := self._next(owner)) is not None:
                self._turns.acquire()
                owner.running, owner.queues = job, False
                if self._do(owner, job, native):
                    self._turns.release()
            del native
        self._settle(lambda: self._has_ended(owner))

    def _next(self, owner: _Owner[T]) -> _Job[T] | None:
        """The next job; None once the worker is closing, or another thread has taken over."""
        with self._changed:
            owner.running = None
            self._changed.wait_for(lambda: self._jobs or self._closing or owner.left_alone)
            if self._closing or owner.left_alone:
                return None
            job, owner.queues = self._jobs.popleft(), True
            self._posted -= job.answer is None
            return job

    def _do(self, owner: _Owner[T], job: _Job[T], native: T) -> bool:
        """Run a function; False where it was left alone meanwhile."""
        result, error = None, None
        if job.answer is not None and job.answer.cancelled():
            pass
        elif job.answer is not None and self._failure is not None:
            error, self._failure = self._failure, None
        else:
            try:
                result = job.apply(native)
            except BaseException as raised:  # noqa: BLE001 - this call or the next one raises it
                _release_locals(raised)
                error = raised
            finally:
                del native  # an error that somebody keeps would keep this frame
        with self._changed:
            if owner.left_alone:  # it has been concluded
                return False
            owner.running = None
            if job.answer is None:
                self._failure = error or self._failure
        if job.answer is not None or job.done is not None:
            self._settle(lambda: self._conclude(job, result, error))
        return True

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
