"""One of everything that the monitor announces, as events."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from monitor.events import (
    AudioLevel,
    CloseReason,
    DeviceClipping,
    DeviceLost,
    DeviceMuted,
    DeviceOverflow,
    DeviceRecovered,
    DeviceSilent,
    Happening,
    Latency,
    Marked,
    ModelId,
    MonitorDegraded,
    MonitorRecovered,
    MonitorStarted,
    MonitorStopped,
    ProvisionalEmotion,
    Segment,
    SpeechBegan,
    SpeechEnded,
    StateChanged,
    Transcript,
    UtteranceEmotion,
    WireEvent,
    Word,
)
from monitor.ports import Publisher
from monitor.publish.journal import Journal, JournalSettings
from monitor.publish.wire import WireEncoder
from stser_core.ensemble import Verdict
from stser_core.explain import Salience
from stser_core.posterior import EmotionPosterior

MODEL = ModelId("stser-open", "1.5.0", "sha256:" + 64 * "0")
NOON = datetime(2026, 1, 2, 12, 0, 0, 5_000, tzinfo=UTC)

SEGMENT = Segment(
    utterance=17,
    start=129_920,
    end=167_680,
    speech_end=164_480,
    closed_at=170_880,
    reason=CloseReason.SILENCE,
    level_dbfs=-23.14,
    noise_floor_dbfs=-58.16,
    clipped=False,
    speech_samples=30_000,
)
WORDS = Transcript((Word("leave", 8.31, 8.6, 0.93), Word("me", 8.6, 8.75, 0.8)))
UTTERANCE = UtteranceEmotion(
    segment=SEGMENT,
    verdict=Verdict(
        posterior=EmotionPosterior((0.7, 0.1, 0.15, 0.05)),
        classifiers={
            "speech": EmotionPosterior((0.6, 0.2, 0.1, 0.1)),
            "text": EmotionPosterior((0.8, 0.0, 0.2, 0.0)),
            "bimodal": None,
        },
        modalities=("speech", "text"),
        agreement=0.83,
        salience=Salience(hop_ms=100, speech=(0.25, 0.75), words=(0.9, 0.1)),
    ),
    transcript=WORDS,
    abstained=(),
    latency=Latency(400.0, 12.14, 3.9, 0.26),
    model=MODEL,
)
STATE = StateChanged(
    "angry", 167_680, 0.7, {"angry": 0.7, "happy": 0.1, "neutral": 0.1, "sad": 0.1}
)
STARTED = MonitorStarted(
    versions={"python": "3.11.2"},
    settings_digest="sha256:1",
    model=MODEL,
    modalities=("speech", "text"),
    recogniser="stser-tiny-en",
    embedded=True,
    notice="",
    recording=False,
)
EVERY: tuple[Happening, ...] = (
    STARTED,
    SpeechBegan(17, 129_920),
    SpeechEnded(17, 129_920, 167_680),
    ProvisionalEmotion(replace(UTTERANCE, transcript=None)),
    UTTERANCE,
    replace(UTTERANCE, transcript=None, abstained=("no_transcript",)),
    STATE,
    DeviceOverflow("USB microphone", 2, 640),
    DeviceLost("USB microphone", "stalled", 1, 160_000),
    DeviceRecovered("USB microphone", 3, 40_000, 200_000),
    DeviceMuted("USB microphone", True, 1, 160_000),
    DeviceSilent("USB microphone", False, 2, 168_000),
    DeviceClipping("USB microphone", True, 90, 16_000),
    DeviceMuted("USB microphone", False, 1, 160_000, by="command"),
    Marked("the guests arrive", 320_000),
    MonitorDegraded("recogniser", "no answer for 10 s", 129_920),
    MonitorRecovered("recogniser", 2, 38_400, 167_680),
    MonitorStopped(60_000, 17, {"audio": 0}),
)

LEVEL = AudioLevel(-23.14, -58.16, True, 167_680)
"""What nobody is told who does not ask for it."""


def encoded(
    *happenings: Happening, transcript: bool = True, stream: str = "mic"
) -> list[WireEvent]:
    """Happenings as consecutive events of one source."""
    encoder = WireEncoder("node", stream, clock=lambda: NOON, transcript=transcript)
    return [encoder.encode(happening) for happening in happenings]


def in_memory() -> Journal:
    """An empty journal of the machine of these events."""
    return Journal(None, "node", JournalSettings())


def announce(journal: Journal, publisher: Publisher, *events: WireEvent) -> None:
    """What the pipeline does with each event."""
    for event in events:
        if event.sequence:
            journal.append(event)
        publisher.publish(event)


def numbered(count: int) -> list[WireEvent]:
    """``count`` events that differ in little more than their sequence."""
    return encoded(*(SpeechBegan(number, 0) for number in range(1, count + 1)))


def data_of(event: WireEvent) -> Any:
    """The ``data`` as a consumer reads it."""
    return json.loads(event.body)["data"]
