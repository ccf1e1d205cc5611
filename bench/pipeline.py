"""What the monitor costs: each stage, the whole, start-up, memory, and the time from end of speech to event.

    python -m bench [--minutes 5] [--markdown]

The audio is the bundled recording, repeated. Stages are timed in this process on one thread; the whole is the
installed program in a process of its own, its CPU time and peak memory as the operating system counts them.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.machine import describe_machine
from monitor.asr import VoskEngine, find_model
from monitor.assembly import DEMO
from monitor.events import SAMPLE_RATE_HZ, AudioFrame, Samples, Segment, SpeechAudio, SpeechStarted
from monitor.framer import Framer
from monitor.segmenter import Segmenter
from stser_core.ensemble import Stser
from stser_core.features import LogMelStream, log_mel

PROGRAM = (sys.executable, "-m", "monitor")
BLOCK_MS = 10
"""Audio is pushed in blocks of this length, as a driver would deliver it."""


def repeated(seconds: float) -> Samples:
    """The bundled recording, over and over."""
    samples, _ = soundfile.read(DEMO, dtype="float32")
    times = int(np.ceil(seconds * SAMPLE_RATE_HZ / len(samples)))
    return np.tile(samples, times)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of CPU that this process spends on some work, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def frame(samples: Samples, rate_hz: int) -> list[AudioFrame]:
    """Frames of audio that comes in driver-sized blocks."""
    framer = Framer(rate_hz, 1)
    step = rate_hz * BLOCK_MS // 1000
    frames = [
        f for i in range(0, len(samples), step) for f in framer.push(samples[i : i + step, None])
    ]
    return frames + framer.flush()


def stage_costs(samples: Samples) -> dict[str, float]:
    """Real-time factor of each stage: seconds of CPU for one second of audio."""
    audio_s = len(samples) / SAMPLE_RATE_HZ
    at_48k = np.repeat(samples, 3)
    costs: dict[str, float] = {}
    costs["framer, 48 kHz in"], _ = timed(lambda: frame(at_48k, 48_000))
    costs["framer, 16 kHz in"], frames = timed(lambda: frame(samples, SAMPLE_RATE_HZ))

    def segment() -> list[Any]:
        segmenter = Segmenter()
        outputs = [output for f in frames for output in segmenter.push(f)]
        return outputs + segmenter.flush()

    costs["VAD and segmenter"], outputs = timed(segment)

    def mel() -> None:
        stream = LogMelStream(ensemble.log_mel_settings)
        for output in outputs:
            if isinstance(output, SpeechAudio):
                stream.push(output.samples)

    ensemble = Stser.load()
    costs["log-mel"], _ = timed(mel)
    costs["recogniser"] = recogniser_cost(outputs)
    segments = [output for output in outputs if isinstance(output, Segment)]
    words = ["i", "am", "so", "happy", "today"]

    def judge() -> None:
        for item in segments:
            ensemble.classify(log_mel(item.samples, ensemble.log_mel_settings), words, None)

    mel_again, _ = timed(
        lambda: [log_mel(item.samples, ensemble.log_mel_settings) for item in segments]
    )
    judged, _ = timed(judge)
    costs["ensemble"] = judged - mel_again
    return {name: cost / audio_s for name, cost in costs.items()}


def whole(path: Path, audio_s: float, *flags: str) -> dict[str, float]:
    """The installed program over a file: CPU seconds a second of audio, peak memory, event delays."""
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        command = [*PROGRAM, "--input", str(path), "--no-ws", "--events", str(events), *flags]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        peak_mb, status, usage = watched(process.pid)
        if status:
            raise SystemExit(f"{' '.join(command)}: ended with status {status}")
        lines = [json.loads(line) for line in events.read_text("utf-8").splitlines()]
    spoken = [e["data"] for e in lines if e["type"] == "org.stser.emotion.utterance.v1"]
    delays = [
        sum(data["latency_ms"][part] for part in ("asr", "inference", "publish")) for data in spoken
    ]
    return {
        "real-time factor": (usage.ru_utime + usage.ru_stime) / audio_s,
        "peak memory, MB": peak_mb,
        "utterances": len(spoken),
        "decision to event p50, ms": float(np.percentile(delays, 50)),
        "decision to event p95, ms": float(np.percentile(delays, 95)),
    }


def watched(pid: int) -> tuple[float, int, resource.struct_rusage]:
    """Peak memory in MB, status and usage of a child that is waited for.

    The peak is read while it runs: the one that the operating system hands over in the end counts
    what this process held when it forked.
    """
    peak_kb = 0
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return peak_kb / 1024, status, usage
        told = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
        if found := re.search(r"VmHWM:\s+(\d+) kB", told):
            peak_kb = int(found[1])
        time.sleep(0.05)


def start_up(runs: int = 7) -> dict[str, float]:
    """Seconds from starting the program to ``monitor.started``: everything loaded and listening."""
    waits = []
    for _ in range(runs):
        start = time.perf_counter()
        with subprocess.Popen(
            [
                *PROGRAM,
                "--input",
                str(DEMO),
                "--pace",
                "realtime",
                "--ws-port",
                "0",
                "--events",
                "-",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            waits.append(time.perf_counter() - start)
            process.terminate()
            process.stdout.read()
    return {"median, s": statistics.median(waits), "worst, s": max(waits)}


def recogniser_cost(outputs: list[Any]) -> float:
    """Seconds of CPU that the embedded recogniser spends on the segments."""
    engine = VoskEngine(find_model("vosk-tiny-en").path)

    def recognise() -> None:
        for output in outputs:
            match output:
                case SpeechStarted(start=start):
                    engine.begin(start)
                case SpeechAudio(samples=samples):
                    engine.feed(samples)
                case Segment(end=end):
                    engine.finish(end)

    return timed(recognise)[0]


def page(figures: dict[str, Any], minutes: float) -> str:
    """The figures as docs/results/pipeline.md."""
    lines = [
        "# What the monitor costs",
        "",
        f"`python -m bench --minutes {minutes:g} --markdown` (or `make bench`) wrote this page. The audio is the",
        "bundled recording, repeated. Real-time factor: seconds of CPU for one second of audio, one thread.",
        "",
    ]
    for title, table in figures.items():
        if not isinstance(table, dict):
            lines += [f"{title}: {table}", ""]
            continue
        lines += [f"## {title.capitalize()}", "", "| | |", "|---|---|"]
        lines += [
            f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |"
            for name, value in table.items()
        ]
        lines.append("")
    return "\n".join(lines)


def measure(minutes: float) -> dict[str, Any]:
    """All figures of this benchmark."""
    samples = repeated(minutes * 60)
    audio_s = len(samples) / SAMPLE_RATE_HZ
    with tempfile.TemporaryDirectory() as folder:
        path, short = Path(folder) / "talk.wav", Path(folder) / "short.wav"
        soundfile.write(path, samples, SAMPLE_RATE_HZ)
        soundfile.write(short, repeated(20), SAMPLE_RATE_HZ)
        return {
            "machine": describe_machine(),
            "audio, s": round(audio_s, 1),
            "stages, real-time factor": stage_costs(samples),
            "whole, file at full speed": whole(path, audio_s, "--pace", "max"),
            "whole without recogniser": whole(path, audio_s, "--pace", "max", "--no-asr"),
            "live pace": whole(short, len(repeated(20)) / SAMPLE_RATE_HZ, "--pace", "realtime"),
            "start-up": start_up(),
        }
