"""The benchmark counts, searches and reports as it says; its figures are what a machine makes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import cost, overhead, peers
from bench.capacity import RULE
from bench.goals import goals
from bench.overhead import Memory
from bench.page import page
from bench.pictures import draw
from bench.timing import in_turns

ROOT = Path(__file__).parents[2]


def ms(median: float) -> dict[str, float]:
    return {"median": median, "least": median, "most": median}


def figures(ours_ms: float) -> dict[str, object]:
    costs = {cost.OURS: ms(ours_ms), cost.OURS_VOICE: ms(ours_ms), cost.OURS_LOG_MEL: ms(1.0)}
    costs |= {peers.WAV2VEC2: ms(600.0), peers.EGEMAPS: ms(72.0)}
    run = {"peak_mb": 119.0, "steady_mb": 110.0, "growth_mb": 0.2, "minutes": 60.0}
    run["curve_mb"] = [100.0, 119.0, 110.0]  # type: ignore[assignment]
    trial = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "cores": 0.5, "memory_mb": 200.0}
    trials = [
        trial | {"streams": 100, "holds": True},
        trial | {"streams": 200, "holds": True},
        trial | {"streams": 400, "holds": False},
    ]
    return {
        "machine": {"processor": "a processor"},
        "load_before": 0.1,
        "effort": {"rounds": 5},
        "utterance": {"by_length": {"5 s": costs}, "curve": {"5": costs, "10": costs}},
        "voice_activity": {
            cost.ENERGY: ms(0.04),
            cost.ENERGY_LIVE: ms(0.1),
            cost.SILERO: ms(3.0),
        },
        "overhead": {
            "ms_per_s": {overhead.BARE: 10.0, overhead.WITH_ASR: 10.4},
            "over_bare": 0.04,
        },
        "latency": {
            "runs": {
                "voice alone, prepared": {"decision to event p95": 5.0},
                "with the embedded recogniser, prepared": {"decision to event p95": 31.0},
            }
        },
        "memory": {overhead.WITHOUT_ASR: run, overhead.WITH_ASR: run},
        "streams": {overhead.WITHOUT_ASR: trials, overhead.WITH_ASR: trials[:1]},
    }


def test_a_goal_is_met_from_the_very_number_that_it_names() -> None:
    met = {goal.what: goal.met for goal in goals(figures(ours_ms=3.6))}
    assert met["5 s utterance, against openSMILE eGeMAPSv02"]
    assert met["5 s utterance, against wav2vec2-base"]
    missed = {goal.what: goal.met for goal in goals(figures(ours_ms=3.7))}
    assert not missed["5 s utterance, against openSMILE eGeMAPSv02"]
    assert missed["5 s utterance, against wav2vec2-base"]


def test_goals_of_latency_are_taken_from_their_own_page() -> None:
    found = [goal for goal in goals(figures(ours_ms=3.0)) if "decision" in goal.what]
    assert [(goal.found, goal.met) for goal in found] == [("5.0 ms", True), ("31.0 ms", False)]


def test_a_goal_that_is_missed_says_why() -> None:
    found = {goal.what: goal for goal in goals(figures(ours_ms=5.0))}
    vad = found["energy VAD live, against silero-vad"]
    assert (vad.found, vad.met) == ("1/30", False)
    assert f"missed. {vad.why}" in page(figures(ours_ms=5.0))
    assert "1/75" in vad.why
    assert all(goal.why for goal in found.values() if not goal.met)


def test_the_streams_that_count_are_the_most_that_hold() -> None:
    found = {goal.what: goal for goal in goals(figures(ours_ms=3.0))}
    streams = found["live streams without recogniser, 95th percentile below 50 ms"]
    assert (streams.found, streams.met) == ("200", True)


def test_the_page_tells_of_what_was_measured_and_of_nothing_else(tmp_path: Path) -> None:
    text = page(figures(ours_ms=3.0))
    assert "## Memory" in text
    assert "## Start-up" not in text
    assert RULE in " ".join(text.split())
    pictures = draw(figures(ours_ms=3.0), tmp_path)
    assert all(f"({Path('../images') / picture.name})" in text for picture in pictures)
    assert all(picture.stat().st_size > 1_000 for picture in pictures)


def test_memory_grows_by_what_its_end_lies_above_its_middle() -> None:
    loading, flat = [10.0 * i for i in range(10)], [100.0] * 90
    assert Memory(60, tuple(loading + flat), 100.0).growth_mb == 0
    leaking = [100 + 0.1 * i for i in range(100)]
    assert Memory(60, tuple(leaking), 110.0).growth_mb == pytest.approx(4.0)


def test_what_is_compared_is_measured_in_turns_after_a_round_to_warm_up() -> None:
    order: list[str] = []
    costs = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, least_s=0)
    assert order == ["a", "a", "b", "b", "a", "b", "a", "b"]
    assert costs["a"].least <= costs["a"].median <= costs["a"].most


def test_a_section_runs_alone_from_the_command_line() -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "voice_activity"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=100)
    assert cost.SILERO.encode() in done.stdout
    assert b'"streams"' not in done.stdout
