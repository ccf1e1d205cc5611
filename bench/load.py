"""What happens when there are more streams than the machine can carry: what is shed, and in which order.

    python -m bench.load [--seconds 20] [--no-asr] [--streams N] [--seed 1] [--write]

One process, as many microphones as it takes. Each plays the bundled recording from a place of its own, in real time,
through the capture's own mailbox; only PortAudio is left out. First the number of streams is sought that the machine
can carry, as :mod:`bench.capacity` has it; then it gets twice and five times that. ``--write`` rewrites
docs/results/load.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import random
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.capacity import RULE, counts, holds, search
from bench.machine import describe_machine
from config.loader import build
from monitor.assembly import DEMO, assemble
from monitor.capture import CaptureSettings, DeviceSource
from monitor.events import (
    SAMPLE_RATE_HZ,
    DeviceLost,
    DeviceOverflow,
    MonitorStopped,
    ProvisionalEmotion,
    Samples,
    SpeechBegan,
    UtteranceEmotion,
    WireEvent,
)
from monitor.portaudio import InputDevice
from monitor.settings import MonitorSettings
from monitor.worker import NativeWorker
from tests.support.realtime import AlwaysOpen

RESULTS = Path(__file__).parents[1] / "docs" / "results"
BLOCK_MS = 20
FIRST = {True: 8, False: 64}
"""Streams of the first try, with words and without."""
WITH_WORDS = "With the embedded recogniser"
BEYOND = (2, 5)
"""Times as many streams as the machine carries."""

Post = Callable[[NDArray[np.float32], bool, float], None]


class Driver:
    """One thread that hands every microphone its next block when it is due, as an audio server does."""

    def __init__(self, recording: Samples, seed: int) -> None:
        self._recording = recording
        self._rng = random.Random(seed)
        self._posts: list[tuple[Post, int]] = []
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="audio-server", daemon=True)
        self.late_s = 0.0
        """How late it was itself, at most."""

    def plug(self, post: Post) -> None:
        block = SAMPLE_RATE_HZ * BLOCK_MS // 1000
        with self._lock:
            self._posts.append((post, self._rng.randrange(len(self._recording) // block)))

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        block = SAMPLE_RATE_HZ * BLOCK_MS // 1000
        blocks = len(self._recording) // block
        began_s, number = time.monotonic(), 0
        while not self._ended.wait(
            max(0.0, began_s + number * block / SAMPLE_RATE_HZ - time.monotonic())
        ):
            self.late_s = max(
                self.late_s, time.monotonic() - began_s - number * block / SAMPLE_RATE_HZ
            )
            with self._lock:
                posts = list(self._posts)
            for post, offset in posts:
                at = (number + offset) % blocks * block
                post(self._recording[at : at + block, None], False, 0.0)
            number += 1


class Microphone:
    """What the capture opens in place of PortAudio."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def open(
        self, choice: object, before: object, *, post: Post, finished: object, **_: object
    ) -> InputDevice:
        self._driver.plug(post)
        return InputDevice(0, "recording", 1, SAMPLE_RATE_HZ, default=True)

    def list_anew(self) -> None:
        return None

    def close(self) -> None:
        return None


@dataclass
class Tally(AlwaysOpen):
    """A publisher that counts what it is given."""

    kinds: Counter[str] = field(default_factory=Counter)
    after_ms: list[float] = field(default_factory=list)
    """From the moment at which the pause was long enough to each verdict that counts."""
    wordless: int = 0
    lost_s: float = 0.0
    audio_s: float = 0.0

    def publish(self, event: WireEvent) -> None:
        match event.happening:
            case UtteranceEmotion(segment=segment, latency=latency, transcript=transcript):
                self.kinds["utterances"] += 1
                self.wordless += transcript is None
                hangover_ms = (segment.closed_at - segment.speech_end) * 1000 / SAMPLE_RATE_HZ
                if counts(segment):
                    self.after_ms.append(latency.total - hangover_ms)
            case ProvisionalEmotion():
                self.kinds["provisional"] += 1
            case SpeechBegan():
                self.kinds["segments"] += 1
            case DeviceLost():
                self.kinds["stalled"] += 1
            case DeviceOverflow(lost=lost):
                self.kinds["gaps"] += 1
                self.lost_s += lost / SAMPLE_RATE_HZ
            case MonitorStopped(audio_ms=audio_ms):
                self.audio_s += audio_ms / 1000


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run."""

    streams: int
    cores: float
    audio_s: float
    """Of all streams."""
    lost_s: float
    """Of it, reported as gaps."""
    segments: int
    utterances: int
    counted: int
    """Utterances that the times are of."""
    without_words: int
    """Utterances that were to be recognised and were not."""
    provisional: float
    """For each utterance."""
    shed: int
    p50_ms: float
    p95_ms: float
    drain_s: float
    """From the end of the audio to the last event."""
    memory_mb: float
    server_late_s: float
    """How late the audio server itself was, at most."""

    @property
    def holds(self) -> bool:
        """Whether the machine carries so many, by :data:`bench.capacity.RULE`."""
        return holds(
            counted=self.counted,
            p95_ms=self.p95_ms,
            without_words=self.without_words,
            lost_s=self.lost_s,
        )

    @property
    def whole(self) -> bool:
        """Whether nothing was lost unsaid."""
        return self.segments == self.utterances


def run(streams: int, seconds: float, seed: int, *, asr: bool) -> Figures:
    """Hear so many streams for a while, in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, streams, seconds, seed, asr=asr).result()


def _run(streams: int, seconds: float, seed: int, *, asr: bool) -> Figures:
    logging.disable(logging.WARNING)  # a line for each utterance without words
    settings = build(
        MonitorSettings,
        overrides={
            "asr.enabled": asr,
            "asr.model": "stser-tiny-en",
            "websocket.enabled": False,
            "journal.path": "off",
            "stream": tuple(f"mic-{number}" for number in range(streams)),
            "capture.device": tuple(range(streams)),
        },
    )
    parts = assemble(settings)
    driver, tally = Driver(soundfile.read(DEMO, dtype="float32")[0], seed), Tally()
    parts.pipeline._publishers = [tally]
    chosen = CaptureSettings(device=0, block_ms=BLOCK_MS)
    for stream in parts.streams:
        source = DeviceSource(chosen)
        source._worker = NativeWorker("bench-capture", lambda: Microphone(driver), capacity=1)  # type: ignore[arg-type, return-value]
        stream._source = source

    async def main() -> tuple[float, float]:
        ready = asyncio.Event()
        running = asyncio.create_task(parts.pipeline.run(ready.set))
        await asyncio.wait(
            {running, asyncio.create_task(ready.wait())}, return_when="FIRST_COMPLETED"
        )
        if running.done():
            await running
        driver.start()
        before_s, began_s = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        used_s = (time.process_time() - before_s) / (time.monotonic() - began_s)
        ended_s = time.monotonic()
        await asyncio.to_thread(driver.end)
        parts.pipeline.stop()
        await running
        return used_s, time.monotonic() - ended_s

    used_s, drain_s = asyncio.run(main())
    worked = tally.kinds["utterances"]
    return Figures(
        streams=streams,
        cores=used_s,
        audio_s=tally.audio_s,
        lost_s=tally.lost_s,
        segments=tally.kinds["segments"],
        utterances=worked,
        counted=len(tally.after_ms),
        without_words=tally.wordless if asr else 0,
        provisional=tally.kinds["provisional"] / max(worked, 1),
        shed=parts.pipeline._shedding.provisional,
        p50_ms=float(np.median(tally.after_ms or [0.0])),
        p95_ms=float(np.percentile(tally.after_ms or [0.0], 95)),
        drain_s=drain_s,
        memory_mb=_peak_mb(),
        server_late_s=driver.late_s,
    )


def _peak_mb() -> float:
    """Most memory that this process has held."""
    (line,) = (s for s in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in s)
    return int(line.split()[1]) / 1000


def carried(seed: int, seconds: float, *, asr: bool) -> Figures:
    """The run with the most streams that holds; with one stream, where not even that does."""
    found = search(lambda count: run(count, seconds, seed, asr=asr), FIRST[asr])
    return found[max((count for count, each in found.items() if each.holds), default=1)]


def loads(seconds: float, seed: int, streams: int | None, *, asr: bool) -> Iterator[Figures]:
    """So many streams, or as many as the machine carries, and :data:`BEYOND` times as many."""
    once = run(streams, seconds, seed, asr=asr) if streams else carried(seed, seconds, asr=asr)
    yield once
    for times in BEYOND:
        yield run(times * once.streams, seconds, seed, asr=asr)


def table(figures: list[Figures], *, asr: bool) -> list[str]:
    """Of the loads, as Markdown."""
    lines = [
        "| streams | holds | cores | audio heard | segments = events | with words | provisional, each "
        "| provisional shed | verdict after the pause, ms: p50 | p95 | drained in, s | peak memory, MB "
        "| audio server late at most, s |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for f in figures:
        same = f"{f.utterances:,}" if f.whole else f"NO: {f.segments:,}, {f.utterances:,}"
        heard_pct = 100 * (1 - f.lost_s / max(f.audio_s, 1e-9))
        words_pct = 100 * (1 - f.without_words / max(f.utterances, 1))
        cells = (
            *(f"{f.streams}", "yes" if f.holds else "no"),
            *(f"{f.cores:.2f}", f"{heard_pct:.1f} %", same),
            *(f"{words_pct:.0f} %" if asr else "-", f"{f.provisional:.2f}", f"{f.shed:,}"),
            *(f"{f.p50_ms:.0f}", f"{f.p95_ms:.0f}", f"{f.drain_s:.1f}", f"{f.memory_mb:.0f}"),
            f"{f.server_late_s:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def page(sections: dict[str, list[Figures]], seconds: float, streams: int | None = None) -> str:
    """The results as Markdown.

    Args:
        sections: By name, the runs.
        seconds: Of each.
        streams: Of the first, where that was not searched.
    """
    machine: dict[str, Any] = describe_machine()
    given = f" --streams {streams}" if streams else ""
    header = (
        f"`python -m bench.load --seconds {seconds:g}{given} --write` on {machine['processor']}, "
        f"{machine['cores']} cores. One process; each stream is the bundled recording in real time from a place of "
        f"its own, in blocks of {BLOCK_MS} ms, through the capture's mailbox. The first row: "
        + ("as many as were asked for" if streams else "the most streams that hold")
        + f"; then twice and five times that. {RULE} Rule and search are those of [benchmark.md](benchmark.md), too, "
        "where no capture and no audio server has its share of the processor, and a clock outside the monitor gives "
        "the times; here they are what the events say."
    )
    lines = ["# Load", "", textwrap.fill(header, 118, break_on_hyphens=False), ""]
    for name, figures in sections.items():
        lines += [f"## {name}", "", *table(figures, asr=name == WITH_WORDS)]
    return "\n".join([*lines, *EXPLANATION, ""])


EXPLANATION = (
    "What is left out, in this order: provisional verdicts (while anything is `shedding.provisional_ms` late), words",
    "(while anything is `shedding.words_ms` late, utterances that begin are judged by the voice alone, and say so),",
    "audio (of what waits longer than `capture.backlog_ms` the newest eighth is kept; an event reports the gap, which",
    "ends the utterance). A verdict is never left out: each segment that began has its event. Its delay stays near",
    "that backlog and `asr.late_s`. Where streams are so many that even dropping their audio is too much work for one",
    "event loop, that comes on top; so does the lateness of the audio server, one more thread of the same interpreter.",
)


def main() -> int:
    """Measure, print, and write where asked to; 1 where an event was lost unsaid."""
    flags = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    flags.add_argument("--seconds", type=float, default=20.0, help="of each run")
    flags.add_argument("--streams", type=int, help="what the machine carries, where it is known")
    flags.add_argument("--no-asr", action="store_true", help="only without the recogniser")
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--write", action="store_true", help="rewrite docs/results/load.md")
    given = flags.parse_args()
    sections: dict[str, list[Figures]] = {}
    for asr in (False,) if given.no_asr else (True, False):
        name = WITH_WORDS if asr else "Without words"
        sections[name] = []
        for figures in loads(given.seconds, given.seed, given.streams, asr=asr):
            sections[name].append(figures)
            sys.stdout.write(f"{name}: {figures}\n")
            sys.stdout.flush()
    if given.write:
        (RESULTS / "load.md").write_text(page(sections, given.seconds, given.streams), "utf-8")
    return 0 if all(f.whole for figures in sections.values() for f in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
