"""What the monitor set out to reach, whether it has, and why not where it has not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench import cost, latency, overhead, peers

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table of goals."""

    what: str
    wanted: str
    found: str
    met: bool
    why: str
    """The reason, where it is missed."""


def goals(figures: Figures) -> list[Goal]:
    """Of the sections that were measured."""
    found: list[Goal] = []
    if "utterance" in figures:
        found += _utterance(figures["utterance"]["by_length"]["5 s"])
    if "voice_activity" in figures:
        found.append(_voice_activity(figures["voice_activity"]))
    if "overhead" in figures:
        found.append(_overhead(figures))
    if "streams" in figures:
        found.append(_streams(figures["streams"]))
    if "start" in figures:
        found.append(_start(figures["start"]))
    if "memory" in figures:
        found += _memory(figures["memory"])
    if "latency" in figures:
        found += _latency(figures["latency"]["runs"])
    return found


def _utterance(costs: Figures) -> list[Goal]:
    ours, mel = costs[cost.OURS]["median"], costs[cost.OURS_LOG_MEL]["median"]
    why = (
        f"Of {ours:.2f} ms the log-mel takes {mel:.2f}; the rest are matrix products and the steps of the LSTM in "
        "float32. Eight bits with a scale for each token would make ALBERT half as costly, and part ONNX Runtime "
        "from PyTorch by hundredths of a probability, where 1e-4 is promised."
    )
    return [
        _at_most(f"5 s utterance, against {peer}", ours, costs[peer]["median"], share, why)
        for peer, share in ((peers.WAV2VEC2, 150), (peers.EGEMAPS, 20))
    ]


def _voice_activity(costs: Figures) -> Goal:
    live, silero = costs[cost.ENERGY_LIVE]["median"], costs[cost.SILERO]["median"]
    recorded = costs[cost.ENERGY]["median"]
    why = (
        f"Live, 20 ms come at a time, and calling NumPy costs more than its sums. A second at a time, as for a "
        f"recording, it is 1/{silero / recorded:.0f}."
    )
    return _at_most("energy VAD live, against silero-vad", live, silero, 50, why)


def _at_most(what: str, ours: float, theirs: float, share: int, why: str) -> Goal:
    return Goal(what, f"at most 1/{share}", f"1/{theirs / ours:.0f}", theirs >= share * ours, why)


def _overhead(figures: Figures) -> Goal:
    over = figures["overhead"]["over_bare"]
    stages = figures.get("stages", {})
    why = "The stages below show where it goes." if stages else ""
    return Goal(
        "pipeline over bare Vosk on the same audio (embedded model)",
        "at most 5 %",
        f"{100 * over:+.1f} %",
        over <= 0.05,
        why,
    )


def _streams(trials: Figures) -> Goal:
    good = max((t["streams"] for t in trials[overhead.WITHOUT_ASR] if t["holds"]), default=0)
    return Goal(
        "live streams without recogniser, 95th percentile below 50 ms",
        "200",
        str(good),
        good >= 200,
        "All streams share one event loop, and Python runs on one core at a time: framing, VAD and log-mel of "
        "every stream wait for each other.",
    )


def _start(starts: Figures) -> Goal:
    start = starts[overhead.WITH_ASR]
    return Goal(
        "ready, with the recogniser",
        "0.5 s",
        f"{start['median_s']:.2f} s (without it {starts[overhead.WITHOUT_ASR]['median_s']:.2f} s)",
        start["median_s"] <= 0.5,
        "Half of it is Python importing modules; the models load beside each other on the second core.",
    )


def _memory(runs: Figures) -> list[Goal]:
    without = runs[overhead.WITHOUT_ASR]
    growth = max(run["growth_mb"] for run in runs.values())
    return [
        Goal(
            "memory without recogniser",
            "120 MB",
            f"{without['peak_mb']:.0f} MB",
            without["peak_mb"] <= 120,
            "Half of it are the shared libraries of NumPy and ONNX Runtime.",
        ),
        Goal(
            f"memory is flat over {without['minutes']:g} minutes of audio",
            "less than 1 MB more in the second half",
            f"{growth:+.2f} MB",
            growth < 1,
            "The picture shows when it grows.",
        ),
    ]


def _latency(runs: Figures) -> list[Goal]:
    found = []
    for name, wanted_ms in latency.GOALS_MS.items():
        late_ms = runs[f"{name}, prepared"]["decision to event p95"]
        found.append(
            Goal(
                f"from the decision to the event, 95th percentile, {name} ([latency.md](latency.md))",
                f"{wanted_ms:g} ms",
                f"{late_ms:.1f} ms",
                late_ms <= wanted_ms,
                "The verdict was ready; something else had the processor.",
            )
        )
    return found
