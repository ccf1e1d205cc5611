"""Events as JSON Lines, to standard output or a file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

from monitor.events import WireEvent
from monitor.publish.lines import Lines
from monitor.publish.outbox import Lost
from monitor.publish.wire import body_without_transcript, gap


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Events that are written to standard output or a file (``--events``)."""

    transcript: bool = True
    """False leaves the words out here."""


class JsonLines:
    """One event a line, written at once. A reader that goes away ends only the output.

    Args:
        output: A file to append to, opened on entry; or an open stream, which stays open.
        transcript: Whether the words are written.
        patient: CloudEvents sources of streams that wait for a slow reader.

    Raises:
        UsageError: On entry, where the file cannot be written.
    """

    def __init__(
        self,
        output: Path | BinaryIO,
        *,
        transcript: bool = True,
        patient: Collection[str] = (),
    ) -> None:
        self.lines = Lines(output, patient=patient, told=self.gap)
        self._transcript = transcript

    async def __aenter__(self) -> Self:
        await self.lines.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.lines.__aexit__(*exc_info)

    def line(self, event: WireEvent) -> bytes | None:
        """The line of an event, without a line feed; None for none."""
        return event.body

    def gap(self, lost: Lost) -> bytes | None:
        """What tells that events were left out; None where nothing can."""
        return gap(lost, "slow_client", datetime.now(UTC)) + b"\n"

    def publish(self, event: WireEvent) -> None:
        """Have one line written."""
        if not self._transcript:
            event = replace(event, body=body_without_transcript(event.body))
        line = self.line(event)
        if line is not None and self.lines.takes(event):
            self.lines.write(line + b"\n")
