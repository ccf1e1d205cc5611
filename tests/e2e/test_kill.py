"""``kill -9`` at any moment, with several streams: nothing that was announced on any channel is lost or changes."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from monitor.client import MonitorClient
from tests.support.broker import Mosquitto, running_mosquitto
from tests.support.monitor_process import DEADLINE_S, running_monitor
from tests.support.processes import free_port
from tests.support.speech import SAMPLE_RATE_HZ, silence, write_wav

KILLS = 8
LONGEST_LIFE_S = 2.5
"""From the start of the process in every other run, else from the first event."""
STREAMS = ("mic", "door")
GUEST = "kitchen"
"""A client's stream, which comes back with each run."""
SOURCES = [f"/stser/robot/{name}" for name in (*STREAMS, GUEST)]

Place = tuple[str, int]
"""Source and sequence."""


def babble(seconds: float, seed: int) -> np.ndarray:
    """Noise that comes and goes: many short segments, and a verdict for each."""
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, int(0.3 * SAMPLE_RATE_HZ))
    once = np.concatenate([noise.astype(np.float32), silence(1.0)])
    return np.tile(once, round(seconds * SAMPLE_RATE_HZ / len(once)))


def place(event: dict[str, Any]) -> Place:
    """Where an event belongs; 0 for one that is said in passing."""
    return event["source"], int(event.get("sequence", 0))


def kept(journal: Path) -> dict[Place, bytes]:
    """Every event of the journal."""
    with closing(sqlite3.connect(journal)) as database:
        rows = database.execute(
            "SELECT name, sequence, body FROM events JOIN sources ON sources.id = events.source"
        )
        return {(name, sequence): bytes(body) for name, sequence, body in rows}


class Channels:
    """What each channel has told over all runs, in order."""

    def __init__(self) -> None:
        self.printed: list[bytes] = []
        self.by_broker: list[bytes] = []
        self.by_client: list[Place] = []
        self._furthest: dict[str, Counter[str]] = defaultdict(Counter)
        self._news = asyncio.Event()

    async def listen(self, broker: Mosquitto, ready: asyncio.Event) -> None:
        protocol = aiomqtt.ProtocolVersion.V5
        async with aiomqtt.Client("127.0.0.1", broker.port, protocol=protocol) as client:
            await client.subscribe("stser/robot/+/event/#", qos=1)
            ready.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                self.by_broker.append(message.payload)
                self._came("broker", place(json.loads(message.payload)))

    async def follow(self, port: int) -> None:
        since = dict.fromkeys((*STREAMS, GUEST), 0)
        client = MonitorClient(
            f"ws://127.0.0.1:{port}", since=since, wait_least_s=0.02, wait_most_s=0.05
        )
        async for event in client:
            self.by_client.append((event.source, event.sequence or 0))
            self._came("client", self.by_client[-1])

    async def until_told(self, newest: dict[str, int]) -> None:
        """Wait until both have had so much of each source."""
        async with asyncio.timeout(2 * DEADLINE_S):
            while any(
                self._furthest[channel][source] < sequence
                for channel in ("broker", "client")
                for source, sequence in newest.items()
            ):
                self._news.clear()
                await self._news.wait()

    def _came(self, channel: str, at: Place) -> None:
        source, sequence = at
        self._furthest[channel][source] = max(self._furthest[channel][source], sequence)
        self._news.set()


async def speak(port: int) -> None:
    """Send audio as fast as it is taken, whenever there is a monitor."""
    block = np.rint(babble(13, 9) * 32_767).astype("<i2").tobytes()
    while True:
        with suppress(OSError, WebSocketException):
            async with connect(f"ws://127.0.0.1:{port}/audio?stream={GUEST}") as monitor:
                while True:
                    await monitor.send(block)
                    await monitor.recv()
        await asyncio.sleep(0.05)


async def killed_and_run_again(
    chance: random.Random, folder: Path, journal: Path, channels: Channels
) -> None:
    """Several runs that are killed, and one that ends when everybody has had everything."""
    (folder / "monitor.toml").write_text("[mqtt]\nreconnect_least_s = 0.05\n")
    flags = ["--config", folder / "monitor.toml", "--journal", journal, "--no-asr"]
    for number, name in enumerate(STREAMS):
        talk = write_wav(folder / f"{name}.wav", babble(900, number))
        flags += ["--input", talk, "--stream", name]
    port, ready = free_port(), asyncio.Event()
    with running_mosquitto(folder) as broker:
        flags += ["--node", "robot", "--mqtt-url", broker.url, "--ws-port", str(port)]
        listening = [
            asyncio.create_task(channels.listen(broker, ready)),
            asyncio.create_task(channels.follow(port)),
            asyncio.create_task(speak(port)),
        ]
        await ready.wait()
        for run in range(KILLS):
            async with running_monitor(*flags) as monitor:
                if run % 2:
                    await monitor.wait_for("monitor.started")
                await asyncio.sleep(chance.uniform(0.1, LONGEST_LIFE_S))
                with suppress(ProcessLookupError):  # it had come to its end
                    await monitor.end(signal.SIGKILL)
            channels.printed += monitor.lines
        async with running_monitor(*flags, "--pace", "realtime") as monitor:
            await monitor.wait_for("monitor.started", len(STREAMS))
            newest = {s: max(at for source, at in kept(journal) if source == s) for s in SOURCES}
            await channels.until_told(newest)
            assert await monitor.end() == 0
        channels.printed += monitor.lines
        for task in listening:
            task.cancel()
        await asyncio.wait(listening)


@pytest.mark.timeout(300)
def test_no_announced_event_is_lost_or_changed_by_kills_at_random_moments(tmp_path: Path) -> None:
    journal, channels = tmp_path / "journal", Channels()
    asyncio.run(killed_and_run_again(random.Random(1), tmp_path, journal, channels))
    events = kept(journal)
    for source in SOURCES:
        sequences = sorted(sequence for name, sequence in events if name == source)
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(sequences) > 20
    assert len({json.loads(body)["id"] for body in events.values()}) == len(events)
    # What was said is what is kept, to the byte.
    for body in channels.by_broker:
        assert events[place(json.loads(body))] == body
    for line in channels.printed:
        with suppress(
            json.JSONDecodeError
        ):  # the last line of a run that was killed while it wrote
            at = place(json.loads(line))
            assert at[1] == 0 or events[at] == line
    for source in SOURCES:
        told = [at for name, at in channels.by_client if name == source and at]
        assert told == list(range(1, len(told) + 1))
        told = [
            at for name, at in (place(json.loads(b)) for b in channels.by_broker) if name == source
        ]
        assert sorted(set(told)) == list(range(1, max(told) + 1))
        assert told == sorted(told)
    twice = len(channels.by_broker) - len(set(channels.by_broker))
    assert twice <= KILLS  # QoS 1: what was on its way comes once more
