"""The monitor with such sources and such a recogniser, from its start to its report."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from websockets.exceptions import WebSocketException

from bench.soak.audio import MixedAudio
from bench.soak.clients import Ledger, Reader, visitors
from bench.soak.report import Report
from bench.soak.resources import Sample, sample
from config.loader import build
from monitor.assembly import DEMO, Assembly, assemble
from monitor.events import SAMPLE_RATE_HZ, Transcript
from monitor.settings import MonitorSettings
from monitor.vosk_engine import SharedVosk, VoskEngine
from tests.support.degraded import recognise_with

SAMPLE_EVERY_S = 5.0
HANG_S = 3.0
HANGS_FOR_S = 5.0
"""Longer than the monitor waits: a fresh recogniser takes over."""


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
        "asr.model": "stser-tiny-en",
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
            recognise_with(stream, load, settings.asr, vosk.turns)
    return parts


async def _settled(before: Sample) -> None:
    """Connections of the visitors take a moment to be gone."""
    for _ in range(100):
        now = sample(0, 0)
        if now.tasks <= before.tasks and now.descriptors <= before.descriptors:
            return
        await asyncio.sleep(0.05)
