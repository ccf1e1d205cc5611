"""What a thousand WebSocket clients cost, how late events reach them, and what a stuck one costs.

    python -m bench.clients [--clients 1000] [--seconds 60] [--markdown]

The monitor's own port and journal in one process that is bound to one core; clients in processes of their own on the
others. Events of every kind in turn. Lag: from the call that publishes an event to the moment at which a client's
process has its bytes, on the same clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from bench.machine import describe_machine
from monitor.publish.journal import Journal, JournalSettings
from monitor.publish.websocket import WebSocketPublisher, WebSocketSettings
from monitor.publish.wire import WireEncoder
from tests.support.happenings import EVERY
from tests.support.port import on_port

RESULTS: Final = Path(__file__).parents[1] / "docs" / "results"
RATE_HZ: Final = 10.0
PROCESSES: Final = 4
"""Among which the clients are divided."""
STUCK: Final = 50
STUCK_RATE_HZ: Final = 200.0
"""Faster than any stream, so that the buffers of the operating system fill up soon."""
_SEQUENCE: Final = re.compile(rb'"sequence":"(\d{20})"')
_SEND_TIMEOUT_S: Final = 10.0
_ATTEMPTS_AT_ONCE: Final = 50


# --- the server --------------------------------------------------------------------------------


def serve(pipe: Connection, cores: set[int], limit: int) -> None:
    """A monitor's port, journal and encoder, told what to do over a pipe."""
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_serve(pipe, Path(folder) / "journal", limit))


async def _serve(pipe: Connection, path: Path, limit: int) -> None:
    encoder = WireEncoder("bench", "mic")
    settings = WebSocketSettings(port=0, max_clients=limit, send_timeout_s=_SEND_TIMEOUT_S)
    async with (
        Journal(path, "bench", JournalSettings()) as journal,
        on_port(settings, journal) as publisher,
    ):
        pipe.send(int(publisher.url.rstrip("/").rpartition(":")[2]))
        while (order := await asyncio.to_thread(pipe.recv)) is not None:
            rate_hz, seconds = order
            pipe.send(await _publish(journal, publisher, encoder, rate_hz, seconds))


async def _publish(
    journal: Journal,
    publisher: WebSocketPublisher,
    encoder: WireEncoder,
    rate_hz: float,
    seconds: float,
) -> dict[str, Any]:
    """Announce at a steady pace; what it cost this process, and when each event was said."""
    loop = asyncio.get_running_loop()
    said: dict[int, float] = {}
    memory_mb = [_resident_mb()]
    begun, cpu = loop.time(), time.process_time()
    lengths = []
    for number in range(round(rate_hz * seconds)):
        await asyncio.sleep(begun + number / rate_hz - loop.time())
        event = encoder.encode(EVERY[number % len(EVERY)])
        lengths.append(len(event.body))
        if event.sequence:
            said[event.sequence] = time.monotonic()
            journal.append(event)
        publisher.publish(event)
        if number % round(rate_hz) == 0:
            memory_mb.append(_resident_mb())
    await asyncio.sleep(1 / rate_hz)
    spent = time.process_time() - cpu
    return {
        "share": spent / (loop.time() - begun),
        "said": said,
        "mean_bytes": float(np.mean(lengths)) if lengths else 0.0,
        "peak_mb": max(memory_mb),
        "memory_mb": _resident_mb(),
        "clients": len(publisher._events.subscribers),
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


# --- the clients -------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """Reads events and notes when they came. The WebSocket itself is that of websockets, without its tasks."""

    def __init__(self, url: str) -> None:
        self._ws = ClientProtocol(parse_uri(url))
        self.connected = asyncio.get_running_loop().create_future()
        self.came: dict[int, float] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ws.send_request(self._ws.connect())
        self._send()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._ws.receive_data(data)
        for happened in self._ws.events_received():
            if not isinstance(happened, Frame):
                if not self.connected.done():
                    self.connected.set_result(None)
            elif happened.opcode is Opcode.TEXT and (found := _SEQUENCE.search(happened.data)):
                self.came[int(found[1])] = now
        self._send()

    def _send(self) -> None:
        for data in self._ws.data_to_send():
            if data:
                self._transport.write(data)


def follow(pipe: Connection, cores: set[int], port: int, count: int) -> None:
    """So many clients, until told to stop; then when each event reached each of them."""
    os.sched_setaffinity(0, cores)
    asyncio.run(_follow(pipe, port, count))


async def _follow(pipe: Connection, port: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    few_at_once = asyncio.Semaphore(_ATTEMPTS_AT_ONCE)

    async def connected() -> Client:
        async with few_at_once:
            url = f"ws://127.0.0.1:{port}/events"
            _, client = await loop.create_connection(lambda: Client(url), "127.0.0.1", port)
            await client.connected
            return client

    clients = await asyncio.gather(*(connected() for _ in range(count)))
    pipe.send(count)
    await asyncio.to_thread(pipe.recv)
    pipe.send([client.came for client in clients])


def stuck_client(port: int) -> socket.socket:
    """A client that shakes hands and then reads nothing."""
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.sendall(
        b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    client.recv(12)
    return client


# --- the figures -------------------------------------------------------------------------------


def measure(count: int, seconds: float) -> dict[str, Any]:
    """All figures of this benchmark."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = multiprocessing.get_context("spawn")
    cores = sorted(os.sched_getaffinity(0))
    served, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, served, count + STUCK), daemon=True)
    server.start()
    port = ours.recv()

    def ordered(rate_hz: float, for_s: float) -> dict[str, Any]:
        ours.send((rate_hz, for_s))
        return dict(ours.recv())

    alone = ordered(RATE_HZ, min(seconds, 10.0))
    many, came = _with_clients(context, others, port, count, lambda: ordered(RATE_HZ, seconds))
    ordered(1.0, 3.0)  # until those have gone
    before = ordered(RATE_HZ, 1.0)
    kernel_kb = _kernel_buffers_kb()
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        for _ in range(STUCK):
            stack.enter_context(stuck_client(port))
        peak_mb = kernel_peak_kb = 0.0
        while True:
            stuck = ordered(STUCK_RATE_HZ, 1.0)
            peak_mb = max(peak_mb, stuck["peak_mb"])
            kernel_peak_kb = max(kernel_peak_kb, _kernel_buffers_kb() - kernel_kb)
            if not stuck["clients"]:
                break
    gone_s = time.monotonic() - begun
    ours.send(None)
    server.join()
    said = many["said"]
    lags_ms = np.array(
        # On connect comes the current state, which was said before.
        [(at - said[n]) * 1e3 for each in came for n, at in each.items() if n in said],
        np.float64,
    )
    return {
        "machine": describe_machine("websockets"),
        "clients": count,
        "events a second": RATE_HZ,
        "seconds": seconds,
        "bytes of an event, mean": round(many["mean_bytes"]),
        "many clients": {
            "CPU, % of a core": 100 * many["share"],
            "CPU without clients, % of a core": 100 * alone["share"],
            "lag p50, ms": float(np.percentile(lags_ms, 50)),
            "lag p99, ms": float(np.percentile(lags_ms, 99)),
            "lag worst, ms": float(lags_ms.max()),
            "events lost": len(said) * count - len(lags_ms),
            "memory of a client, KB": 1e3 * (many["memory_mb"] - alone["memory_mb"]) / count,
        },
        f"{STUCK} clients that read nothing, {STUCK_RATE_HZ:g} events a second": {
            "memory of one at most, KB": 1e3 * (peak_mb - before["memory_mb"]) / STUCK,
            "of the operating system's buffers at most, KB": kernel_peak_kb / STUCK,
            "all dropped after, s": gone_s,
        },
    }


def _with_clients(
    context: Any, cores: set[int], port: int, count: int, work: Callable[[], dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[int, float]]]:
    """Do some work while so many clients follow; its result, and when what came to each of them."""
    pipes = []
    for number in range(PROCESSES):
        ours, theirs = context.Pipe()
        share = count // PROCESSES + (number < count % PROCESSES)
        context.Process(target=follow, args=(theirs, cores, port, share), daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    result = work()
    for pipe in pipes:
        pipe.send(None)
    return result, [came for pipe in pipes for came in pipe.recv()]


def _kernel_buffers_kb() -> float:
    """Memory of all TCP sockets of this machine."""
    found = re.search(r"^TCP:.* mem (\d+)$", Path("/proc/net/sockstat").read_text("ascii"), re.M)
    assert found is not None
    return int(found[1]) * resource.getpagesize() / 1e3


def page(figures: dict[str, Any]) -> str:
    """The figures as docs/results/clients.md."""
    count, seconds = figures["clients"], figures["seconds"]
    lines = [
        "# What clients cost",
        "",
        f"`python -m bench.clients --clients {count} --seconds {seconds:g} --markdown` (part of `make bench`)",
        "wrote this page. The port and the journal run in a process that is bound to one core, the clients in",
        f"others. Events of every kind in turn, {figures['events a second']:g} a second, "
        f"{figures['bytes of an event, mean']} bytes on average.",
        "Lag: from the call that publishes an event to the moment at which the client's process has its bytes.",
        "",
        "Goals: 1,000 clients below 15 % of a core, with a p99 below 50 ms; a stuck client costs bounded memory and is",
        "dropped.",
        "",
    ]
    for title, table in figures.items():
        if isinstance(table, dict):
            lines += [f"## {title[:1].upper()}{title[1:]}", "", "| | |", "|---|---|"]
            lines += [
                f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |"
                for name, value in table.items()
            ]
            lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write where asked to."""
    flags = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    flags.add_argument("--clients", type=int, default=1_000)
    flags.add_argument("--seconds", type=float, default=60.0)
    flags.add_argument("--markdown", action="store_true", help="rewrite docs/results/clients.md")
    given = flags.parse_args()
    figures = measure(given.clients, given.seconds)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    if given.markdown:
        (RESULTS / "clients.md").write_text(page(figures), "utf-8")


if __name__ == "__main__":
    main()
