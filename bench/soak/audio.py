"""What is heard: speech, noise, silence and clipping, with gaps and lost devices, the same from the same seed."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import soundfile

from monitor.assembly import DEMO
from monitor.device_health import DeviceHealth
from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    DeviceHappening,
    DeviceLost,
    DeviceRecovered,
    Samples,
    Segment,
)
from monitor.segmenter import Segmenter
from tests.support.realtime import AlwaysOpen


class MixedAudio(AlwaysOpen):
    """Endless audio and faults, the same from the same seed. It waits for its consumer."""

    live = False
    name = "soak"

    def __init__(self, seed: int, hours: float) -> None:
        self._rng = random.Random(seed)
        self._noise = np.random.default_rng(seed).standard_normal(1 << 18).astype(np.float32)
        self._sentences = _sentences()
        self._end = round(hours * 3_600 * SAMPLE_RATE_HZ) if hours else sys.maxsize
        self._health = DeviceHealth(10.0)
        self._stopped = False
        self.clock = 0
        self.faults: Counter[str] = Counter()
        self.scenes: Counter[str] = Counter()

    def stop(self) -> None:
        self._stopped = True

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap | DeviceHappening]:
        while not self._stopped and self.clock < self._end:
            samples = self._scene()
            fault_at = self._rng.randrange(len(samples)) if self._rng.random() < 0.15 else -1
            for at in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
                if at <= fault_at < at + FRAME_SAMPLES:
                    for item in self._fault():
                        yield item
                frame = AudioFrame(self.clock, samples[at : at + FRAME_SAMPLES])
                self.clock += FRAME_SAMPLES
                yield frame
                for happening in self._health.push(frame, self.name):
                    yield happening
            await asyncio.sleep(0)

    def _scene(self) -> Samples:
        kind = self._rng.choices(
            ("speech", "noise", "room", "zeros", "clipped", "knocks"), (10, 2, 4, 1, 1, 1)
        )[0]
        self.scenes[kind] += 1
        room = self._room(self._rng.uniform(0.3, 4.0), self._rng.uniform(-75, -50))
        match kind:
            case "noise":
                return self._room(self._rng.uniform(1, 10), self._rng.uniform(-40, -15))
            case "room":
                return room
            case "zeros":
                return np.zeros(round(self._rng.uniform(1, 20) * SAMPLE_RATE_HZ), np.float32)
            case "knocks":
                room[:: self._rng.randrange(500, 9_000)] = 0.9
                return room
            case _:
                sentence = self._rng.choice(self._sentences)
                gain = 30 if kind == "clipped" else self._rng.uniform(0.1, 1.5)
                loud = np.clip(sentence * np.float32(gain), -1, 1)
                return np.concatenate([loud, room])

    def _room(self, seconds: float, dbfs: float) -> Samples:
        n = round(seconds * SAMPLE_RATE_HZ)
        at = self._rng.randrange(len(self._noise) - n) if n < len(self._noise) else 0
        noise: Samples = np.clip(self._noise[at : at + n] * np.float32(10 ** (dbfs / 20)), -1, 1)
        return noise

    def _fault(self) -> list[AudioGap | DeviceHappening]:
        kind = self._rng.choices(("overflow", "backlog", "lost"), (3, 2, 1))[0]
        self.faults[kind] += 1
        start, seconds = self.clock, self._rng.uniform(0.0, 1.0)
        if kind != "lost":
            self.clock += round(seconds * SAMPLE_RATE_HZ)
            return [AudioGap(start, self.clock - start, kind)]
        self.clock += round(30 * seconds * SAMPLE_RATE_HZ)
        self._health.interrupted()
        reason, length = self._rng.choice(("ended", "stalled")), self.clock - start
        return [
            AudioGap(start, 0, "lost"),
            DeviceLost(self.name, reason, self.faults["lost"], start),
            AudioGap(start, length, "lost"),
            DeviceRecovered(self.name, 1, length, self.clock),
        ]


def _sentences() -> list[Samples]:
    """Of the bundled recording."""
    samples, _ = soundfile.read(DEMO, dtype="float32")
    segmenter = Segmenter()
    return [
        samples[output.start : output.end]
        for at in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
        for output in segmenter.push(AudioFrame(at, samples[at : at + FRAME_SAMPLES]))
        if isinstance(output, Segment)
    ]
