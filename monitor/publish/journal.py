"""The events of one stream as they were announced, kept for whoever missed them.

Every event is committed here before any channel has it. So a WebSocket client that comes back can
be told what it missed (``since``), the MQTT publisher drains what the broker has not had, and the
numbering goes on where it stopped, even after ``kill -9``. SQLite in WAL mode; bounded in age and number.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from monitor.errors import UsageError
from monitor.events import WireEvent
from monitor.publish.outbox import Lost, Message

logger = logging.getLogger(__name__)

VERSION: Final = 1
"""Of the tables below; another one is refused."""
MEMORY: Final = ":memory:"
_TABLES: Final = (
    "CREATE TABLE events (sequence INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE delivered (consumer TEXT PRIMARY KEY, sequence INTEGER NOT NULL)",
    "CREATE TABLE journal (source TEXT NOT NULL)",
)
_EXPIRE_EVERY: Final = 64
_CHECKPOINT_EVERY: Final = 256
_TRY_DISK_AGAIN_S: Final = 30.0


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


class Journal:
    """The newest events of one source. Used on the event loop's thread; a commit does not wait for the disk.

    Where the disk is full or fails, events are kept in memory until it can be written again.

    Args:
        path: The file; None keeps everything in memory.
        source: CloudEvents source; a file belongs to one source.
        settings: How much is kept.
        clock: Seconds since the epoch, for the age.
        required: False keeps events in memory, and says so, where another process has the file.

    Raises:
        UsageError: On entry, where the file belongs to another source, another version or another
            process, or cannot be opened.
    """

    def __init__(
        self,
        path: Path | None,
        source: str,
        settings: JournalSettings,
        clock: Callable[[], float] = time.time,
        *,
        required: bool = True,
    ) -> None:
        self._path = path
        self._required = required
        self.source = source
        self._settings = settings
        self._clock = clock
        self._lock: int | None = None
        self._disk: sqlite3.Connection | None = None
        self._failed_at: float | None = None
        """When the disk failed last; None while it works."""
        self._checkpoint: asyncio.Task[None] | None = None
        self._newest = 0

    @property
    def newest(self) -> int:
        """Sequence of the newest event; 0 where there has been none."""
        return self._newest

    @property
    def durable(self) -> bool:
        """Whether events survive the process."""
        return self._disk is not None and self._failed_at is None

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._open(self._path)
        self._database = self._disk or _in_memory(self.source)
        self._newest = self._last_row()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
        if self._failed_at is not None:
            self._return_to_disk()
        self._database.close()
        if self._disk is not None and self._disk is not self._database:
            self._disk.close()
        if self._lock is not None:
            os.close(self._lock)

    def append(self, event: WireEvent) -> None:
        """Keep an event. Returns when it would survive the process."""
        row = (event.sequence, self._clock(), event.kind, event.body)
        if self._failed_at is not None and self._clock() - self._failed_at > _TRY_DISK_AGAIN_S:
            self._return_to_disk()
        try:
            self._insert(row)
        except sqlite3.Error as error:
            self._leave_disk(error)
            self._insert(row)
        self._newest = event.sequence
        if event.sequence % _EXPIRE_EVERY == 0:
            self._expire()
        if event.sequence % _CHECKPOINT_EVERY == 0 and self.durable:
            self._start_checkpoint()

    def after(self, sequence: int, limit: int = 100) -> list[Message | Lost]:
        """What came after an event, oldest first, with what is no longer kept in its place.

        Args:
            sequence: Of the last event that is known; 0 for none.
            limit: Rows to read at most.
        """
        found: list[Message | Lost] = []
        try:
            rows = self._database.execute(
                "SELECT sequence, kind, body FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        except sqlite3.Error as error:
            logger.error("the journal %s cannot be read: %s", self._path, error)
            rows = []
        for number, kind, body in rows:
            if number > sequence + 1:
                found.append(self._lost(sequence + 1, number - 1))
            found.append(Message(self.source, kind, number, body))
            sequence = number
        if len(rows) < limit and sequence < self._newest:
            found.append(self._lost(sequence + 1, self._newest))
        return found

    def delivered_to(self, consumer: str) -> int:
        """Sequence of the last event that a consumer has had; the newest for one that is new."""
        row = self._database.execute(
            "SELECT sequence FROM delivered WHERE consumer = ?", (consumer,)
        ).fetchone()
        return self._newest if row is None else min(int(row[0]), self._newest)

    def set_delivered(self, consumer: str, sequence: int) -> None:
        """A consumer has had everything up to this event."""
        try:
            with self._database:
                self._database.execute(
                    "INSERT OR REPLACE INTO delivered VALUES (?, ?)", (consumer, sequence)
                )
        except sqlite3.Error as error:
            # At worst the consumer gets some events once more after a restart.
            logger.debug("the journal could not note what %s has had: %s", consumer, error)

    def waiting(self) -> dict[str, int]:
        """Events that each consumer that reads from here has not had yet."""
        try:
            rows = self._database.execute("SELECT consumer, sequence FROM delivered").fetchall()
        except sqlite3.Error:
            return {}
        return {str(consumer): self._newest - int(sequence) for consumer, sequence in rows}

    def _open(self, path: Path) -> None:
        try:
            self._lock = _locked(path)
        except JournalInUseError as error:
            if self._required:
                raise
            logger.warning("%s Until then its events are kept in memory only.", error)
            return
        try:
            self._disk = _opened(path, self.source)
        except UsageError:
            os.close(self._lock)
            raise

    def _lost(self, first: int, last: int) -> Lost:
        return Lost(self.source, first, last, last - first + 1)

    def _last_row(self) -> int:
        (newest,) = self._database.execute("SELECT max(sequence) FROM events").fetchone()
        return int(newest or 0)

    def _insert(self, row: tuple[int, float, str, bytes]) -> None:
        with self._database:
            self._database.execute("INSERT INTO events VALUES (?, ?, ?, ?)", row)

    def _expire(self) -> None:
        """Delete what is too old or too much; the newest event stays, for the numbering."""
        settings = self._settings
        before = self._clock() - settings.max_age_h * 3_600
        try:
            with self._database:
                self._database.execute(
                    "DELETE FROM events WHERE sequence < ? AND (at < ? OR sequence <= ?)",
                    (self._newest, before, self._newest - settings.max_events),
                )
        except sqlite3.Error as error:
            logger.warning("old events could not be deleted from the journal: %s", error)

    # --- the disk ------------------------------------------------------------------------------

    def _leave_disk(self, error: sqlite3.Error) -> None:
        if self._database is not self._disk or self._disk is None:
            raise error
        logger.error(
            "the journal %s cannot be written (%s): events are kept in memory until it can, and would not "
            "survive a restart. Make room on the disk, or name another file with --journal.",
            self._path,
            error,
        )
        self._failed_at = self._clock()
        self._database = _in_memory(self.source)
        with self._database:
            self._database.executemany(
                "INSERT INTO delivered VALUES (?, ?)",
                self._disk.execute("SELECT consumer, sequence FROM delivered").fetchall(),
            )

    def _return_to_disk(self) -> None:
        assert self._disk is not None
        memory = self._database
        try:
            with self._disk:
                for table in ("events", "delivered"):
                    rows = memory.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
                    if rows:
                        marks = ", ".join("?" * len(rows[0]))
                        self._disk.executemany(
                            f"INSERT OR REPLACE INTO {table} VALUES ({marks})",  # noqa: S608
                            rows,
                        )
        except sqlite3.Error:
            self._failed_at = self._clock()
            return
        memory.close()
        self._database, self._failed_at = self._disk, None
        logger.warning("the journal %s can be written again", self._path)

    def _start_checkpoint(self) -> None:
        """Move the write-ahead log into the file on another thread: it waits for the disk."""
        assert self._path is not None
        if self._checkpoint is None or self._checkpoint.done():
            self._checkpoint = asyncio.get_running_loop().create_task(
                asyncio.to_thread(_checkpoint, self._path)
            )


def journal_path(node: str, stream: str) -> Path:
    """The journal of a stream in the user's state folder (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "stser-monitor" / f"{node}.{stream}.sqlite3"


def _locked(path: Path) -> int:
    """Hold the file for this process alone; the descriptor to close in the end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Created here, so that no other user can ever read it; SQLite's own files take its mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(
            f"--journal {path}: cannot be written ({error.strerror}). Name a file in a folder that you may "
            "write to, or 'off'."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise JournalInUseError(
            f"--journal {path}: another monitor is writing it. Give each stream a name of its own with "
            "--stream, or name another file."
        ) from error
    return descriptor


class JournalInUseError(UsageError):
    """Another process holds the file."""


def _opened(path: Path, source: str) -> sqlite3.Connection:
    try:
        database = _connected(str(path))
    except sqlite3.Error as error:
        raise _damaged(path, error) from error
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0 and not database.execute("SELECT * FROM sqlite_master").fetchall():
            _create(database, source)
        elif version != VERSION:
            raise UsageError(
                f"--journal {path}: has version {version}, and this monitor writes version {VERSION}. Move the file "
                "away; a new one is begun."
            )
        (owner,) = database.execute("SELECT source FROM journal").fetchone()
        if owner != source:
            raise UsageError(
                f"--journal {path}: belongs to {owner}, not to {source}. Name another file, or the node "
                "and stream that it belongs to."
            )
    except sqlite3.Error as error:
        database.close()
        raise _damaged(path, error) from error
    except UsageError:
        database.close()
        raise
    return database


def _damaged(path: Path, error: sqlite3.Error) -> UsageError:
    return UsageError(
        f"--journal {path}: is not a journal, or damaged ({error}). Move the file away; a new one is begun."
    )


def _in_memory(source: str) -> sqlite3.Connection:
    database = _connected(MEMORY)
    _create(database, source)
    return database


def _create(database: sqlite3.Connection, source: str) -> None:
    """All tables or none, whenever the process is killed."""
    database.execute("BEGIN")
    for table in _TABLES:
        database.execute(table)
    database.execute("INSERT INTO journal VALUES (?)", (source,))
    database.execute(f"PRAGMA user_version = {VERSION}")
    database.commit()


def _connected(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    # The log survives the process without waiting for the disk; a power cut may cost the last seconds.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    # Deleted words are overwritten, not just forgotten.
    database.execute("PRAGMA secure_delete = ON")
    return database


def _checkpoint(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error as error:
        logger.debug("the journal's log stays long: %s", error)
