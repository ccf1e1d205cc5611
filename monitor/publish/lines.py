"""Lines about events on their way to a file, a pipe or a terminal.

They are written on a thread of its own, so that a reader that stands still holds up no stream that cannot wait, no
other channel and no Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import threading
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from monitor.errors import UsageError
from monitor.events import WireEvent
from monitor.publish.outbox import Lost, one_more

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 1_024
"""Lines; beyond it, what is said of a stream that cannot wait is left out."""
_ENOUGH_WAITING: Final = 64
"""Lines; from here on, streams that can wait do."""
_GIVE_UP_S: Final = 2.0
"""On the way out, a reader that takes nothing for so long is given up."""
_MOST_WAITS: Final = 5
"""Of this length; then one that is slow is given up, too."""


class Lines:
    """Written in order, each at once. A reader that goes away ends only the output.

    Args:
        output: A file to append to, opened on entry; or an open stream, which stays open.
        patient: CloudEvents sources of streams that wait for the reader (:meth:`settled`): nothing of theirs is left
            out, and in the end the reader is waited for until :meth:`hurry`.
        told: What to write where something was left out; None for nothing.

    Raises:
        UsageError: On entry, where the file cannot be written.
    """

    def __init__(
        self,
        output: Path | BinaryIO,
        *,
        patient: Collection[str] = (),
        told: Callable[[Lost], bytes | None] = lambda _: None,
    ) -> None:
        self._output = output
        self._patient = patient
        self._told = told
        self._waiting: deque[bytes] = deque()
        self._news = threading.Semaphore(0)
        """One for each line that waits, and one for the end."""
        self._lost: dict[str, Lost] = {}
        """By source, not told yet."""
        self._told_of_loss = False
        self._over = True
        """Nothing is written any more, or yet."""
        self._hurried = False
        self._awaited = False
        """Somebody waits for few lines to wait."""
        self._moved = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._stream = self._opened()
        self._loop = asyncio.get_running_loop()
        self._over = False
        # A daemon: a reader that takes nothing must not keep the program from its end.
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for lost in self._lost.values():
            self._tell(lost)
        self._news.release()
        n_waits = 0
        while not self._over:
            n_waiting = len(self._waiting)
            self._moved.clear()
            limit_s = _GIVE_UP_S if self._hurried or not self._patient else None
            try:
                async with asyncio.timeout(limit_s):
                    await self._moved.wait()
            except TimeoutError:
                n_waits += 1
                if len(self._waiting) == n_waiting or n_waits == _MOST_WAITS:
                    logger.warning(
                        "%d lines could not be written: nobody reads them in time", self.waiting
                    )
                    self._over = True
                    return
        self._thread.join()
        if isinstance(self._output, Path):
            self._stream.close()

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether what is said of a stream that cannot wait is left out."""
        return self.waiting >= MOST_WAITING

    def takes(self, event: WireEvent) -> bool:
        """Whether there is room for what is to be said of an event; where there is none, it is lost."""
        if self._over:
            return False
        if event.source not in self._patient and self.full:
            self._lose(event)
            return False
        lost = self._lost.pop(event.source, None)
        if lost is not None:
            self._tell(lost)
        return True

    def write(self, line: bytes) -> None:
        """Have something written, whole lines at best. Returns at once; from any thread."""
        if not self._over:
            self._waiting.append(line)
            self._news.release()

    async def settled(self) -> None:
        """Wait until few lines wait."""
        while self._held_up:
            self._awaited = True
            self._moved.clear()
            if self._held_up:  # still, now that the thread knows
                await self._moved.wait()

    def hurry(self) -> None:
        """The program is to end: nobody waits for the reader for long any more."""
        self._hurried = True
        self._moved.set()

    @property
    def _held_up(self) -> bool:
        return self.waiting >= _ENOUGH_WAITING and not self._over and not self._hurried

    def _opened(self) -> Any:
        """Without a buffer: its lock, held by a thread that hangs, would abort the program at its end."""
        if not isinstance(self._output, Path):
            self._output.flush()
            return getattr(self._output, "raw", self._output)
        try:
            return self._output.open("ab", buffering=0)
        except OSError as error:
            raise UsageError(
                f"--events {self._output}: cannot be written ({error.strerror}). "
                "Name a file in a folder that you may write to."
            ) from error

    def _lose(self, event: WireEvent) -> None:
        if not self._told_of_loss:
            self._told_of_loss = True
            logger.warning("nobody reads what is written of the events: the newest are left out")
        if event.sequence:  # else said in passing: nobody is told that it was missed
            lost = self._lost.get(event.source)
            self._lost[event.source] = one_more(lost, event.source, event.sequence)

    def _tell(self, lost: Lost) -> None:
        line = self._told(lost)
        if line is not None:
            self.write(line)

    # --- on the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._news.acquire() and self._waiting:
                self._put_out(self._waiting[0])
                self._waiting.popleft()
                if self._awaited and len(self._waiting) < _ENOUGH_WAITING:
                    self._awaited = False
                    self._say_moved()
        except OSError as error:  # a closed pipe or a full disk
            if not self._over:
                logger.warning("events are no longer written: %s", error)
        self._over = True
        self._say_moved()

    def _put_out(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            count = self._stream.write(rest)
            if count is None:  # whoever shares it does not want to wait
                select.select((), (self._stream,), ())
            rest = rest[count or 0 :]
        self._stream.flush()

    def _say_moved(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._moved.set)
