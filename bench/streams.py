"""How many live streams one process hears at real time, on the cores that this machine has.

    python -m bench.streams --streams 50 [--asr] [--seconds 20]

runs one trial and prints it as JSON. Each stream plays the bundled recording from another place in it, in real time.
A trial holds where the 95th percentile of the time between the moment at which a pause had lasted long enough
and the utterance's event stays below the limit; that time holds whatever the stream was heard late, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from bench.audio import recording
from bench.program import resident_mb
from bench.realtime import Stopwatch, live_pipeline
from config.loader import build
from monitor.cli import leave_what_is_loaded
from monitor.events import SAMPLE_RATE_HZ, UtteranceEmotion
from monitor.settings import MonitorSettings
from tests.support.realtime import InRealTime

LIMIT_MS: Final = 50.0
WARM_UP_S: Final = 3.0
"""Utterances that end earlier are not counted: the first calls of everything fall there."""
MOST: Final = 1_024


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a number of streams."""

    streams: int
    utterances: int
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
        return self.utterances > 0 and self.p95_ms < LIMIT_MS and not self.without_words


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
        if _counts(utterance)
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


def _counts(utterance: UtteranceEmotion) -> bool:
    segment = utterance.segment
    return segment.reason == "silence" and segment.closed_at > WARM_UP_S * SAMPLE_RATE_HZ


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
    trials: dict[int, Trial] = {}

    def holds(count: int) -> bool:
        trials[count] = trial(count, asr=asr, seconds=seconds)
        return trials[count].holds

    largest(holds, first)
    return [trials[count] for count in sorted(trials)]


def largest(
    holds: Callable[[int], bool], first: int, limit: int = MOST, precision: float = 0.1
) -> int:
    """The largest number that holds: doubled until one does not, then halving the distance.

    Args:
        holds: Holds for small numbers and not for large ones.
        first: To begin with.
        limit: None larger is tried.
        precision: The search ends where the number is known so well, as a share of it.
    """
    good, bad = 0, min(first, limit)
    while holds(bad):
        good, bad = bad, min(2 * bad, limit)
        if good == limit:
            return good
    while bad - good > max(1, precision * bad):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


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
