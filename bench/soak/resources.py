"""What the process holds: memory, tasks, threads and descriptors."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitor.events import SAMPLE_RATE_HZ

WARM_UP = 0.5
"""Share of the run after which memory has to be flat."""


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
