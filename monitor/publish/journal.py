"""The events of all streams as they were announced, kept for whoever missed them.

Every event is committed here before any channel has it. So a WebSocket client that comes back can
be told what it missed (``since``), the MQTT publisher drains what the broker has not had, and the
numbering goes on where it stopped, even after ``kill -9``. SQLite in WAL mode; bounded in age and number.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
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
_EXPIRE_EVERY_S: Final = 60.0
"""Where few events come; more often where they are kept for minutes only."""
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
        self._ahead_s = 0.0
        """Of the clock, which somebody may set, before the ticks, which nobody can."""
        self._sources: dict[str, _Source] = {}
        """All that have ever had events: their numbers go on."""
        self._kept: dict[str, None] = {}
        """Those of which events are kept."""
        self._consumers: dict[str, _Consumer] = {}
        self._place = 0
        """Of the newest event in the order of all."""
        self._appended = 0
        self._expiring: asyncio.Task[None] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """CloudEvents sources of which events are kept, those of earlier runs first."""
        return tuple(self._kept)

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
            self._read()
            self._ahead_s = self._clock() - self._ticks()
            self._take_back_the_future()
            self._expire()
        except (*UNREADABLE, ValueError, TypeError) as error:
            assert self._storage.path is not None
            await self.__aexit__(None, None, None)
            raise damaged(self._storage.path, error) from error
        self._expiring = asyncio.create_task(self._keep_expiring(), name="journal")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.wait([self._expiring])
        await self._storage.close()

    def append(self, event: WireEvent) -> None:
        """Keep an event. Returns when it would survive the process."""
        self._storage.try_disk_again()
        self._follow_clock()
        known = self._storage.write(lambda database: self._insert(event, database))
        self._place += 1
        known.newest = event.sequence
        self._sources[event.source] = known
        self._kept[event.source] = None
        for consumer in self._consumers.values():
            consumer.behind[event.source] = None
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
        # By their places: the clock may have been set between two events.
        rows = [
            row
            for name, at in been.items()
            for row in self._select("rowid", name, "sequence = ?", at)
        ]
        latest = max((place for (place,) in rows), default=0)  # expired, as all before them
        before = self._select(
            "sequence", source, "rowid <= ? ORDER BY sequence DESC LIMIT 1", latest
        )
        if before:
            return max(int(sequence) for (sequence,) in before)
        return self.before_kept(source)

    def before_kept(self, source: str) -> int:
        """Sequence before a source's oldest event that is kept; that of its newest where none is."""
        first = self._select("sequence", source, "sequence > 0 ORDER BY sequence LIMIT 1")
        return min((int(sequence) - 1 for (sequence,) in first), default=self.newest(source))

    def register(self, consumer: str) -> None:
        """Remember from now on what a consumer has had. One that is new has no need of what was before."""
        try:
            had = self._storage.write(lambda database: self._enrol(consumer, database))
        except UNREADABLE as error:
            logger.warning("the journal cannot remember what %s has had: %s", consumer, error)
            had = {name: known.newest for name, known in self._sources.items()}
        behind = {name: None for name, known in self._sources.items() if known.newest > had[name]}
        self._consumers[consumer] = _Consumer(had, behind)

    def _enrol(self, consumer: str, database: sqlite3.Connection) -> dict[str, int]:
        """What a consumer has had of each source."""
        new = database.execute("INSERT OR IGNORE INTO consumers VALUES (?)", (consumer,)).rowcount
        if new:
            database.executemany(
                "INSERT INTO delivered VALUES (?, ?, ?)",
                [(consumer, known.id, known.newest) for known in self._sources.values()],
            )
        rows = database.execute(
            "SELECT source, sequence FROM delivered WHERE consumer = ?", (consumer,)
        )
        had = {int(source): int(sequence) for source, sequence in rows}
        return {
            name: min(had.get(known.id, 0), known.newest) for name, known in self._sources.items()
        }

    def behind(self, consumer: str) -> Sequence[str]:
        """Sources of which a registered consumer has not had everything."""
        return tuple(self._consumers[consumer].behind)

    def delivered_to(self, consumer: str, source: str) -> int:
        """Sequence of the last event of a source that a registered consumer has had; 0 for none."""
        return self._consumers[consumer].had.get(source, 0)

    def set_delivered(self, consumer: str, source: str, sequence: int) -> None:
        """A consumer has had everything of a source up to this event."""
        # In memory where the disk fails, or the consumer would get the same events again and again.
        self._storage.write(
            lambda database: database.execute(
                "INSERT OR REPLACE INTO delivered VALUES (?, ?, ?)",
                (consumer, self._sources[source].id, sequence),
            )
        )
        reader = self._consumers[consumer]
        reader.had[source] = sequence
        if sequence >= self.newest(source):
            reader.behind.pop(source, None)

    def waiting(self) -> dict[str, int]:
        """Events that each consumer registered since the start has not had yet."""
        return {
            name: sum(self.newest(source) - reader.had.get(source, 0) for source in reader.behind)
            for name, reader in self._consumers.items()
        }

    def _insert(self, event: WireEvent, database: sqlite3.Connection) -> _Source:
        known = self._sources.get(event.source)
        if known is None:
            row = database.execute("INSERT INTO sources VALUES (NULL, ?, 0)", (event.source,))
            assert row.lastrowid is not None
            known = _Source(row.lastrowid, 0)
        database.execute(
            "INSERT INTO events (rowid, source, sequence, at, kind, body) VALUES (?, ?, ?, ?, ?, ?)",
            (
                self._place + 1,
                known.id,
                event.sequence,
                self._clock(),
                event.kind,
                event.body,
            ),
        )
        return known

    def _read(self) -> None:
        """What the file holds."""
        database = self._storage.database
        rows = database.execute(
            "SELECT name, id, newest, "
            "(SELECT max(sequence) FROM events WHERE events.source = sources.id) FROM sources"
        )
        for name, number, newest, kept in rows:
            self._sources[str(name)] = _Source(int(number), max(int(newest), int(kept or 0)))
            if kept is not None:
                self._kept[str(name)] = None
        (place,) = database.execute("SELECT max(rowid) FROM events").fetchone()
        self._place = int(place or 0)

    async def _keep_expiring(self) -> None:
        """Delete what has become too old while nothing happens, too."""
        while True:
            await asyncio.sleep(min(_EXPIRE_EVERY_S, self._settings.max_age_h * 3_600 / 10))
            if self._expire():
                self._storage.start_checkpoint()

    def _expire(self) -> bool:
        """Delete what is too old or too much; the numbering stays. Returns whether there was any."""
        self._follow_clock()
        try:
            with self._storage.database as database:
                last = self._last_to_delete(database)
                rows = database.execute(
                    "SELECT DISTINCT name FROM events JOIN sources ON id = source WHERE events.rowid <= ?",
                    (last,),
                )
                touched = [str(name) for (name,) in rows]
                if touched:
                    database.executemany(
                        "UPDATE sources SET newest = ? WHERE name = ?",
                        [(self.newest(name), name) for name in touched],
                    )
                    database.execute("DELETE FROM events WHERE rowid <= ?", (last,))
        except UNREADABLE as error:
            logger.warning("old events could not be deleted from the journal: %s", error)
            return False
        for name in touched:
            if not self._select("1", name, "sequence > 0 LIMIT 1"):
                self._kept.pop(name, None)
        return bool(touched)

    def _last_to_delete(self, database: sqlite3.Connection) -> int:
        """Place of the newest event that is too old or too much."""
        now = self._clock()
        row = database.execute(
            # Rows lie in the order of time: the search ends at the first that stays. One that an earlier
            # run has put into the future is none.
            "SELECT rowid FROM events WHERE at BETWEEN ? AND ? ORDER BY rowid LIMIT 1",
            (now - self._settings.max_age_h * 3_600, now + _CLOCK_WAS_SET_S),
        ).fetchone()
        too_old = self._place if row is None else int(row[0]) - 1
        return max(too_old, self._place - self._settings.max_events)

    def _follow_clock(self) -> None:
        """Where the clock was set, set what was written by it, too: events are as old as they were before."""
        now = self._clock()
        ahead_s = now - self._ticks()
        step_s = ahead_s - self._ahead_s
        if abs(step_s) > _CLOCK_WAS_SET_S:
            logger.info("the clock was set by %+.0f s; the journal follows", step_s)
            self._storage.write_to_all(
                # Those of an earlier run may have been written by a clock that was right.
                lambda database: database.execute(
                    "UPDATE events SET at = min(at + ?, ?)", (step_s, now)
                )
            )
        self._ahead_s = ahead_s

    def _take_back_the_future(self) -> None:
        """The clock of this run is behind that of the last one: nothing is younger than now."""
        now = self._clock()
        self._storage.write_to_all(
            lambda database: database.execute(
                "UPDATE events SET at = ? WHERE rowid > coalesce("
                "(SELECT rowid FROM events WHERE at <= ? ORDER BY rowid DESC LIMIT 1), 0)",
                (now, now),
            )
        )


def journal_path(node: str, stream: str) -> Path:
    """The journal of a stream in the user's state folder (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "stser-monitor" / f"{node}.{stream}.sqlite3"


@dataclass(slots=True)
class _Source:
    """What is known of one source's events."""

    id: int
    newest: int


@dataclass(slots=True)
class _Consumer:
    """What one that reads from here has had."""

    had: dict[str, int]
    """Sequence of the last event by source."""
    behind: dict[str, None]
    """Sources of which there is more."""


def _lost(source: str, first: int, last: int) -> Lost:
    return Lost(source, first, last, last - first + 1)
