"""Events as JSON Lines, to standard output or a file."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

from monitor.errors import UsageError
from monitor.events import WireEvent
from monitor.publish.wire import body_without_transcript

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Events that are written to standard output or a file (``--events``)."""

    transcript: bool = True
    """False leaves the words out here."""


class JsonLines:
    """One event a line, flushed at once. A reader that goes away ends only the output.

    Args:
        output: A file to append to, opened on entry; or an open stream, which stays open.
        transcript: Whether the words are written.

    Raises:
        UsageError: On entry, where the file cannot be written.
    """

    def __init__(self, output: Path | BinaryIO, *, transcript: bool = True) -> None:
        self._output = output
        self._transcript = transcript
        self._stream: BinaryIO | None = None

    async def __aenter__(self) -> Self:
        if isinstance(self._output, Path):
            self._stream = open_for_events(self._output)
        else:
            self._stream = self._output
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and isinstance(self._output, Path):
            stream.close()

    def line(self, event: WireEvent) -> bytes | None:
        """The line of an event, without a line feed; None for none."""
        return event.body

    def publish(self, event: WireEvent) -> None:
        """Write one line."""
        if not self._transcript:
            event = replace(event, body=body_without_transcript(event.body))
        if self._stream is None or (line := self.line(event)) is None:
            return
        try:
            self._stream.write(line + b"\n")
            self._stream.flush()
        except OSError as error:  # a closed pipe or a full disk
            logger.warning("events are no longer written: %s", error)
            self._stream = None


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
