"""Where a journal's rows lie: in its file, or in memory while that cannot be written."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from monitor.errors import UsageError
from monitor.publish.journal_file import (
    COPIED,
    JournalInUseError,
    checkpoint,
    copy,
    in_memory,
    locked,
    opened,
)

logger = logging.getLogger(__name__)

_TRY_DISK_AGAIN_S: Final = 30.0

T = TypeVar("T")


class JournalStorage:
    """One journal's connections. Used on the event loop's thread; a commit does not wait for the disk.

    Args:
        path: The file; None keeps everything in memory.
        node: The machine; a file belongs to one.
        ticks: Seconds that nobody can set.
        required: False keeps rows in memory, and says so, where another process has the file.
    """

    def __init__(
        self, path: Path | None, node: str, ticks: Callable[[], float], *, required: bool
    ) -> None:
        self.path: Final = path
        self._node = node
        self._ticks = ticks
        self._required = required
        self._lock: int | None = None
        self._disk: sqlite3.Connection | None = None
        self._failed_at: float | None = None
        """When the disk failed last; None while it works."""
        self._owed: list[Callable[[sqlite3.Connection], object]] = []
        """Changes that the disk is to have before what is in memory."""
        self._checkpoint: asyncio.Task[None] | None = None

    @property
    def durable(self) -> bool:
        """Whether rows survive the process."""
        return self._disk is not None and self._failed_at is None

    @property
    def readable(self) -> tuple[sqlite3.Connection, ...]:
        """All that can be read, a disk that is full, too: first the disk, then what is in memory alone."""
        return tuple(dict.fromkeys(filter(None, (self._disk, self.database))))

    def open(self) -> None:
        """Begin.

        Raises:
            UsageError: The file belongs to another machine, another version or another process, or
                cannot be opened.
        """
        if self.path is not None:
            self._open(self.path)
        self.database = self._disk or in_memory(self._node)
        """What is written to now."""

    def _open(self, path: Path) -> None:
        try:
            self._lock = locked(path)
        except JournalInUseError as error:
            if self._required:
                raise
            logger.warning("%s Until then its events are kept in memory only.", error)
            return
        try:
            self._disk = opened(path, self._node)
        except UsageError:
            os.close(self._lock)
            raise

    async def close(self) -> None:
        """End; what is in memory alone goes to the disk where that works again."""
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
        if self._failed_at is not None:
            self._return_to_disk()
        self.database.close()
        if self._disk is not None and self._disk is not self.database:
            self._disk.close()
        if self._lock is not None:
            os.close(self._lock)

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change in a transaction, in memory where the disk fails; returns what it returns."""
        try:
            with self.database:
                return change(self.database)
        except sqlite3.Error as error:
            self._leave_disk(error)
        with self.database:
            return change(self.database)

    def write_to_all(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """The same where it is for every row: those on a disk that fails have it when it works again."""
        self.write(change)
        if self._failed_at is not None:
            self._owed.append(change)

    def try_disk_again(self) -> None:
        """Where it failed a while ago: put there what is in memory alone, and go on there."""
        if self._failed_at is not None and self._ticks() - self._failed_at > _TRY_DISK_AGAIN_S:
            self._return_to_disk()

    def start_checkpoint(self) -> None:
        """Move the write-ahead log into the file on another thread: it waits for the disk."""
        if self.path is None or not self.durable:
            return
        if self._checkpoint is None or self._checkpoint.done():
            self._checkpoint = asyncio.get_running_loop().create_task(
                asyncio.to_thread(checkpoint, self.path)
            )

    def _leave_disk(self, error: sqlite3.Error) -> None:
        if self.database is not self._disk or self._disk is None:
            raise error
        logger.error(
            "the journal %s cannot be written (%s): events are kept in memory until it can, and would not "
            "survive a restart. Make room on the disk, or name another file with --journal.",
            self.path,
            error,
        )
        self._failed_at = self._ticks()
        self.database = in_memory(self._node)
        with self.database:
            for table in ("sources", "consumers", "delivered"):
                copy(table, self._disk, self.database)

    def _return_to_disk(self) -> None:
        assert self._disk is not None
        memory = self.database
        try:
            with self._disk:
                for change in self._owed:
                    change(self._disk)
                for table in COPIED:
                    copy(table, memory, self._disk)
        except sqlite3.Error:
            self._failed_at = self._ticks()
            return
        memory.close()
        self._owed.clear()
        self.database, self._failed_at = self._disk, None
        logger.warning("the journal %s can be written again", self.path)
