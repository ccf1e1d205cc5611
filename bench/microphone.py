"""From the last word to the event through a microphone: PulseAudio, ALSA, PortAudio and the installed program.

A second program records the same microphone and notes when each block of it comes. What it recorded, cut as the
monitor cuts, tells when the last word of each utterance was in the air, by a clock outside the monitor.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile

from bench.audio import repeated
from bench.program import MODEL, MONITOR, environment
from monitor.events import SAMPLE_RATE_HZ, Segment
from monitor.framer import Framer
from monitor.segmenter import Segmenter
from tests.support.virtual_microphone import NEEDED, VirtualMicrophone

FAREWELL_S: Final = 3.0
"""Silence after the last word, so that its event comes."""
NEAREST_S: Final = 1.5
"""An event belongs to the utterance that ended last before it, so long ago at most."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds from the last word to its event; what of it is the pause that has to be waited for."""

    utterances: int
    to_event_ms: dict[str, float]
    beyond_the_pause_ms: dict[str, float]


def delays(minutes: float, *flags: str) -> Delays:
    """Speak the bundled recording into a virtual microphone, over and over, and stamp what comes of it."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        raise SystemExit(f"{', '.join(missing)} not installed: there can be no virtual microphone.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        talk = folder / "talk.wav"
        soundfile.write(talk, repeated(minutes * 60), SAMPLE_RATE_HZ)
        microphone = VirtualMicrophone(folder)
        microphone.start()
        try:
            with _recorded(microphone) as blocks, _monitored(microphone, folder, flags) as events:
                microphone.play(talk)
                time.sleep(FAREWELL_S)
        finally:
            microphone.end()
    return _compared(_spoken(blocks), events)


@contextmanager
def _recorded(microphone: VirtualMicrophone) -> Iterator[list[tuple[float, bytes]]]:
    """The microphone's blocks with the moment at which each had come."""
    blocks: list[tuple[float, bytes]] = []
    command = ["parec", "--latency-msec=10", "-d", "mic", "--format=s16le", "--channels=1"]
    with subprocess.Popen(
        [*command, f"--rate={SAMPLE_RATE_HZ}"],
        stdout=subprocess.PIPE,
        env={**os.environ, **microphone.environment},
    ) as recorder:
        assert recorder.stdout is not None
        descriptor = recorder.stdout.fileno()

        def read() -> None:
            while data := os.read(descriptor, 1 << 16):
                blocks.append((time.perf_counter(), data))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield blocks
        finally:
            recorder.terminate()
            reader.join()


@contextmanager
def _monitored(
    microphone: VirtualMicrophone, folder: Path, flags: tuple[str, ...]
) -> Iterator[list[tuple[float, dict[str, Any]]]]:
    """The monitor's utterances with the moment at which each had come."""
    events: list[tuple[float, dict[str, Any]]] = []
    started = threading.Event()
    command = [*MONITOR, "--no-ws", "--events", "-", "--vosk-model", MODEL]
    with subprocess.Popen(
        [*command, "--journal", str(folder / "journal.sqlite3"), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment(), **microphone.environment},
    ) as program:
        assert program.stdout is not None
        lines = program.stdout

        def read() -> None:
            for line in lines:
                now_s, event = time.perf_counter(), json.loads(line)
                started.set()
                if event["type"] == "org.stser.emotion.utterance.v1":
                    events.append((now_s, event["data"]))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            if not started.wait(30):
                raise SystemExit("the monitor did not start at the virtual microphone")
            yield events
        finally:
            program.terminate()
            reader.join()


def _spoken(blocks: list[tuple[float, bytes]]) -> list[tuple[float, float]]:
    """For each utterance that a pause ended: when its last word and its pause were over."""
    pcm = np.frombuffer(b"".join(data for _, data in blocks), "<i2")
    came_s = np.array([at_s for at_s, _ in blocks])
    ends = np.cumsum([len(data) // 2 for _, data in blocks])

    def when(sample: int) -> float:
        """The moment of a sample; blocks come when their last one has been heard."""
        block = min(int(np.searchsorted(ends, sample)), len(ends) - 1)
        return float(came_s[block] - (ends[block] - sample) / SAMPLE_RATE_HZ)

    segmenter = Segmenter()
    outputs = [
        out
        for frame in Framer(SAMPLE_RATE_HZ, 1).push(pcm[:, None])
        for out in segmenter.push(frame)
    ]
    return [
        (when(out.speech_end), when(out.closed_at))
        for out in outputs
        if isinstance(out, Segment) and out.reason == "silence"
    ]


def _compared(
    spoken: list[tuple[float, float]], events: list[tuple[float, dict[str, Any]]]
) -> Delays:
    said, closed = np.array(spoken).T
    to_event, beyond = [], []
    for at_s, _ in events:
        last = int(np.searchsorted(said, at_s)) - 1
        if last >= 0 and at_s - said[last] < NEAREST_S:
            to_event.append(1000 * (at_s - said[last]))
            beyond.append(1000 * (at_s - closed[last]))
    return Delays(len(to_event), _percentiles(to_event), _percentiles(beyond))


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 1) for p in (50, 95, 99)}
