"""Time that work takes, with everything that is compared measured in turns."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of this process for one piece of work, milliseconds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.least:.3g} to {self.most:.3g})"


def in_turns(
    jobs: Mapping[str, Callable[[], Any]], rounds: int, least_s: float = 0.05
) -> dict[str, Cost]:
    """Each piece of work once in every round, so that a busy moment of the machine hits all alike.

    Args:
        jobs: By name.
        rounds: How often each is measured, after once to warm up.
        least_s: Work that takes less is repeated within a round until it has taken so long.
    """
    repeats = {name: _repeats(job, least_s) for name, job in jobs.items()}
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            began_s = time.process_time()
            for _ in range(repeats[name]):
                job()
            taken[name].append((time.process_time() - began_s) * 1000 / repeats[name])
    return {
        name: Cost(statistics.median(each), min(each), max(each)) for name, each in taken.items()
    }


def _repeats(job: Callable[[], Any], least_s: float) -> int:
    job()
    began_s = time.process_time()
    job()
    return max(1, math.ceil(least_s / max(time.process_time() - began_s, 1e-6)))
