"""What is kept of the events: the journal."""

from __future__ import annotations

import tempfile
from pathlib import Path

from monitor.assembly import choose_journal, host_name, journal_file
from monitor.doctor.finding import Finding, Status, problem
from monitor.errors import UsageError
from monitor.settings import MonitorSettings


async def journal(settings: MonitorSettings) -> Finding:
    """Whether the journal can be written; one that is missing is not made."""
    if settings.journal.path == "off":
        return Finding("journal", Status.NOTE, "Off: events do not survive the monitor.")
    node = settings.node or host_name()
    path = journal_file(settings, node)
    try:
        if not _exists(path):
            return Finding("journal", Status.OK, f"{path} can be made.")
        async with choose_journal(settings, node, offline=False) as found:
            durable = found.durable
    except UsageError as error:
        return problem(
            "journal", error, "Name another file with --journal, or 'off' to keep events in memory."
        )
    if not durable:
        return Finding(
            "journal",
            Status.NOTE,
            f"{path} is another monitor's: events would be kept in memory only.",
            "Stop the other monitor, or name another file with --journal.",
        )
    return Finding("journal", Status.OK, f"{path} can be written.")


def _exists(path: Path) -> bool:
    """Whether the file is there.

    Raises:
        UsageError: It is not, and cannot be made.
    """
    try:
        if path.exists():
            return True
        folder = next(folder for folder in path.parents if folder.exists())
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError as error:
        raise UsageError(f"--journal {path}: cannot be written ({error.strerror}).") from error
