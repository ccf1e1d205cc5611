"""The program itself, as a user starts it: a process with flags, standard streams and signals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Event = dict[str, Any]

DEADLINE_S = 30.0
"""For whatever a test waits for; never waited out where all is well."""


def program() -> list[str]:
    """The installed ``stser-monitor``, or the same from the source tree."""
    installed = shutil.which("stser-monitor", path=str(Path(sys.executable).parent))
    return [installed] if installed is not None else [sys.executable, "-m", "monitor"]


def environment_of(extra: Mapping[str, str]) -> dict[str, str]:
    """The test's environment, with the embedded recogniser whatever the user has in the cache."""
    return {**os.environ, "STSER_VOSK_MODEL": "stser-tiny-en", **extra}


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run that ended by itself has left."""

    code: int
    output: bytes
    log: str

    @property
    def events(self) -> list[Event]:
        """Each line of standard output, which holds nothing but events."""
        return [json.loads(line) for line in self.output.splitlines()]

    def of(self, kind: str) -> list[Event]:
        """Events of one kind, such as ``emotion.utterance``."""
        return [event for event in self.events if event["type"] == f"org.stser.{kind}.v1"]


def run_monitor(
    *flags: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> Finished:
    """Run the program to its end."""
    done = subprocess.run(
        [*program(), *map(str, flags)],
        input=stdin,
        capture_output=True,
        env=environment_of(environment or {}),
        timeout=2 * DEADLINE_S,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr.decode())


class RunningMonitor:
    """A run that goes on until it is told to end, its output read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._news = asyncio.Condition()
        self._over = False
        self.lines: list[bytes] = []
        """Standard output, line by line."""
        self.log = ""
        """Standard error."""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def follow(self) -> None:
        """Read both streams until the program closes them."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_output())
            tasks.create_task(self._follow_log())
        async with self._news:
            self._over = True
            self._news.notify_all()

    async def wait_for(self, kind: str, count: int = 1) -> list[Event]:
        """Wait until ``count`` events of this kind were printed; returns all of that kind."""
        await self._wait(lambda: len(self.of(kind)) >= count, f"{count} {kind}")
        return self.of(kind)

    async def wait_for_log(self, pattern: str) -> re.Match[str]:
        """Wait until standard error matches; returns the match."""
        await self._wait(lambda: re.search(pattern, self.log), repr(pattern))
        match = re.search(pattern, self.log)
        assert match is not None
        return match

    async def port(self) -> int:
        """The port that the program serves on, which it prints."""
        return int((await self.wait_for_log(r"http://127\.0\.0\.1:(\d+)"))[1])

    def of(self, kind: str) -> list[Event]:
        """Events of one kind so far."""
        events = (json.loads(line) for line in self.lines)
        return [event for event in events if event["type"] == f"org.stser.{kind}.v1"]

    async def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self._process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end; returns the exit code."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._process.wait()

    async def _wait(self, ready: Any, what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S), self._news:
                await self._news.wait_for(lambda: ready() or self._over)
        except TimeoutError:
            raise AssertionError(f"{what} did not come. Log:\n{self.log}") from None
        assert ready(), f"the program ended before {what}. Log:\n{self.log}"

    async def _follow_output(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self.lines.append(line.removesuffix(b"\n"))
                self._news.notify_all()

    async def _follow_log(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            async with self._news:
                self.log += line.decode()
                self._news.notify_all()


@asynccontextmanager
async def running_monitor(
    *flags: str | Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[RunningMonitor]:
    """Start the program; kill what is left of it on the way out."""
    process = await asyncio.create_subprocess_exec(
        *program(),
        *map(str, flags),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment_of(environment or {}),
        limit=1 << 20,
    )
    monitor = RunningMonitor(process)
    following = asyncio.create_task(monitor.follow())
    try:
        yield monitor
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await following
