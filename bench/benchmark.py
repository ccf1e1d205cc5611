"""The benchmark: what others take and what the monitor takes, in one run on one machine, as data."""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench import cost, microphone, overhead, streams
from bench.machine import describe_machine
from bench.stages import stages

logger = logging.getLogger(__name__)

PACKAGES: Final = (
    *("soxr", "soundfile", "torch", "transformers", "opensmile", "librosa"),
    *("silero-vad", "webrtcvad-wheels"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    """Turns of everything that is compared."""
    heavy: bool = True
    """With HuBERT-large, which takes longer than all the rest of its table."""
    minutes: float = 5.0
    """Audio for the pipeline."""
    hour_minutes: float = 60.0
    """Audio over which the memory is watched."""
    spoken_minutes: float = 1.5
    """Spoken into the virtual microphone, with and without the recogniser."""
    trial_s: float = 15.0
    """Live audio of each stream in a trial."""
    first_streams: tuple[int, int] = (100, 16)
    """Streams of the first trial, without and with the recogniser."""


FULL: Final = Effort()
QUICK: Final = Effort(
    rounds=1,
    heavy=False,
    minutes=1.0,
    hour_minutes=2.0,
    spoken_minutes=0.2,
    trial_s=6.0,
    first_streams=(16, 2),
)
"""About a minute, to see that everything runs; none of its figures is worth keeping."""


def measure(effort: Effort, *, only: str = "") -> dict[str, Any]:
    """Every section, or one; JSON can hold it.

    Args:
        effort: How much.
        only: Name of a section.
    """
    sections: dict[str, Callable[[Effort], Any]] = {
        "utterance": _utterance,
        "voice_activity": lambda effort: _medians(cost.voice_activity(effort.rounds)),
        "stages": lambda effort: stages(min(2.0, effort.minutes)),
        "overhead": _overhead,
        "start": _start,
        "memory": _memory,
        "microphone": _microphone,
        "streams": _streams,
    }
    figures: dict[str, Any] = {
        "machine": describe_machine(*PACKAGES),
        "load_before": round(os.getloadavg()[0], 2),
        "effort": asdict(effort),
    }
    for name, section in sections.items():
        if only in ("", name):
            began_s = time.monotonic()
            figures[name] = section(effort)
            logger.info("%s: %.0f s", name, time.monotonic() - began_s)
    return figures


def _medians(costs: dict[str, cost.Cost]) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(ms, 4) for key, ms in asdict(each).items()}
        for name, each in costs.items()
    }


def _utterance(effort: Effort) -> dict[str, Any]:
    lengths = [2.0, 5.0, 10.0] if effort.heavy else [5.0]
    found = cost.utterances(lengths, effort.rounds, heavy=effort.heavy)
    curve = cost.by_length([1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0], effort.rounds)
    return {
        "by_length": {length: _medians(costs) for length, costs in found.items()},
        "curve": {f"{length:g}": _medians(costs) for length, costs in curve.items()},
    }


def _overhead(effort: Effort) -> dict[str, Any]:
    found = overhead.overhead(effort.minutes, min(3, effort.rounds))
    costs = {name: round(ms, 3) for name, ms in found.ms_per_s.items()}
    return {"ms_per_s": costs, "over_bare": round(found.over_bare, 4)}


def _start(effort: Effort) -> dict[str, Any]:
    return {
        name: {
            "median_s": round(statistics.median(start.wall_s for start in each), 3),
            "most_s": round(max(start.wall_s for start in each), 3),
            "memory_mb": round(statistics.median(start.memory_mb for start in each), 1),
        }
        for name, each in overhead.starts(1 + 2 * min(3, effort.rounds)).items()
    }


def _memory(effort: Effort) -> dict[str, Any]:
    runs = {
        overhead.WITHOUT_ASR: overhead.memory(effort.hour_minutes, "--no-asr"),
        overhead.WITH_ASR: overhead.memory(effort.hour_minutes),
    }
    return {
        name: asdict(run)
        | {"steady_mb": round(run.steady_mb, 1), "growth_mb": round(run.growth_mb, 2)}
        for name, run in runs.items()
    }


def _microphone(effort: Effort) -> dict[str, Any]:
    return {
        overhead.WITHOUT_ASR: asdict(microphone.delays(effort.spoken_minutes, "--no-asr")),
        overhead.WITH_ASR: asdict(microphone.delays(effort.spoken_minutes)),
    }


def _streams(effort: Effort) -> dict[str, Any]:
    without, with_asr = effort.first_streams
    return {
        overhead.WITHOUT_ASR: _trials(asr=False, first=without, effort=effort),
        overhead.WITH_ASR: _trials(asr=True, first=with_asr, effort=effort),
    }


def _trials(*, asr: bool, first: int, effort: Effort) -> list[dict[str, Any]]:
    found = streams.most(asr=asr, seconds=effort.trial_s, first=first)
    return [asdict(each) | {"holds": each.holds} for each in found]
