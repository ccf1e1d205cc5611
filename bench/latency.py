"""How long after its end an utterance's event comes, by an outside clock, with verdicts prepared ahead and without.

    python -m bench.latency [--minutes 2] [--write]

plays the bundled recording, over and over, in real time into the installed pipeline and stamps each event as it is
handed to a publisher. ``--write`` rewrites docs/results/latency.md, and latency.json beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile

from bench.machine import describe_machine
from bench.realtime import Stopwatch, live_pipeline
from config.loader import build
from monitor.assembly import DEMO
from monitor.cli import leave_what_is_loaded
from monitor.events import (
    SAMPLE_RATE_HZ,
    Samples,
)
from monitor.settings import MonitorSettings
from tests.support.realtime import InRealTime

RESULTS: Final = Path(__file__).parents[1] / "docs" / "results"
GOALS_MS: Final = {"voice alone": 5.0, "with the embedded recogniser": 30.0}
"""95th percentile from the decision to the event."""


def measure(samples: Samples, *, asr: bool, lead_ms: int | None = None) -> dict[str, float]:
    """Milliseconds from the decision, and from the last word, to the event."""
    given: dict[str, object] = {"asr.enabled": asr, "asr.model": "stser-tiny-en"}
    if lead_ms is not None:
        given["segmenter.lead_ms"] = lead_ms
    source, stopwatch = InRealTime(samples), Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        given["journal.path"] = str(Path(folder) / "journal.sqlite3")
        pipeline = live_pipeline(build(MonitorSettings, overrides=given), [source], stopwatch)
        asyncio.run(pipeline.run(leave_what_is_loaded))
    judged = [(s, u, name) for s, name, u in stopwatch.judged if u.segment.reason == "silence"]
    decision = [
        1000 * (s - stopwatch.decided_s[name, u.segment.utterance]) for s, u, name in judged
    ]
    whole = [
        1000 * (s - source.began_s - u.segment.speech_end / SAMPLE_RATE_HZ) for s, u, _ in judged
    ]
    said = [u.latency.total for _, u, _ in judged]
    hangover = [u.latency.endpoint for _, u, _ in judged]
    return {
        "utterances": len(judged),
        **{f"decision to event p{p}": float(np.percentile(decision, p)) for p in (50, 95, 99)},
        **{f"last word to event p{p}": float(np.percentile(whole, p)) for p in (50, 95)},
        "hangover p50": float(np.median(hangover)),
        "error of latency_ms.total p95": float(np.percentile(np.abs(np.subtract(whole, said)), 95)),
    }


def page(figures: dict[str, Any], minutes: float) -> str:
    """The figures as docs/results/latency.md."""
    rows = figures["runs"]
    lines = [
        "# From the last word to the event",
        "",
        f"`python -m bench.latency --minutes {minutes:g} --write` wrote this page. The bundled recording, over and",
        "over, in real time; milliseconds by an outside clock that stamps each event as a publisher gets it.",
        "The decision is the moment at which the pause has lasted long enough.",
        "",
        "| | " + " | ".join(rows) + " |",
        "|---|" + "---|" * len(rows),
    ]
    lines += [
        f"| {name} | " + " | ".join(f"{row[name]:.4g}" for row in rows.values()) + " |"
        for name in next(iter(rows.values()))
    ]
    lines += ["", "Goals, 95th percentile from the decision to the event:", ""]
    for name, goal_ms in GOALS_MS.items():
        reached = rows[f"{name}, prepared"]["decision to event p95"]
        lines.append(
            f"- {name}: at most {goal_ms:g} ms, "
            + ("met" if reached <= goal_ms else f"missed with {reached:.1f} ms")
        )
    lines += ["", "Machine:", ""]
    lines += [f"- {name}: {value}" for name, value in figures["machine"].items()]
    lines.append(f"- other load: {figures['load']:.1f} processes waiting on average when it began")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write where asked to."""
    flags = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    flags.add_argument("--minutes", type=float, default=2.0, help="audio for each run")
    flags.add_argument("--write", action="store_true", help="rewrite docs/results/latency.*")
    given = flags.parse_args()
    recording, _ = soundfile.read(DEMO, dtype="float32")
    samples = np.resize(recording, int(given.minutes * 60 * SAMPLE_RATE_HZ))
    figures: dict[str, Any] = {
        "machine": describe_machine(),
        "load": os.getloadavg()[0],
        "minutes": given.minutes,
        "runs": {
            "voice alone, prepared": measure(samples, asr=False),
            "voice alone, not prepared": measure(samples, asr=False, lead_ms=0),
            "with the embedded recogniser, prepared": measure(samples, asr=True),
            "with the embedded recogniser, not prepared": measure(samples, asr=True, lead_ms=0),
        },
    }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    if given.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "latency.md").write_text(page(figures, given.minutes), "utf-8")
        (RESULTS / "latency.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
