"""The file of a journal: its tables, who may write it, how an older one is brought up to date. SQLite in WAL mode."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from monitor.errors import UsageError

logger = logging.getLogger(__name__)

VERSION: Final = 2
"""Of the tables below. Version 1, which held one source, is migrated; any other is refused."""
MEMORY: Final = ":memory:"
UNREADABLE: Final = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises over a file that is damaged."""
_TABLES: Final = (
    # A row's place in the table is the order in which events were announced.
    "CREATE TABLE events (source INTEGER NOT NULL, sequence INTEGER NOT NULL, at REAL NOT NULL, "
    "kind TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (source, sequence))",
    # newest: as of the last time that events were deleted; later ones are in the table of events.
    "CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, newest INTEGER NOT NULL)",
    "CREATE TABLE consumers (name TEXT PRIMARY KEY)",
    "CREATE TABLE delivered (consumer TEXT NOT NULL, source INTEGER NOT NULL, sequence INTEGER NOT NULL, "
    "PRIMARY KEY (consumer, source))",
    "CREATE TABLE journal (node TEXT NOT NULL)",
)
COPIED: Final = {
    "sources": "id, name, newest",
    "consumers": "name",
    "delivered": "consumer, source, sequence",
    "events": "rowid, source, sequence, at, kind, body",
}
"""Tables and columns that go from memory to the disk when it works again; all but the events the other way."""
_FROM_VERSION_1: Final = (
    "ALTER TABLE events RENAME TO events_1",
    "ALTER TABLE delivered RENAME TO delivered_1",
    "ALTER TABLE journal RENAME TO journal_1",
    *_TABLES,
    "INSERT INTO sources SELECT 1, source, coalesce((SELECT max(sequence) FROM events_1), 0) FROM journal_1",
    "INSERT INTO events SELECT 1, sequence, at, kind, body FROM events_1 ORDER BY sequence",
    "INSERT INTO consumers SELECT consumer FROM delivered_1",
    "INSERT INTO delivered SELECT consumer, 1, sequence FROM delivered_1",
    "DROP TABLE events_1",
    "DROP TABLE delivered_1",
    "DROP TABLE journal_1",
)


class JournalInUseError(UsageError):
    """Another process holds the file."""


def locked(path: Path) -> int:
    """Hold the file for this process alone; the descriptor to close in the end.

    Raises:
        UsageError: It cannot be written.
        JournalInUseError: Another process holds it.
    """
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


def opened(path: Path, node: str) -> sqlite3.Connection:
    """The journal of a machine's streams, made or brought up to date where needed.

    Raises:
        UsageError: It is none, damaged, of a version that is not known, or of another machine.
    """
    try:
        database = _connected(str(path))
    except UNREADABLE as error:
        raise damaged(path, error) from error
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0 and not database.execute("SELECT * FROM sqlite_master").fetchall():
            _create(database, node)
        elif version not in {1, VERSION}:
            raise UsageError(
                f"--journal {path}: has version {version}, and this monitor writes version {VERSION}. Move the file "
                "away; a new one is begun."
            )
        owner = _owner(database, version)
        if owner != node:
            raise UsageError(
                f"--journal {path}: belongs to node {owner}, not to {node}. Name another file, or the node that it "
                "belongs to."
            )
        if version == 1:
            _migrate(database, node)
            logger.info("the journal %s has been brought from version 1 to %d", path, VERSION)
    except UNREADABLE as error:
        database.close()
        raise damaged(path, error) from error
    except UsageError:
        database.close()
        raise
    return database


def _owner(database: sqlite3.Connection, version: int) -> str:
    """The machine whose streams a file holds."""
    row = database.execute("SELECT * FROM journal").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("it names no owner")
    owner = str(row[0])
    # Version 1 has /stser/<node>/<stream>.
    return "".join(owner.split("/")[2:3]) if version == 1 else owner


def _migrate(database: sqlite3.Connection, node: str) -> None:
    """From version 1: all of it or nothing."""
    database.execute("BEGIN")
    for statement in _FROM_VERSION_1:
        database.execute(statement)
    _own(database, node)


def damaged(path: Path, error: Exception) -> UsageError:
    """What to say of a file that cannot be read."""
    return UsageError(
        f"--journal {path}: is not a journal, or damaged ({error}). Move the file away; a new one is begun."
    )


def in_memory(node: str) -> sqlite3.Connection:
    """A journal that ends with the process."""
    database = _connected(MEMORY)
    _create(database, node)
    return database


def _create(database: sqlite3.Connection, node: str) -> None:
    """All tables or none, whenever the process is killed."""
    database.execute("BEGIN")
    for table in _TABLES:
        database.execute(table)
    _own(database, node)


def _own(database: sqlite3.Connection, node: str) -> None:
    database.execute("INSERT INTO journal VALUES (?)", (node,))
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


def checkpoint(path: Path) -> None:
    """Move the write-ahead log into the file; waits for the disk."""
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error as error:
        logger.debug("the journal's log stays long: %s", error)


def copy(table: str, there: sqlite3.Connection, here: sqlite3.Connection) -> None:
    """All rows of one of :data:`COPIED` from one journal to another."""
    columns = COPIED[table]
    rows = there.execute(f"SELECT {columns} FROM {table} ORDER BY rowid").fetchall()  # nosec B608 # noqa: S608
    marks = ", ".join("?" * (columns.count(",") + 1))
    here.executemany(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})", rows)  # nosec B608 # noqa: S608
