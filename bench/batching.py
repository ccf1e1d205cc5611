"""What it saves to judge utterances of several streams in one call.

    python -m bench.batching

CPU time for each utterance, median of repeated runs, one by one and together, interleaved.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from stser_core.ensemble import Request, Stser

LENGTHS_S = {
    "8 of 1.5 s": (1.5,) * 8,
    "8 of 3 s": (3.0,) * 8,
    "6 of 2 to 3 s": (2.0, 2.2, 2.4, 2.6, 2.8, 3.0),
    "8 of 1 to 5 s": (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0),
}
WORDS = ("i", "do", "not", "know", "what", "to", "say", "to", "you")
RUNS = 40


def main() -> int:
    """Print a Markdown table."""
    ensemble = Stser.load()
    rng = np.random.default_rng(0)
    sys.stdout.write("| utterances | one by one, ms each | together, ms each |\n|---|---|---|\n")
    for name, lengths_s in LENGTHS_S.items():
        requests = [
            Request(rng.normal(-8, 2, (round(100 * s), 64)).astype(np.float32), WORDS)
            for s in lengths_s
        ]
        alone: list[float] = []
        together: list[float] = []
        for _ in range(RUNS):
            alone.append(cpu_s(lambda: [ensemble.classify_many([one]) for one in requests]))  # noqa: B023
            together.append(cpu_s(lambda: ensemble.classify_many(requests)))  # noqa: B023
        each = [1000 * statistics.median(times) / len(requests) for times in (alone, together)]
        sys.stdout.write(f"| {name} | {each[0]:.2f} | {each[1]:.2f} |\n")
    return 0


def cpu_s(work: Callable[[], object]) -> float:
    """CPU time that it takes, seconds."""
    before = time.process_time()
    work()
    return time.process_time() - before


if __name__ == "__main__":
    sys.exit(main())
