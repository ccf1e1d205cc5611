"""Events as lines of a file or a pipe."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from pathlib import Path

import pytest

from monitor.errors import UsageError
from monitor.publish.jsonl import JsonLines
from tests.support.happenings import EVERY, encoded, numbered
from tests.support.lines import written


async def write(output: JsonLines, count: int = 2) -> None:
    async with output:
        for event in numbered(count):
            output.publish(event)


def test_lines_are_the_very_bytes_of_the_events_and_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"before\n")

    async def main() -> None:
        async with JsonLines(path) as output:
            for event in events:
                output.publish(event)
                # At once: who follows the file need not wait for the next event.
                await written(output.lines)
                assert path.read_bytes().endswith(event.body + b"\n")

    events = encoded(*EVERY)
    asyncio.run(main())
    assert path.read_bytes().splitlines() == [b"before", *(event.body for event in events)]


def test_stream_that_was_lent_stays_open() -> None:
    stream = io.BytesIO()
    asyncio.run(write(JsonLines(stream)))
    assert len(stream.getvalue().splitlines()) == 2


def test_reader_that_goes_away_ends_only_the_output(caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with caplog.at_level(logging.WARNING), os.fdopen(writing, "wb", buffering=0) as stream:
        asyncio.run(write(JsonLines(stream)))
    assert len(caplog.messages) == 1
    assert "no longer written" in caplog.messages[0]


def test_file_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)missing/events.*Name a file"):
        asyncio.run(write(JsonLines(tmp_path / "missing" / "events.jsonl")))
