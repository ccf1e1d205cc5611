"""The events of all streams as they were announced, kept for whoever missed them.

Every event is committed here before any channel has it. So a WebSocket client that comes back can
be told what it missed (``since``), the MQTT publisher drains what the broker has not had, and the
numbering goes on where it stopped, even after ``kill -9``. SQLite in WAL mode; bounded in age and number.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from config.loader import user_path
from monitor.events import WireEvent
from monitor.publish.journal_file import UNREADABLE, damaged
from monitor.publish.journal_storage import JournalStorage
from monitor.publish.outbox import Lost, Message

logger = logging.getLogger(__name__)

_EXPIRE_EVERY: Final = 64
_CHECKPOINT_EVERY: Final = 256
_CLOCK_WAS_SET_S: Final = 60.0
"""By more than it drifts between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    """What is kept of the events, where and for how long."""

    path: str = ""
    """A file, or ``off`` to keep events in memory only. Empty: a file in the user's state folder for a live
    stream, memory for a file that is read as fast as it goes."""
    max_age_h: float = 24.0
    """Older events are deleted."""
    max_events: int = 100_000
    """More events than this, and the oldest are deleted."""

    def __post_init__(self) -> None:
        if self.max_age_h <= 0:
            raise ValueError(f"journal.max_age_h ({self.max_age_h:g}) must be more than 0.")
        if self.max_events < 1:
            raise ValueError(f"journal.max_events ({self.max_events}) must be at least 1.")
        user_path(self.path, "journal.path")


def since_boot() -> float:
    """Seconds that nobody can set, and that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Journal:
    """The newest events of one machine's streams. Used on the event loop's thread; a commit does not wait for
    the disk.

    Where the disk is full or fails, events are kept in memory until it can be written again.

    Args:
        path: The file; None keeps everything in memory.
        node: The machine; a file belongs to one.
        settings: How much is kept.
        clock: Seconds since the epoch, for the age.
        required: False keeps events in memory, and says so, where another process has the file.

    Raises:
        UsageError: On entry, where the file belongs to another machine, another version or another
            process, or cannot be opened.
    """

    def __init__(
        self,
        path: Path | None,
        node: str,
        settings: JournalSettings,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = since_boot,
        *,
        required: bool = True,
    ) -> None:
        self._storage = JournalStorage(path, node, ticks, required=required)
        self._settings = settings
        self._clock = clock
        self._ticks = ticks
        self._ahead_s = clock() - ticks()
        """Of the clock, which somebody may set, before the ticks, which nobody can."""
        self._sources: dict[str, _Source] = {}
        self._appended = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """CloudEvents sources that have had events, those of earlier runs first."""
        return tuple(self._sources)

    def newest(self, source: str) -> int:
        """Sequence of the source's newest event; 0 where there has been none."""
        known = self._sources.get(source)
        return 0 if known is None else known.newest

    @property
    def durable(self) -> bool:
        """Whether events survive the process."""
        return self._storage.durable

    @property
    def failing(self) -> bool:
        """Whether events that should survive the process are kept in memory only."""
        return self._storage.path is not None and not self.durable

    async def __aenter__(self) -> Self:
        self._storage.open()
        try:
            self._sources = _read_sources(self._storage.database)
        except (*UNREADABLE, ValueError, TypeError) as error:
            assert self._storage.path is not None
            await self.__aexit__(None, None, None)
            raise damaged(self._storage.path, error) from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._storage.close()

    def append(self, event: WireEvent) -> None:
        """Keep an event. Returns when it would survive the process."""
        self._storage.try_disk_again()
        known = self._storage.write(lambda database: self._insert(event, database))
        known.newest = event.sequence
        self._sources[event.source] = known
        self._appended += 1
        if self._appended % _EXPIRE_EVERY == 0:
            self._expire()
        if self._appended % _CHECKPOINT_EVERY == 0:
            self._storage.start_checkpoint()

    def after(self, source: str, sequence: int, limit: int = 100) -> list[Message | Lost]:
        """What came after an event, oldest first, with what is no longer kept in its place.

        Args:
            source: Whose events.
            sequence: Of the last event that is known; 0 for none.
            limit: Rows to read at most.
        """
        known = self._sources.get(source)
        if known is None or sequence >= known.newest:
            return []
        found: list[Message | Lost] = []
        wanted = "sequence > ? ORDER BY sequence LIMIT ?"
        rows = self._select("sequence, kind, body", source, wanted, sequence, limit)[:limit]
        for number, kind, body in rows:
            if number > sequence + 1:
                found.append(_lost(source, sequence + 1, number - 1))
            found.append(Message(source, kind, number, body))
            sequence = number
        if len(rows) < limit and sequence < known.newest:
            found.append(_lost(source, sequence + 1, known.newest))
        return found

    def _select(
        self, columns: str, source: str, condition: str, *values: float
    ) -> list[tuple[Any, ...]]:
        """Of a source's events, wherever they lie."""
        rows: list[tuple[Any, ...]] = []
        known = self._sources.get(source)
        if known is None:
            return rows
        query = f"SELECT {columns} FROM events WHERE source = ? AND {condition}"  # nosec B608 # noqa: S608
        for database in self._storage.readable:
            try:
                rows += database.execute(query, (known.id, *values)).fetchall()
            except UNREADABLE as error:
                logger.error("the journal %s cannot be read: %s", self._storage.path, error)
        return rows

    def at_that_time(self, source: str, known: Mapping[str, int]) -> int:
        """Sequence of the newest event of a source when the latest of some others was kept.

        Args:
            source: Whose events.
            known: Sequences by source. Where none of these has been, it is the newest of all.
        """
        been = {name: at for name, at in known.items() if 0 < at <= self.newest(name)}
        if not been:
            return self.newest(source)
        rows = [
            row for name, at in been.items() for row in self._select("at", name, "sequence = ?", at)
        ]
        latest = max((at for (at,) in rows), default=0.0)  # they have expired, as all before them
        before = self._select("sequence", source, "at <= ? ORDER BY sequence DESC LIMIT 1", latest)
        if before:
            return max(int(sequence) for (sequence,) in before)
        first = self._select("sequence", source, "sequence > 0 ORDER BY sequence LIMIT 1")
        return min((int(sequence) for (sequence,) in first), default=1) - 1

    def register(self, consumer: str) -> None:
        """Remember from now on what a consumer has had. One that is new has no need of what was before."""
        try:
            with self._storage.database:
                if self._storage.database.execute(
                    "INSERT OR IGNORE INTO consumers VALUES (?)", (consumer,)
                ).rowcount:
                    self._storage.database.executemany(
                        "INSERT INTO delivered VALUES (?, ?, ?)",
                        [(consumer, known.id, known.newest) for known in self._sources.values()],
                    )
        except sqlite3.Error as error:
            logger.warning("the journal cannot remember what %s has had: %s", consumer, error)

    def delivered_to(self, consumer: str, source: str) -> int:
        """Sequence of the last event of a source that a registered consumer has had; 0 for none."""
        known = self._sources.get(source)
        if known is None:
            return 0
        row = self._storage.database.execute(
            "SELECT sequence FROM delivered WHERE consumer = ? AND source = ?",
            (consumer, known.id),
        ).fetchone()
        return 0 if row is None else min(int(row[0]), known.newest)

    def set_delivered(self, consumer: str, source: str, sequence: int) -> None:
        """A consumer has had everything of a source up to this event."""
        # In memory where the disk fails, or the consumer would get the same events again and again.
        self._storage.write(
            lambda database: database.execute(
                "INSERT OR REPLACE INTO delivered VALUES (?, ?, ?)",
                (consumer, self._sources[source].id, sequence),
            )
        )

    def waiting(self) -> dict[str, int]:
        """Events that each consumer that reads from here has not had yet."""
        try:
            rows = self._storage.database.execute("SELECT name FROM consumers").fetchall()
            return {
                str(consumer): sum(
                    known.newest - self.delivered_to(consumer, source)
                    for source, known in self._sources.items()
                )
                for (consumer,) in rows
            }
        except sqlite3.Error:
            return {}

    def _insert(self, event: WireEvent, database: sqlite3.Connection) -> _Source:
        known = self._sources.get(event.source)
        if known is None:
            row = database.execute("INSERT INTO sources VALUES (NULL, ?, 0)", (event.source,))
            assert row.lastrowid is not None
            known = _Source(row.lastrowid, 0)
        database.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            (known.id, event.sequence, self._clock(), event.kind, event.body),
        )
        return known

    def _expire(self) -> None:
        """Delete what is too old or too much; the numbering stays."""
        settings = self._settings
        before = self._clock() - settings.max_age_h * 3_600
        try:
            with self._storage.database:
                self._follow_clock()
                self._storage.database.executemany(
                    "UPDATE sources SET newest = ? WHERE id = ?",
                    [(known.newest, known.id) for known in self._sources.values()],
                )
                self._storage.database.execute(
                    # Rows lie in the order of time: the search ends at the first that stays.
                    "DELETE FROM events WHERE rowid < max("
                    "coalesce((SELECT rowid FROM events WHERE at >= ? ORDER BY rowid LIMIT 1), "
                    "(SELECT max(rowid) + 1 FROM events)), "
                    "(SELECT max(rowid) + 1 FROM events) - ?)",
                    (before, settings.max_events),
                )
        except sqlite3.Error as error:
            logger.warning("old events could not be deleted from the journal: %s", error)

    def _follow_clock(self) -> None:
        """Where the clock was set, set what was written by it, too: events are as old as they were before."""
        ahead_s = self._clock() - self._ticks()
        step_s = ahead_s - self._ahead_s
        if abs(step_s) > _CLOCK_WAS_SET_S:
            logger.info("the clock was set by %+.0f s; the journal follows", step_s)
            self._storage.database.execute("UPDATE events SET at = at + ?", (step_s,))
        self._ahead_s = ahead_s


def journal_path(node: str, stream: str) -> Path:
    """The journal of a stream in the user's state folder (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "stser-monitor" / f"{node}.{stream}.sqlite3"


@dataclass(slots=True)
class _Source:
    """What is known of one source's events."""

    id: int
    newest: int


def _read_sources(database: sqlite3.Connection) -> dict[str, _Source]:
    rows = database.execute(
        "SELECT name, id, max(newest, coalesce("
        "(SELECT max(sequence) FROM events WHERE events.source = sources.id), 0)) FROM sources"
    )
    return {str(name): _Source(int(number), int(newest)) for name, number, newest in rows}


def _lost(source: str, first: int, last: int) -> Lost:
    return Lost(source, first, last, last - first + 1)
