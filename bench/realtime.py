"""Streams within this process, and a clock outside the monitor that stamps their events."""

from __future__ import annotations

import time
from collections.abc import Sequence

from monitor.assembly import Workshop, choose_journal
from monitor.commands import CommandDesk
from monitor.events import SpeechEnded, UtteranceEmotion, WireEvent
from monitor.pipeline import Pipeline
from monitor.ports import AudioSource, Publisher
from monitor.reception import Reception
from monitor.settings import MonitorSettings
from tests.support.realtime import AlwaysOpen


class Stopwatch(AlwaysOpen):
    """A publisher that notes when each event is handed to it."""

    def __init__(self) -> None:
        self.decided_s: dict[tuple[str, int], float] = {}
        """By source and utterance: when its end was announced."""
        self.judged: list[tuple[float, str, UtteranceEmotion]] = []
        """When, of which source, what."""

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
        shedding=workshop.shedding,
        preload=workshop.preload,
    )
