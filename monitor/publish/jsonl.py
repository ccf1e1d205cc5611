"""Events as JSON Lines, to standard output or a file."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from monitor.errors import UsageError
from monitor.events import WireEvent

logger = logging.getLogger(__name__)


class JsonLines:
    """One event a line, flushed at once. A reader that goes away ends only the output."""

    def __init__(self, output: BinaryIO, *, owned: bool = False) -> None:
        self._output: BinaryIO | None = output
        self._owned = owned

    @classmethod
    def to_file(cls, path: Path) -> Self:
        """Append to a file.

        Raises:
            UsageError: The file cannot be written.
        """
        return cls(open_for_events(path), owned=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owned and self._output is not None:
            self._output.close()

    def publish(self, event: WireEvent) -> None:
        """Write one line."""
        if self._output is None:
            return
        try:
            self._output.write(event.body + b"\n")
            self._output.flush()
        except OSError as error:  # a closed pipe or a full disk
            logger.warning("events are no longer written: %s", error)
            self._output = None


def open_for_events(path: Path) -> BinaryIO:
    """A file to append events to.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        return path.open("ab")
    except OSError as error:
        raise UsageError(
            f"--events {path}: cannot be written ({error.strerror}). "
            "Name a file in a folder that you may write to."
        ) from error
