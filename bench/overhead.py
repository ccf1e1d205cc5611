"""What the whole pipeline costs a second of audio, beside bare Vosk on the same audio, and what it holds in memory."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.program import Run, Start, hear, hear_bare, seconds, start, write

BARE: Final = "bare Vosk"
WITH_ASR: Final = "monitor, with the embedded recogniser"
WITHOUT_ASR: Final = "monitor, without recogniser"


@dataclass(frozen=True, slots=True)
class Overhead:
    """CPU milliseconds for a second of audio, start-up taken out, and what the start takes."""

    ms_per_s: dict[str, float]

    @property
    def over_bare(self) -> float:
        """Share by which the pipeline costs more than Vosk alone."""
        return self.ms_per_s[WITH_ASR] / self.ms_per_s[BARE] - 1


def overhead(minutes: float, rounds: int) -> Overhead:
    """Programs in turns on a short and a long file: the difference is the audio's, not the start's.

    Args:
        minutes: Of the long file; the short one has a tenth.
        rounds: How often.
    """
    programs: dict[str, Callable[[Path], Run]] = {
        BARE: hear_bare,
        WITH_ASR: hear,
        WITHOUT_ASR: lambda path: hear(path, "--no-asr"),
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        short, long = write(Path(folder), minutes / 10), write(Path(folder), minutes)
        more_s = seconds(long) - seconds(short)
        for _ in range(rounds):
            for name, program in programs.items():
                cpu_s = program(long).cpu_s - program(short).cpu_s
                taken[name].append(1000 * cpu_s / more_s)
    return Overhead({name: statistics.median(each) for name, each in taken.items()})


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory over a long recording, MB."""

    minutes: float
    curve_mb: tuple[float, ...]
    """Evenly spaced over the run."""
    peak_mb: float

    @property
    def steady_mb(self) -> float:
        """In the last tenth."""
        return float(np.median(self.curve_mb[-max(1, len(self.curve_mb) // 10) :]))

    @property
    def growth_mb(self) -> float:
        """By how much the last tenth lies above the one in the middle."""
        tenth, middle = max(1, len(self.curve_mb) // 10), len(self.curve_mb) // 2
        later, sooner = self.curve_mb[-tenth:], self.curve_mb[middle : middle + tenth]
        return float(np.median(later) - np.median(sooner))


def memory(minutes: float, *flags: str, points: int = 200) -> Memory:
    """The monitor over a long recording at full speed."""
    with tempfile.TemporaryDirectory() as folder:
        run = hear(write(Path(folder), minutes), *flags)
    at = np.linspace(0, len(run.memory_mb) - 1, min(points, len(run.memory_mb)))
    curve = tuple(round(run.memory_mb[int(i)], 1) for i in at)
    return Memory(minutes, curve, round(run.peak_mb, 1))


def starts(rounds: int) -> dict[str, list[Start]]:
    """Starts with and without the recogniser, in turns, after one that is not counted."""
    found: dict[str, list[Start]] = {WITH_ASR: [], WITHOUT_ASR: []}
    start()
    for _ in range(rounds):
        found[WITH_ASR].append(start())
        found[WITHOUT_ASR].append(start("--no-asr"))
    return found
