"""Who listens: a ledger of all that is published, a client that reads all, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from monitor.events import WireEvent
from tests.support.realtime import AlwaysOpen


@dataclass
class Ledger(AlwaysOpen):
    """A publisher that counts what it is given."""

    kinds: Counter[str] = field(default_factory=Counter)
    newest: dict[str, int] = field(default_factory=dict)
    """Sequence of each source."""
    holes: int = 0
    out_of_order: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    latencies: list[list[float]] = field(default_factory=list)
    """Of asr and inference, milliseconds, by window."""
    _utterances: Counter[str] = field(default_factory=Counter)

    def publish(self, event: WireEvent) -> None:
        if not event.sequence:  # said in passing
            return
        self.kinds[event.kind] += 1
        self.holes += event.sequence != self.newest.get(event.source, 0) + 1
        self.newest[event.source] = event.sequence
        if event.kind == "emotion.utterance":
            data = json.loads(event.body)["data"]
            self._utterances[event.source] += 1
            self.out_of_order += data["utterance"] != self._utterances[event.source]
            latency = data["latency_ms"]
            self.latencies[-1].append(latency["asr"] + latency["inference"])
        elif event.kind == "monitor.stopped":
            self.dropped.update(json.loads(event.body)["data"]["dropped"])


@dataclass
class Reader:
    """A client that reads all: what it got, and what it was told that it missed."""

    events: int = 0
    told_lost: int = 0
    last: dict[str, int] = field(default_factory=dict)
    """Sequence of the newest event of each source that it has; the first of all is 1."""

    async def read(self, url: str, streams: list[str]) -> None:
        # Everything since the beginning, whenever it connects.
        since = ",".join(f"{name}:0" for name in streams)
        async with connect(f"{url}?since={since}", compression=None, max_size=None) as socket:
            async for message in socket:
                self._take(json.loads(message))

    def _take(self, tree: dict[str, Any]) -> None:
        source = tree["source"]
        if tree["type"].startswith("org.stser.stream.gap"):
            self.told_lost += tree["data"]["dropped"]
            self.last[source] = int(tree["data"]["to_sequence"])
        elif "sequence" in tree:
            sequence, last = int(tree["sequence"]), self.last.get(source, 0)
            # The current state comes first, and once more in its place.
            if sequence > last and (last or sequence == 1):
                self.events += 1
                self.last[source] = sequence


async def visitors(url: str, rng: random.Random, visits: Counter[str]) -> None:
    """Clients that vanish, stop to read, or talk nonsense."""
    while True:
        kind = rng.choice(("vanishes", "sleeps", "babbles", "knocks"))
        with contextlib.suppress(OSError, WebSocketException, TimeoutError):
            async with asyncio.timeout(20):
                if kind == "knocks":
                    host = url.split("/")[2]
                    reader, writer = await asyncio.open_connection(*host.split(":"))
                    try:
                        writer.write(
                            b"GET /readyz HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n"
                        )
                        await reader.read(100)
                    finally:
                        writer.close()
                else:
                    await _visit(url, kind, rng)
        visits[kind] += 1
        await asyncio.sleep(rng.uniform(0.05, 0.5))


async def _visit(url: str, kind: str, rng: random.Random) -> None:
    async with connect(url, compression=None, max_queue=1) as socket:
        try:
            match kind:
                case "vanishes":
                    await socket.recv()
                case "sleeps":
                    socket.transport.pause_reading()
                    await asyncio.sleep(rng.uniform(0.5, 3))
                case _:
                    await socket.send(rng.choice(("{", "[]", '{"type":7}', "x" * 3_000)))
                    await socket.recv()
        finally:
            # A client whose queue is full never reads that it is being closed.
            socket.transport.abort()
