"""How many live streams one process hears at real time, on the cores that this machine has.

    python -m bench.streams --streams 50 [--asr] [--seconds 20]

runs one trial and prints it as JSON. Each stream plays the bundled recording from another place in it, in real time.
When it holds, and how the largest number that does is searched, is told in :mod:`bench.capacity`; times are by a clock
outside the monitor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np

from bench.audio import recording
from bench.capacity import counts, holds, search
from bench.program import resident_mb
from bench.realtime import Stopwatch, live_pipeline
from config.loader import build
from monitor.cli import leave_what_is_loaded
from monitor.events import SAMPLE_RATE_HZ
from monitor.settings import MonitorSettings
from tests.support.realtime import InRealTime


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a number of streams."""

    streams: int
    utterances: int
    """That the times are of."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cores: float
    """CPU seconds a second."""
    memory_mb: float
    without_words: int
    """Utterances that the recogniser was too slow for."""

    @property
    def holds(self) -> bool:
        """By :data:`bench.capacity.RULE`; these streams wait for who is late, and lose nothing."""
        return holds(counted=self.utterances, p95_ms=self.p95_ms, without_words=self.without_words)


def run(n_streams: int, *, asr: bool, seconds: float) -> Trial:
    """One trial in this process."""
    settings = build(
        MonitorSettings,
        overrides={"asr.enabled": asr, "asr.model": "stser-tiny-en", "journal.path": "off"},
    )
    samples, stopwatch = recording(), Stopwatch()
    draw = np.random.default_rng(0)
    sources = [
        InRealTime(
            samples,
            first=int(draw.integers(len(samples))),
            n_samples=round(seconds * SAMPLE_RATE_HZ),
            begins_in_s=draw.uniform(0, 0.02),
        )
        for _ in range(n_streams)
    ]
    began_s = cpu_s = 0.0

    def ready() -> None:
        nonlocal began_s, cpu_s
        leave_what_is_loaded()
        began_s, cpu_s = time.perf_counter(), time.process_time()

    pipeline = live_pipeline(settings, sources, stopwatch)
    asyncio.run(pipeline.run(ready))
    cores = (time.process_time() - cpu_s) / (time.perf_counter() - began_s)
    began = {f"/stser/bench/stream-{n}": source.began_s for n, source in enumerate(sources, 1)}
    late = [
        1000 * (at_s - began[source] - utterance.segment.closed_at / SAMPLE_RATE_HZ)
        for at_s, source, utterance in stopwatch.judged
        if counts(utterance.segment)
    ]
    p50, p95, p99 = np.percentile(late or [0.0], [50, 95, 99]).tolist()
    return Trial(
        streams=n_streams,
        utterances=len(late),
        p50_ms=round(p50, 2),
        p95_ms=round(p95, 2),
        p99_ms=round(p99, 2),
        cores=round(cores, 3),
        memory_mb=round(resident_mb(os.getpid()), 1),
        without_words=sum(asr and u.transcript is None for _, _, u in stopwatch.judged),
    )


def trial(n_streams: int, *, asr: bool, seconds: float) -> Trial:
    """One trial in a process of its own; one that falls far behind is ended, and does not hold."""
    command = [sys.executable, "-m", "bench.streams", "--streams", str(n_streams)]
    command += ["--seconds", str(seconds), *(["--asr"] if asr else [])]
    patience_s = 30 + 3 * seconds
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=patience_s)
    except subprocess.TimeoutExpired:
        late_ms = 1000 * (patience_s - seconds)
        return Trial(n_streams, 0, late_ms, late_ms, late_ms, 0.0, 0.0, 0)
    found: Trial = Trial(**json.loads(done.stdout))
    return found


def most(*, asr: bool, seconds: float, first: int) -> list[Trial]:
    """Trials around the largest number of streams that holds, in order of their number."""
    return [*search(lambda count: trial(count, asr=asr, seconds=seconds), first).values()]


def main() -> None:
    """One trial."""
    flags = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    flags.add_argument("--streams", type=int, required=True)
    flags.add_argument("--seconds", type=float, default=20.0)
    flags.add_argument("--asr", action="store_true", help="with the embedded recogniser")
    given = flags.parse_args()
    done = run(given.streams, asr=given.asr, seconds=given.seconds)
    sys.stdout.write(json.dumps(asdict(done)) + "\n")


if __name__ == "__main__":
    main()
