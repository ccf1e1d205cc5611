"""Mutated inputs, thrown at a target."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.fuzz.mutation import mutated
from bench.fuzz.port import the_program
from bench.fuzz.seeds import seeds_of
from bench.fuzz.targets import COSTLY, TARGETS, Target

SLOW_S: Final = 5.0
"""An input that takes longer is a finding: whoever sends it could stop the monitor."""


@dataclass(slots=True)
class Outcome:
    """What became of a target."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    findings: dict[str, bytes] = field(default_factory=dict)
    """The first input that led to each kind of error."""


def attack(name: str, inputs: int, seed: int) -> Outcome:
    """Throw ``inputs`` mutated inputs at a target; the same seed gives the same ones."""
    target, seeds, rng = TARGETS[name], seeds_of(name), random.Random(f"{name} {seed}")
    outcome = Outcome(name)
    if name in COSTLY:
        the_program()
    began_s = time.monotonic()
    for number in range(inputs):
        # Seeds themselves first; then now and then something without any form.
        data = seeds[number] if number < len(seeds) else mutated(rng.choice(seeds), rng)
        if number >= len(seeds) and rng.random() < 0.05:
            data = rng.randbytes(rng.randrange(2_000))
        try:
            took_s = _seconds(target, data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            outcome.findings.setdefault(_kind_of(error), data)
        else:
            outcome.slowest_s = max(outcome.slowest_s, took_s)
            if took_s > SLOW_S:
                outcome.findings.setdefault(f"took {took_s:.1f} s", data)
        outcome.inputs += 1
    outcome.seconds = time.monotonic() - began_s
    return outcome


def _seconds(target: Target, data: bytes) -> float:
    """How long it takes. Of two times, where the first is long, the shorter: the machine may have paused."""
    took_s: list[float] = []
    while not took_s or (took_s[0] > SLOW_S and len(took_s) < 2):
        began_s = time.monotonic()
        target(data)
        took_s.append(time.monotonic() - began_s)
    return min(took_s)


def _kind_of(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
    return f"{type(error).__name__} at {where}: {str(error)[:200]}"
