"""Readers that are slow, stand still or go away, behind real pipes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from monitor.events import WireEvent
from monitor.publish import lines
from monitor.publish.console import Console
from monitor.publish.jsonl import JsonLines
from monitor.publish.lines import MOST_WAITING
from tests.support.happenings import UTTERANCE, encoded, numbered

DEADLINE_S = 20.0
EVENTS = numbered(2 * MOST_WAITING)
MIC = EVENTS[0].source
A_PIPE_FULL = 12
"""Events."""
LEFT = 60
"""More than the pipe and its reader's buffer hold, and not so many that streams would wait for the reader."""


class Reader:
    """The end of a pipe from which nothing is read yet."""

    def __init__(self, end: BinaryIO) -> None:
        self._end = end
        self._rest = b""

    async def lines(self, count: int) -> list[bytes]:
        """Read so many."""
        told: list[bytes] = []
        while len(told) < count:
            line, end, rest = self._rest.partition(b"\n")
            if end:
                told.append(line)
                self._rest = rest
            else:
                await self._more()
        return told

    async def _more(self) -> None:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._end, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._end)
        self._rest += os.read(self._end.fileno(), 4_096)

    async def until_sequence(self, last: int) -> list[tuple[int, int]]:
        """Read until the event of this sequence, or a gap that ends with it; returns what each line stands for."""
        told: list[tuple[int, int]] = []
        while not told or told[-1][1] < last:
            told += spans(await self.lines(1))
        return told

    def close(self) -> None:
        self._end.close()


@contextmanager
def pipe() -> Iterator[tuple[Reader, BinaryIO]]:
    """Both ends of a pipe that holds a dozen events."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    with os.fdopen(reading, "rb") as end, os.fdopen(writing, "wb") as writer:
        yield Reader(end), writer


def spans(told: list[bytes]) -> list[tuple[int, int]]:
    """Sequences that lines stand for."""
    events: list[Any] = [json.loads(line) for line in told]
    return [
        (int(event["sequence"]),) * 2
        if "sequence" in event
        else (int(event["data"]["from_sequence"]), int(event["data"]["to_sequence"]))
        for event in events
    ]


async def publish(output: JsonLines, events: list[WireEvent]) -> None:
    for event in events:
        output.publish(event)
        await output.lines.settled()


def test_reader_that_stands_still_holds_up_neither_the_loop_nor_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lines, "_GIVE_UP_S", 0.05)

    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S), JsonLines(writer) as output:
            for event in EVENTS:
                output.publish(event)

    with pipe() as (_, writer):
        asyncio.run(main())
    assert ["are left out" in caplog.messages[0], "nobody reads" in caplog.messages[1]] == [
        True
    ] * 2
    assert len(caplog.messages) == 2


def test_reader_that_is_slow_does_not_hold_up_the_end_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "_GIVE_UP_S", 0.05)

    async def main() -> int:
        async with asyncio.timeout(DEADLINE_S):
            output = await JsonLines(writer).__aenter__()
            for event in EVENTS:
                output.publish(event)
            leaving, n_read = asyncio.create_task(output.__aexit__()), 0
            while not leaving.done():  # slowly, and always before it is given up
                await reader.lines(A_PIPE_FULL)
                n_read += A_PIPE_FULL
                await asyncio.wait([leaving], timeout=0.01)
            return n_read

    with pipe() as (reader, writer):
        assert asyncio.run(main()) < MOST_WAITING / 2


def test_what_a_slow_reader_lost_is_told_where_it_was_lost() -> None:
    async def main() -> list[tuple[int, int]]:
        async with asyncio.timeout(DEADLINE_S), JsonLines(writer) as output:
            for event in EVENTS[:-1]:
                output.publish(event)
            told = spans(await reader.lines(MOST_WAITING))
            output.publish(EVENTS[-1])
            return told + await reader.until_sequence(len(EVENTS))

    with pipe() as (reader, writer):
        told = asyncio.run(main())
    assert told[-1] == (len(EVENTS), len(EVENTS))
    assert len(told) < len(EVENTS)
    assert [at for first, last in told for at in range(first, last + 1)] == [
        event.sequence for event in EVENTS
    ]


def test_what_was_lost_last_is_told_in_the_end() -> None:
    async def main() -> list[tuple[int, int]]:
        async with asyncio.timeout(DEADLINE_S):
            output = await JsonLines(writer).__aenter__()
            for event in EVENTS:
                output.publish(event)
            leaving = asyncio.create_task(output.__aexit__())
            told = await reader.until_sequence(len(EVENTS))
            await leaving
            return told

    with pipe() as (reader, writer):
        first, last = asyncio.run(main())[-1]
    assert (first < last, last) == (True, len(EVENTS))


def test_stream_that_can_wait_for_its_reader_loses_nothing_however_late_that_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "_GIVE_UP_S", 0.01)

    async def main() -> list[bytes]:
        async with asyncio.timeout(DEADLINE_S):
            output = await JsonLines(writer, patient={MIC}).__aenter__()
            publishing = asyncio.create_task(publish(output, EVENTS))
            assert await asyncio.wait([publishing], timeout=0.05) == (set(), {publishing})
            told = await reader.lines(len(EVENTS) - LEFT)
            await publishing
            leaving = asyncio.create_task(output.__aexit__())
            assert await asyncio.wait([leaving], timeout=0.05) == (set(), {leaving})
            told += await reader.lines(LEFT)
            await leaving
            return told

    with pipe() as (reader, writer):
        assert asyncio.run(main()) == [event.body for event in EVENTS]


def test_nobody_waits_for_a_reader_once_the_program_is_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "_GIVE_UP_S", 0.05)

    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S):
            output = await JsonLines(writer, patient={MIC}).__aenter__()
            publishing = asyncio.create_task(publish(output, EVENTS))
            assert await asyncio.wait([publishing], timeout=0.05) == (set(), {publishing})
            output.lines.hurry()
            await publishing
            assert output.lines.waiting > MOST_WAITING, "what cannot be lost is kept to the end"
            await output.__aexit__()

    with pipe() as (_, writer):
        asyncio.run(main())


def test_reader_that_goes_away_holds_up_nobody_who_waits_for_it() -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S), JsonLines(writer, patient={MIC}) as output:
            publishing = asyncio.create_task(publish(output, EVENTS))
            assert await asyncio.wait([publishing], timeout=0.05) == (set(), {publishing})
            reader.close()
            await publishing

    with pipe() as (reader, writer):
        asyncio.run(main())


def test_pipe_that_somebody_else_has_made_non_blocking_gets_everything() -> None:
    async def main() -> list[bytes]:
        async with asyncio.timeout(DEADLINE_S), JsonLines(writer, patient={MIC}) as output:
            os.set_blocking(writer.fileno(), False)
            publishing = asyncio.create_task(publish(output, EVENTS))
            told = await reader.lines(len(EVENTS))
            await publishing
            return told

    with pipe() as (reader, writer):
        assert asyncio.run(main()) == [event.body for event in EVENTS]


def test_people_are_told_how_many_lines_they_did_not_get() -> None:
    (utterance,) = encoded(UTTERANCE)

    async def main() -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            console = await Console(writer, colour=False).__aenter__()
            for _ in range(3 * MOST_WAITING):
                console.publish(utterance)
            leaving = asyncio.create_task(console.__aexit__())
            (line,) = await reader.lines(1)
            while b"left out" not in line:
                (line,) = await reader.lines(1)
            await leaving
            return line

    with (
        pipe() as (reader, raw),
        open(raw.fileno(), "w", encoding="utf-8", closefd=False) as writer,
    ):
        assert asyncio.run(main()).startswith(b"mic: ")


def test_file_that_is_appended_to_is_closed_in_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with JsonLines(tmp_path / "events") as output:
            output.publish(EVENTS[0])
        assert output.lines._stream.closed

    asyncio.run(main())
