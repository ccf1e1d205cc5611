"""Hours of mixed audio at many times real time, with faults at random from a seed.

    python -m bench.soak [--minutes 5] [--hours 0] [--streams 2] [--only with|without] [--seed 1] [--markdown]

The monitor's own pipeline with recogniser, journal and port. Each of its streams mixes the sentences of the bundled
recording with noise, silence and clipping, loses audio and loses its device; the recogniser fails and hangs now and
then; clients come, vanish and stop to read. At the end: memory slope, tasks, threads and descriptors, and every segment
accounted for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import soundfile
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from bench.machine import describe_machine
from config.loader import build
from monitor.asr import VoskTranscriber, find_model
from monitor.assembly import DEMO, Assembly, assemble
from monitor.device_health import DeviceHealth
from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    DeviceHappening,
    DeviceLost,
    DeviceRecovered,
    Samples,
    Transcript,
    WireEvent,
)
from monitor.segmenter import Segmenter
from monitor.settings import MonitorSettings
from monitor.vosk_engine import SharedVosk, VoskEngine

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SAMPLE_EVERY_S = 5.0
WARM_UP = 0.5
"""Share of the run after which memory has to be flat."""
MAX_SLOPE_MB_PER_HOUR = 2.0
"""Of audio."""
HANG_S = 3.0
HANGS_FOR_S = 5.0
"""Longer than the monitor waits: a fresh recogniser takes over."""


# --- what is heard -----------------------------------------------------------------------------


class MixedAudio:
    """Endless audio and faults, the same from the same seed. It waits for its consumer."""

    live = False
    name = "soak"

    def __init__(self, seed: int, hours: float) -> None:
        self._rng = random.Random(seed)
        self._noise = np.random.default_rng(seed).standard_normal(1 << 18).astype(np.float32)
        self._sentences = _sentences()
        self._end = round(hours * 3_600 * SAMPLE_RATE_HZ) if hours else sys.maxsize
        self._health = DeviceHealth(10.0)
        self._stopped = False
        self.clock = 0
        self.faults: Counter[str] = Counter()
        self.scenes: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def stop(self) -> None:
        self._stopped = True

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap | DeviceHappening]:
        while not self._stopped and self.clock < self._end:
            samples = self._scene()
            fault_at = self._rng.randrange(len(samples)) if self._rng.random() < 0.15 else -1
            for at in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
                if at <= fault_at < at + FRAME_SAMPLES:
                    for item in self._fault():
                        yield item
                frame = AudioFrame(self.clock, samples[at : at + FRAME_SAMPLES])
                self.clock += FRAME_SAMPLES
                yield frame
                for happening in self._health.push(frame, self.name):
                    yield happening
            await asyncio.sleep(0)

    def _scene(self) -> Samples:
        kind = self._rng.choices(
            ("speech", "noise", "room", "zeros", "clipped", "knocks"), (10, 2, 4, 1, 1, 1)
        )[0]
        self.scenes[kind] += 1
        room = self._room(self._rng.uniform(0.3, 4.0), self._rng.uniform(-75, -50))
        match kind:
            case "noise":
                return self._room(self._rng.uniform(1, 10), self._rng.uniform(-40, -15))
            case "room":
                return room
            case "zeros":
                return np.zeros(round(self._rng.uniform(1, 20) * SAMPLE_RATE_HZ), np.float32)
            case "knocks":
                room[:: self._rng.randrange(500, 9_000)] = 0.9
                return room
            case _:
                sentence = self._rng.choice(self._sentences)
                gain = 30 if kind == "clipped" else self._rng.uniform(0.1, 1.5)
                loud = np.clip(sentence * np.float32(gain), -1, 1)
                return np.concatenate([loud, room])

    def _room(self, seconds: float, dbfs: float) -> Samples:
        n = round(seconds * SAMPLE_RATE_HZ)
        at = self._rng.randrange(len(self._noise) - n) if n < len(self._noise) else 0
        noise: Samples = np.clip(self._noise[at : at + n] * np.float32(10 ** (dbfs / 20)), -1, 1)
        return noise

    def _fault(self) -> list[AudioGap | DeviceHappening]:
        kind = self._rng.choices(("overflow", "backlog", "lost"), (3, 2, 1))[0]
        self.faults[kind] += 1
        start, seconds = self.clock, self._rng.uniform(0.0, 1.0)
        if kind != "lost":
            self.clock += round(seconds * SAMPLE_RATE_HZ)
            return [AudioGap(start, self.clock - start, kind)]
        self.clock += round(30 * seconds * SAMPLE_RATE_HZ)
        self._health.interrupted()
        reason, length = self._rng.choice(("ended", "stalled")), self.clock - start
        return [
            AudioGap(start, 0, "lost"),
            DeviceLost(self.name, reason, self.faults["lost"], start),
            AudioGap(start, length, "lost"),
            DeviceRecovered(self.name, 1, length, self.clock),
        ]


def _sentences() -> list[Samples]:
    """Of the bundled recording."""
    from monitor.events import Segment

    samples, _ = soundfile.read(DEMO, dtype="float32")
    segmenter = Segmenter()
    return [
        output.samples
        for at in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
        for output in segmenter.push(AudioFrame(at, samples[at : at + FRAME_SAMPLES]))
        if isinstance(output, Segment)
    ]


class FailsNowAndThen(VoskEngine):
    """The real recogniser, which loses its mind over one utterance in fifty, and itself over one in five hundred."""

    failures: ClassVar[list[int]] = []
    rng = random.Random(7)

    def finish(self, end: int) -> Transcript:
        luck = self.rng.random() if end > SAMPLE_RATE_HZ else 1.0
        if luck < 0.022:
            self.failures.append(end)
            if luck < 0.002:
                time.sleep(HANGS_FOR_S)
            raise RuntimeError("no lattice")
        return super().finish(end)


# --- who listens -------------------------------------------------------------------------------


@dataclass
class Ledger:
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

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


# --- how it fares ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    wall_s: float
    audio_h: float
    rss_mb: float
    tasks: int
    threads: int
    descriptors: int


def sample(began_s: float, clock: int) -> Sample:
    """The process as it is now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        wall_s=time.monotonic() - began_s,
        audio_h=clock / SAMPLE_RATE_HZ / 3_600,
        rss_mb=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        tasks=len(asyncio.all_tasks()),
        threads=threading.active_count(),
        descriptors=len(os.listdir("/proc/self/fd")),
    )


def slope(samples: list[Sample]) -> float:
    """Megabytes for each hour of audio, after the warm-up."""
    settled = [s for s in samples if s.audio_h >= WARM_UP * samples[-1].audio_h]
    if len(settled) < 3:
        return float("nan")
    return float(np.polyfit([s.audio_h for s in settled], [s.rss_mb for s in settled], 1)[0])


@dataclass
class Report:
    recogniser: bool
    failures: int
    """Of the recogniser, injected."""
    samples: list[Sample]
    ledger: Ledger
    reader: Reader
    sources: list[MixedAudio]
    visits: Counter[str]
    before: Sample
    after: Sample

    @property
    def faults(self) -> Counter[str]:
        """Injected into all streams."""
        return sum((source.faults for source in self.sources), Counter())

    def checks(self) -> dict[str, bool]:
        """Every promise, and whether it was kept."""
        kinds, ledger, reader = self.ledger.kinds, self.ledger, self.reader
        faults = self.faults
        settled = [s for s in self.samples if s.audio_h >= WARM_UP * self.samples[-1].audio_h]
        return {
            "segments begun = ended = judged": kinds["speech.started"]
            == kinds["speech.ended"]
            == kinds["emotion.utterance"],
            "utterances numbered without a hole": ledger.out_of_order == 0,
            "sequences without a hole": ledger.holes == 0,
            "gaps reported = gaps injected": self.ledger.dropped["gaps"] == faults.total(),
            "device.lost = device.recovered = injected": kinds["device.lost"]
            == kinds["device.recovered"]
            == faults["lost"],
            "transcripts missing = recogniser failures": ledger.dropped["transcripts"]
            == self.failures,
            "a reader has, or was told of, every event up to its last": len(reader.last)
            == len(self.sources)
            and reader.events + reader.told_lost == sum(reader.last.values()),
            f"memory slope below {MAX_SLOPE_MB_PER_HOUR:g} MB/h of audio": slope(self.samples)
            < MAX_SLOPE_MB_PER_HOUR,
            # One for each stream whose recogniser hangs, and one for the disk.
            "threads bounded": max(s.threads for s in settled) - min(s.threads for s in settled)
            <= len(self.sources) + 1,
            "no task left": self.after.tasks <= self.before.tasks,
            "no descriptor left": self.after.descriptors <= self.before.descriptors,
        }


async def soak(
    minutes: float, hours: float, seed: int, *, recogniser: bool, streams: int = 1
) -> Report:
    """Run until so many minutes of wall time, or hours of audio of each stream, are over."""
    FailsNowAndThen.rng = random.Random(seed)
    FailsNowAndThen.failures.clear()
    sources = [MixedAudio(seed + n, hours) for n in range(streams)]
    ledger, reader = Ledger(latencies=[[]]), Reader()
    visits: Counter[str] = Counter()
    samples: list[Sample] = []
    began_s = time.monotonic()
    before = sample(began_s, 0)
    with tempfile.TemporaryDirectory(prefix="stser-soak-") as folder:
        parts = _assembled(Path(folder), sources, recogniser=recogniser)
        pipeline: Any = parts.pipeline
        pipeline._publishers = [ledger, *pipeline._publishers]
        ready = asyncio.Event()
        running = asyncio.create_task(pipeline.run(ready.set))
        await ready.wait()
        assert parts.websocket is not None
        url = parts.websocket.url.replace("http", "ws") + "events"
        others = [
            asyncio.create_task(visitors(url, random.Random(seed + n), visits)) for n in range(2)
        ]
        reading = asyncio.create_task(reader.read(url, [s.name for s in parts.streams]))
        while not running.done():
            await asyncio.wait([running], timeout=SAMPLE_EVERY_S)
            samples.append(sample(began_s, sum(source.clock for source in sources)))
            ledger.latencies.append([])
            if minutes and time.monotonic() - began_s > 60 * minutes:
                pipeline.stop()
                for task in others:
                    task.cancel()
                await asyncio.wait([running])
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        with contextlib.suppress(WebSocketException):
            await reading
        await running
    await _settled(before)
    return Report(
        recogniser,
        len(FailsNowAndThen.failures),
        samples,
        ledger,
        reader,
        sources,
        visits,
        before,
        sample(began_s, sum(source.clock for source in sources)),
    )


def _assembled(folder: Path, sources: list[MixedAudio], *, recogniser: bool) -> Assembly:
    """The monitor with these sources, and a recogniser that fails."""
    overrides: dict[str, Any] = {
        "websocket.port": 0,
        "journal.path": str(folder / "journal.db"),
        "asr.model": "vosk-tiny-en",
        "asr.enabled": recogniser,
        "asr.hang_s": HANG_S,
        "node": "soak",
    }
    settings = build(MonitorSettings, overrides=overrides)
    audio = [str(DEMO)] * len(sources)
    parts = assemble(settings, audio=audio, events=os.devnull, event_format="jsonl")
    vosk = SharedVosk()

    def load(path: Path) -> VoskEngine:
        return FailsNowAndThen(path, vosk.load(path).model)

    for stream, source in zip(parts.streams, sources, strict=True):
        stream._source = source
        if recogniser:
            model = find_model("vosk-tiny-en")
            stream._transcriber = VoskTranscriber(model, settings.asr, load=load, turns=vosk.turns)
    return parts


async def _settled(before: Sample) -> None:
    """Connections of the visitors take a moment to be gone."""
    for _ in range(100):
        now = sample(0, 0)
        if now.tasks <= before.tasks and now.descriptors <= before.descriptors:
            return
        await asyncio.sleep(0.05)


BY_HAND = "## What it shows"


def page(reports: list[Report], seed: int) -> str:
    """The results as Markdown."""
    machine = describe_machine()
    lines = [
        "# Soak",
        "",
        f"`make soak`, seed {seed}, on {machine['processor']}, {machine['cores']} cores.",
        "",
    ]
    for report in reports:
        lines += section(report)
    # What is written there by hand stays.
    by_hand = (RESULTS / "soak.md").read_text("utf-8").partition(BY_HAND)
    return "\n".join(lines) + "\n" + "".join(by_hand[1:])


def section(report: Report) -> list[str]:
    """One run."""
    last = report.samples[-1]
    windows = [w for w in report.ledger.latencies if w]
    third = max(1, len(windows) // 3)
    early, late = (
        statistics.median(x for w in part for x in w)
        for part in (windows[:third], windows[-third:])
    )
    speed = last.audio_h * 3_600 / last.wall_s
    heard = "1 stream" if len(report.sources) == 1 else f"{len(report.sources)} streams"
    lines = [
        f"## {'With' if report.recogniser else 'Without'} the recogniser",
        "",
        f"{heard}, {last.audio_h:.2f} h of audio in {last.wall_s / 60:.1f} minutes ({speed:.0f} times real time).",
        "",
        "| promise | kept |",
        "|---|---|",
        *(f"| {name} | {'yes' if kept else 'NO'} |" for name, kept in report.checks().items()),
        "",
        f"- Memory slope after the warm-up: {slope(report.samples):.2f} MB for each hour of audio.",
        f"- Median of recogniser and ensemble after the end of a segment: {early:.1f} ms in the first third, "
        f"{late:.1f} ms in the last. At full speed work waits for work: it says nothing of live latency.",
        f"- Scenes: {_counted(sum((s.scenes for s in report.sources), Counter()))}.",
        f"- Faults injected: {_counted(report.faults)}, recogniser {report.failures}.",
        f"- Events: {_counted(report.ledger.kinds)}.",
        f"- Reader: {report.reader.events} events, told of {report.reader.told_lost} lost. "
        f"Visitors: {_counted(report.visits)}.",
        "",
        "| wall, s | audio, h | memory, MB | tasks | threads | descriptors |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    step = max(1, len(report.samples) // 12)
    lines += [
        f"| {s.wall_s:.0f} | {s.audio_h:.2f} | {s.rss_mb:.1f} | {s.tasks} | {s.threads} | {s.descriptors} |"
        for s in [*report.samples[::step], report.after]
    ]
    return [*lines, ""]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common()) or "none"


def main() -> int:
    """Run, print, and write where asked to; 1 where a promise was broken."""
    flags = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    flags.add_argument(
        "--minutes", type=float, default=5.0, help="wall time of each run; 0 for no limit"
    )
    flags.add_argument("--hours", type=float, default=0.0, help="of audio; 0 for no limit")
    flags.add_argument("--streams", type=int, default=1, help="in one process")
    flags.add_argument("--only", choices=("with", "without"), help="the recogniser")
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--markdown", action="store_true", help="rewrite docs/results/soak.md")
    given = flags.parse_args()
    reports = []
    for recogniser in {"with": (True,), "without": (False,)}.get(given.only, (False, True)):
        running = soak(
            given.minutes, given.hours, given.seed, recogniser=recogniser, streams=given.streams
        )
        reports.append(asyncio.run(running))
        sys.stdout.write("\n".join(section(reports[-1])))
        sys.stdout.flush()
    if given.markdown:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "soak.md").write_text(page(reports, given.seed), "utf-8")
    return 0 if all(all(report.checks().values()) for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
