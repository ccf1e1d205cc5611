"""A bound on memory that the program keeps by itself: it sheds what it can, and ends in order before it is killed."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import logging
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor.errors import OutOfMemoryError

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
LOOKS_TO_SHED: Final = 10
"""So often in a row more than the limit is held, in spite of what was shed, before the program ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """How much the program may hold."""

    limit_mb: float = 0.0
    """Beyond it, provisional verdicts are left out; if that does not help, the program ends in order. 0: no limit."""

    def __post_init__(self) -> None:
        if self.limit_mb and not 50.0 <= self.limit_mb <= 1e6:
            raise ValueError(
                f"memory.limit_mb ({self.limit_mb:g}) must be 0 or from 50 to 1000000: the models alone take 50."
            )


LIMITS: Final = (
    (resource.RLIMIT_AS, "address space", "ulimit -v", "LimitAS", 700),
    (resource.RLIMIT_DATA, "data", "ulimit -d", "LimitDATA", 350),
)
"""What the system may limit, how it is called, and the MB that one stream with the embedded recogniser needs of it."""


def check_limits() -> None:
    """See that the system's limits leave what loading the models takes.

    Raises:
        OutOfMemoryError: They do not; says which, and how to bound memory instead.
    """
    for number, what, command, unit, needed_mb in LIMITS:
        limit, _ = resource.getrlimit(number)
        if limit != resource.RLIM_INFINITY and limit < needed_mb << 20:
            raise OutOfMemoryError(
                f"this process may have {limit >> 20} MB of {what} ({command}, or {unit} of its unit), and needs "
                f"{needed_mb}, most of which it never touches. Lift that limit; what bounds memory that is really held "
                "is memory.limit_mb, or MemoryMax of the unit."
            )


def ran_out(error: BaseException) -> bool:
    """Whether an error, or one that is part of it or led to it, is that there was no memory."""
    if isinstance(error, BaseExceptionGroup):
        return any(ran_out(part) for part in error.exceptions)
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    told = ("bad_alloc", "failed to map segment", "annot allocate memory", "can't start new thread")
    if isinstance(error, MemoryError) or any(words in str(error) for words in told):
        return True
    return error.__cause__ is not None and ran_out(error.__cause__)


def held_mb() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class MemoryWatch:
    """Looks at the memory now and then.

    Args:
        settings: The limit.
        spare: Told to begin or to end leaving out what can be left out.
        stop: Ends the program in order.
        held: Megabytes held.

    Attributes:
        exceeded: Megabytes for which it has told the program to end; 0 while it has not.
    """

    def __init__(
        self,
        settings: MemorySettings,
        *,
        spare: Callable[[bool], None],
        stop: Callable[[], None],
        held: Callable[[], float] = held_mb,
    ) -> None:
        self._limit_mb = settings.limit_mb
        self._spare = spare
        self._stop = stop
        self._held = held
        self._looks = 0
        self.exceeded = 0.0

    async def run(self) -> None:
        """Look until cancelled; returns at once where there is no limit."""
        while self._limit_mb:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Once."""
        held = self._held()
        if held <= self._limit_mb:
            if self._looks:
                logger.info("memory is within its limit again: %.0f MB", held)
                self._spare(False)
            self._looks = 0
            return
        self._looks += 1
        if self._looks == 1:
            logger.warning("%.0f MB of memory are held, the limit is %g", held, self._limit_mb)
            self._spare(True)
            _give_back()
        elif self._looks == LOOKS_TO_SHED:
            self.exceeded = held
            self._stop()


def _give_back() -> None:
    """Let go of garbage, and of what the C library keeps for later."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc only
    if trim is not None:
        trim(0)
