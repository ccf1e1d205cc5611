"""The installed program as a process of its own: its CPU time, its memory, its events, and how soon it is ready.

Run ``python -m bench.program FILE`` for bare Vosk in its place: the loop of Vosk's own example, for comparison.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import soundfile

from bench.audio import repeated
from monitor.assembly import DEMO
from monitor.events import SAMPLE_RATE_HZ
from monitor.vosk_model import find_model

MONITOR: Final = (sys.executable, "-m", "monitor")
BARE_VOSK: Final = (sys.executable, "-m", "bench.program")
MODEL: Final = "stser-tiny-en"
VOSK_BLOCK: Final = 4_000
"""Samples at a time in Vosk's example."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run over a file took."""

    cpu_s: float
    memory_mb: tuple[float, ...]
    """Resident, ten times a second at least."""
    events: list[dict[str, Any]]

    @property
    def peak_mb(self) -> float:
        return max(self.memory_mb)


def environment() -> dict[str, str]:
    """One thread, and compiled modules kept, as after any installation."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def hear(path: Path, *flags: str) -> Run:
    """The monitor over a file at full speed."""
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        command = [*MONITOR, "--input", str(path), "--pace", "max", "--no-ws"]
        command += ["--vosk-model", MODEL, "--events", str(events), *flags]
        cpu_s, memory = _watched(command)
        lines = events.read_text("utf-8").splitlines()
    return Run(cpu_s, memory, [json.loads(line) for line in lines])


def hear_bare(path: Path) -> Run:
    """Bare Vosk over the same file."""
    return Run(*_watched([*BARE_VOSK, str(path)]), [])


def _watched(command: list[str]) -> tuple[float, tuple[float, ...]]:
    """CPU seconds of a program, and its memory while it ran."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment())
    memory = [0.0]
    while True:
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        memory.append(resident_mb(process.pid) or memory[-1])
        time.sleep(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with status {status}")
    return usage.ru_utime + usage.ru_stime, tuple(memory[1:])


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 where it has ended."""
    told = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    found = re.search(r"VmRSS:\s+(\d+) kB", told)
    return int(found[1]) / 1024 if found else 0.0


@dataclass(frozen=True, slots=True)
class Start:
    """From starting the program to ``monitor.started``: everything loaded, open and listening."""

    wall_s: float
    memory_mb: float


def start(*flags: str) -> Start:
    """Start the monitor, with its page, on the bundled recording at the pace of speech, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*MONITOR, "--input", str(DEMO), "--pace", "realtime", "--ws-port", "0"]
        command += ["--vosk-model", MODEL, "--journal", f"{folder}/journal.sqlite3"]
        began_s = time.perf_counter()
        with subprocess.Popen(
            [*command, "--events", "-", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        ) as process:
            assert process.stdout is not None
            if b"monitor.started" not in process.stdout.readline():
                raise SystemExit(f"{' '.join(command)}: did not start")
            wall_s = time.perf_counter() - began_s
            memory_mb = resident_mb(process.pid)
            process.terminate()
            process.stdout.read()
    return Start(wall_s, memory_mb)


def write(folder: Path, minutes: float) -> Path:
    """A recording of so many minutes, PCM16 WAV."""
    path = folder / f"{minutes:g}-minutes.wav"
    soundfile.write(path, repeated(minutes * 60), SAMPLE_RATE_HZ)
    return path


def seconds(path: Path) -> float:
    """Length of a sound file."""
    return float(soundfile.info(path).duration)


def bare_vosk(path: str) -> None:
    """The loop of Vosk's ``test_simple.py``, with words."""
    import wave

    import vosk

    vosk.SetLogLevel(-1)
    recogniser = vosk.KaldiRecognizer(vosk.Model(str(find_model(MODEL).path)), SAMPLE_RATE_HZ)
    recogniser.SetWords(True)
    with wave.open(path, "rb") as file:
        while data := file.readframes(VOSK_BLOCK):
            if recogniser.AcceptWaveform(data):
                recogniser.Result()
    recogniser.FinalResult()


if __name__ == "__main__":
    bare_vosk(sys.argv[1])
