"""Streams in real time within this process, and a clock outside the monitor that stamps their events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from monitor.assembly import Workshop, choose_journal
from monitor.commands import CommandDesk
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
from monitor.pipeline import Pipeline
from monitor.ports import AudioSource, Publisher
from monitor.reception import Reception
from monitor.settings import MonitorSettings


class InRealTime:
    """A recording as a microphone would deliver it: each frame when its last sample has been said.

    Args:
        samples: Shared by all that play it.
        name: Of the source.
        first: Sample to begin with; at the end, it goes round.
        n_samples: How much to play; None plays all of it once.
        begins_in_s: When.
    """

    live = True

    def __init__(
        self,
        samples: Samples,
        name: str = "recording",
        *,
        first: int = 0,
        n_samples: int | None = None,
        begins_in_s: float = 0.0,
    ) -> None:
        self.name = name
        self._samples = samples[: len(samples) - len(samples) % FRAME_SAMPLES]
        self._first = first - first % FRAME_SAMPLES
        self._n_samples = len(samples) if n_samples is None else n_samples
        self._begins_in_s = begins_in_s
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
        self.began_s = time.perf_counter() + self._begins_in_s
        for start in range(0, self._n_samples - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            due_s = self.began_s + (start + FRAME_SAMPLES) / SAMPLE_RATE_HZ
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            at = (self._first + start) % len(self._samples)
            yield AudioFrame(start, self._samples[at : at + FRAME_SAMPLES])

    def stop(self) -> None:
        return None


class Stopwatch:
    """A publisher that notes when each event is handed to it."""

    def __init__(self) -> None:
        self.decided_s: dict[tuple[str, int], float] = {}
        """By source and utterance: when its end was announced."""
        self.judged: list[tuple[float, str, UtteranceEmotion]] = []
        """When, of which source, what."""

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
                self.decided_s[event.source, number] = now_s
            case UtteranceEmotion() as utterance:
                self.judged.append((now_s, event.source, utterance))


def live_pipeline(
    settings: MonitorSettings, sources: Sequence[AudioSource], publisher: Publisher
) -> Pipeline:
    """The monitor with these sources instead of microphones; each event goes to the journal and the publisher."""
    workshop = Workshop(settings, "bench", offline=False)
    names = [f"stream-{number}" for number in range(1, len(sources) + 1)]
    streams = [workshop.new_stream(*each) for each in zip(names, sources, strict=True)]
    return Pipeline(
        streams=streams,
        ensemble=workshop.ensemble,
        journal=choose_journal(settings, "bench", offline=False),
        publishers=[publisher],
        desk=CommandDesk(),
        reception=Reception(settings.audio, workshop.new_stream, own=len(streams)),
        preload=workshop.preload,
    )
