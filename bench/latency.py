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
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import soundfile

from bench.machine import describe_machine
from config.loader import build
from monitor.assembly import DEMO, assemble
from monitor.cli import leave_what_is_loaded
from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    Samples,
    SpeechEnded,
    UtteranceEmotion,
    WireEvent,
)
from monitor.settings import MonitorSettings

RESULTS: Final = Path(__file__).parents[1] / "docs" / "results"
GOALS_MS: Final = {"voice alone": 5.0, "with the embedded recogniser": 30.0}
"""95th percentile from the decision to the event."""


class InRealTime:
    """A recording as a microphone would deliver it: each frame when its last sample has been said."""

    name = "recording"
    live = True

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.began_s = 0.0
        """``time.perf_counter()`` at the first sample."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        self.began_s = time.perf_counter()
        for start in range(0, len(self._samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            due_s = self.began_s + (start + FRAME_SAMPLES) / SAMPLE_RATE_HZ
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            yield AudioFrame(start, self._samples[start : start + FRAME_SAMPLES])

    def stop(self) -> None:
        return None


class Stopwatch:
    """A publisher that notes when each event is handed to it."""

    def __init__(self) -> None:
        self.decided_s: dict[int, float] = {}
        self.judged: list[tuple[float, UtteranceEmotion]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def publish(self, event: WireEvent) -> None:
        now_s = time.perf_counter()
        match event.happening:
            case SpeechEnded(utterance=number):
                self.decided_s[number] = now_s
            case UtteranceEmotion() as utterance:
                self.judged.append((now_s, utterance))


def measure(samples: Samples, *, asr: bool, lead_ms: int | None = None) -> dict[str, float]:
    """Milliseconds from the decision, and from the last word, to the event."""
    given: dict[str, object] = {
        "asr.enabled": asr,
        "asr.model": "vosk-tiny-en",
        "websocket.enabled": False,
    }
    if lead_ms is not None:
        given["segmenter.lead_ms"] = lead_ms
    settings = build(MonitorSettings, overrides=given)
    parts = assemble(settings, audio=[str(DEMO)])
    pipeline = parts.pipeline
    source, stopwatch = InRealTime(samples), Stopwatch()
    parts.streams[0]._source, pipeline._publishers = source, [stopwatch]
    asyncio.run(parts.pipeline.run(leave_what_is_loaded))
    judged = [(s, u) for s, u in stopwatch.judged if u.segment.reason == "silence"]
    decision = [1000 * (s - stopwatch.decided_s[u.segment.utterance]) for s, u in judged]
    whole = [1000 * (s - source.began_s - u.segment.speech_end / SAMPLE_RATE_HZ) for s, u in judged]
    said = [u.latency.total for _, u in judged]
    hangover = [u.latency.endpoint for _, u in judged]
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
