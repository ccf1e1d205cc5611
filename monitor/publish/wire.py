"""Happenings as CloudEvents 1.0 JSON (docs/wire.md). No I/O; the clock is handed in.

Numbers are rounded for people and bandwidth, but a posterior still sums to 1. Nothing that is not
finite reaches the wire: digital silence has the level :data:`SILENCE_DBFS`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from monitor.events import (
    AudioLevel,
    DeviceClipping,
    DeviceHappening,
    DeviceLost,
    DeviceMuted,
    DeviceOverflow,
    DeviceRecovered,
    DeviceSilent,
    Happening,
    Marked,
    ModelId,
    MonitorDegraded,
    MonitorRecovered,
    MonitorStarted,
    MonitorStopped,
    ProvisionalEmotion,
    SpeechBegan,
    SpeechEnded,
    StateChanged,
    Transcript,
    UtteranceEmotion,
    WireEvent,
    to_ms,
)
from monitor.publish.outbox import Lost
from stser_core.posterior import EmotionPosterior

PREFIX: Final = "org.stser."
SILENCE_DBFS: Final = -120.0
"""Least level on the wire."""

KINDS: Final = (
    "monitor.started",
    "monitor.stopped",
    "monitor.degraded",
    "monitor.recovered",
    "speech.started",
    "speech.ended",
    "emotion.provisional",
    "emotion.utterance",
    "emotion.state",
    "device.lost",
    "device.recovered",
    "device.overflow",
    "device.muted",
    "device.silent",
    "device.clipping",
    "mark",
    "stream.gap",
)
"""Types without prefix and version; each has a schema of its data under ``schemas/``."""

ON_REQUEST: Final = ("audio.level",)
"""Further ones, which consumers get that name them."""

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_DECIMALS: Final = 4

_CONDITIONS: Final[dict[type[DeviceHappening], str]] = {
    DeviceMuted: "device.muted",
    DeviceSilent: "device.silent",
    DeviceClipping: "device.clipping",
}

Json = dict[str, Any]


class WireEncoder:
    """Numbers and encodes the events of one stream.

    Args:
        node: Name of the machine, ``[a-zA-Z0-9_-]+``.
        stream: Name of the audio stream, likewise.
        clock: The time of day; called once an event.
        transcript: False leaves the words out of every event.

    Raises:
        ValueError: A name holds another character.
    """

    def __init__(
        self,
        node: str,
        stream: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        transcript: bool = True,
    ) -> None:
        for name, value in (("node", node), ("stream", stream)):
            if not _NAME.fullmatch(value):
                raise ValueError(
                    f"{name} ({value!r}) must be made of letters, digits, '_' and '-': "
                    "it becomes part of topics and source names."
                )
        self.source: Final = f"/stser/{node}/{stream}"
        self.transcript: Final = transcript
        """Whether events hold the words."""
        self._clock = clock
        self._sequence = 0
        self._in_passing = 0
        # Without a journal every run starts at 1, so the identifier needs something of the run.
        self._run = uuid.uuid4().hex[:12]

    def continue_after(self, sequence: int) -> None:
        """Go on with the numbering of an earlier run, whose last event had this sequence."""
        self._sequence = sequence

    def encode(self, happening: Happening) -> WireEvent:
        """The next event of this source."""
        kind, data = _encode(happening)
        if not self.transcript:
            data = without_transcript(data)
        if isinstance(happening, ProvisionalEmotion | AudioLevel):
            self._in_passing += 1
            identifier = f"{self._run}-p{self._in_passing}"
            numbered: Json = {}
        else:
            self._sequence += 1
            identifier = f"{self._run}-{self._sequence}"
            numbered = {"sequence": f"{self._sequence:020d}"}
        body = to_json(
            {
                **_envelope(self.source, kind, identifier, self._clock()),
                **numbered,
                "data": data,
            }
        )
        sequence = self._sequence if numbered else 0
        return WireEvent(self.source, f"{PREFIX}{kind}.v1", sequence, body, happening)


def stream_of(source: str) -> str:
    """The stream's name in a CloudEvents source."""
    return source.rpartition("/")[2]


def to_json(tree: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8 on one line.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # File names that are not UTF-8 reach Python as lone surrogates, which UTF-8 cannot hold.
    return text.encode("utf-8", "replace")


def without_transcript(data: Json) -> Json:
    """The data of an event with nothing left of the words."""
    if "transcript" not in data:
        return data
    return data | {"transcript": None, "salience": data["salience"] | {"words": []}}


def body_without_transcript(body: bytes) -> bytes:
    """The bytes of an event for a consumer that asked for no words."""
    tree = json.loads(body)
    if "transcript" not in tree["data"]:
        return body
    return to_json(tree | {"data": without_transcript(tree["data"])})


def gap(lost: Lost, reason: str, now: datetime) -> bytes:
    """The ``stream.gap.v1`` that one subscriber gets in place of events it missed.

    It has no place in the source's sequence, since no other subscriber sees it.
    """
    return to_json(
        {
            **_envelope(lost.source, "stream.gap", uuid.uuid4().hex, now),
            "data": {
                "from_sequence": f"{lost.first:020d}",
                "to_sequence": f"{lost.last:020d}",
                "dropped": lost.count,
                "reason": reason,
            },
        }
    )


def rounded_posterior(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Four decimals each that still sum to 1: the rest goes where rounding took most."""
    scale = 10**_DECIMALS
    exact = {name: value * scale for name, value in probabilities.items()}
    whole = {name: int(value) for name, value in exact.items()}
    left = scale - sum(whole.values())
    for name in sorted(exact, key=lambda name: whole[name] - exact[name])[:left]:
        whole[name] += 1
    return {name: value / scale for name, value in whole.items()}


def _envelope(source: str, kind: str, identifier: str, now: datetime) -> Json:
    return {
        "specversion": "1.0",
        "id": identifier,
        "source": source,
        "type": f"{PREFIX}{kind}.v1",
        "time": _timestamp(now),
        "datacontenttype": "application/json",
        "dataschema": f"/schemas/{kind}.v1.json",
    }


def _timestamp(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encode(happening: Happening) -> tuple[str, Json]:
    """Kind, as in the type, and data."""
    match happening:
        case UtteranceEmotion():
            return "emotion.utterance", _utterance(happening)
        case ProvisionalEmotion(so_far=so_far):
            return "emotion.provisional", _utterance(so_far) | {"final": False}
        case StateChanged():
            posterior = rounded_posterior(happening.posterior)
            return "emotion.state", {
                "label": happening.label,
                "since_ms": to_ms(happening.since),
                "confidence": posterior[happening.label],
                "posterior": posterior,
            }
        case AudioLevel():
            return "audio.level", {
                "level_dbfs": _decibels(happening.level_dbfs),
                "noise_floor_dbfs": _decibels(happening.noise_floor_dbfs),
                "speech": happening.speech,
                "at_ms": to_ms(happening.at),
            }
        case Marked(text=text, at=at):
            return "mark", {"text": text, "at_ms": to_ms(at)}
        case SpeechBegan():
            return "speech.started", {
                "utterance": happening.utterance,
                "start_ms": to_ms(happening.start),
            }
        case SpeechEnded():
            return "speech.ended", {
                "utterance": happening.utterance,
                "start_ms": to_ms(happening.start),
                "end_ms": to_ms(happening.end),
            }
        case DeviceOverflow():
            return "device.overflow", {
                "device": happening.device,
                "count": happening.count,
                "lost_ms": to_ms(happening.lost),
            }
        case DeviceLost() | DeviceRecovered() | DeviceMuted() | DeviceSilent() | DeviceClipping():
            return _device(happening)
        case MonitorStarted() | MonitorStopped() | MonitorDegraded() | MonitorRecovered():
            return _monitor(happening)


def _device(happening: DeviceHappening) -> tuple[str, Json]:
    data: Json = {"device": happening.device, "count": happening.count}
    match happening:
        case DeviceLost():
            return "device.lost", data | {
                "reason": happening.reason,
                "at_ms": to_ms(happening.at),
            }
        case DeviceRecovered():
            return "device.recovered", data | {
                "lost_ms": to_ms(happening.lost),
                "at_ms": to_ms(happening.at),
            }
        case DeviceMuted() | DeviceSilent() | DeviceClipping():
            condition: Json = {"active": happening.active, "duration_ms": to_ms(happening.length)}
            if isinstance(happening, DeviceMuted):
                condition["by"] = happening.by
            return _CONDITIONS[type(happening)], data | condition


def _monitor(
    happening: MonitorStarted | MonitorStopped | MonitorDegraded | MonitorRecovered,
) -> tuple[str, Json]:
    match happening:
        case MonitorDegraded():
            return "monitor.degraded", {
                "component": happening.component,
                "reason": happening.reason,
                "at_ms": to_ms(happening.at),
            }
        case MonitorRecovered():
            return "monitor.recovered", {
                "component": happening.component,
                "utterances": happening.utterances,
                "duration_ms": to_ms(happening.length),
                "at_ms": to_ms(happening.at),
            }
        case MonitorStopped():
            return "monitor.stopped", {
                "audio_ms": happening.audio_ms,
                "utterances": happening.utterances,
                "dropped": dict(happening.dropped),
            }
        case MonitorStarted():
            return "monitor.started", {
                "versions": dict(happening.versions),
                "settings": happening.settings_digest,
                "model": _model(happening.model),
                "modalities": list(happening.modalities),
                "recogniser": happening.recogniser,
                "embedded": happening.embedded,
                "notice": happening.notice,
                "recording": happening.recording,
            }


def _utterance(utterance: UtteranceEmotion) -> Json:
    segment, verdict, latency = utterance.segment, utterance.verdict, utterance.latency
    posterior = _posterior(verdict.posterior)
    return {
        "utterance": segment.utterance,
        "start_ms": to_ms(segment.start),
        "end_ms": to_ms(segment.end),
        "final": True,
        "label": utterance.label,
        "confidence": max(posterior.values()),
        "posterior": posterior,
        "classifiers": {
            name: None if said is None else _posterior(said)
            for name, said in verdict.classifiers.items()
        },
        "modalities": list(verdict.modalities),
        "agreement": round(verdict.agreement, _DECIMALS),
        "abstained": list(utterance.abstained),
        "transcript": None if utterance.transcript is None else _transcript(utterance.transcript),
        "salience": {
            "hop_ms": verdict.salience.hop_ms,
            "speech": [round(value, _DECIMALS) for value in verdict.salience.speech],
            "words": [round(value, _DECIMALS) for value in verdict.salience.words],
        },
        "audio": {
            "level_dbfs": _decibels(segment.level_dbfs),
            "noise_floor_dbfs": _decibels(segment.noise_floor_dbfs),
            "snr_db": round(
                max(segment.level_dbfs, SILENCE_DBFS) - max(segment.noise_floor_dbfs, SILENCE_DBFS),
                1,
            ),
            "clipped": segment.clipped,
        },
        "latency_ms": {
            "endpoint": round(latency.endpoint, 1),
            "asr": round(latency.asr, 1),
            "inference": round(latency.inference, 1),
            "publish": round(latency.publish, 1),
            "total": round(latency.total, 1),
        },
        "model": _model(utterance.model),
    }


def _posterior(posterior: EmotionPosterior) -> dict[str, float]:
    return rounded_posterior(posterior.as_dict())


def _model(model: ModelId) -> Json:
    return {"name": model.name, "version": model.version, "digest": model.digest}


def _decibels(value: float) -> float:
    return round(max(value, SILENCE_DBFS), 1)


def _transcript(transcript: Transcript) -> Json:
    return {
        "text": transcript.text,
        "confidence": round(transcript.confidence, _DECIMALS),
        "words": [
            {
                "word": word.word,
                "start": round(word.start_s, 3),
                "end": round(word.end_s, 3),
                "conf": round(word.conf, _DECIMALS),
            }
            for word in transcript.words
        ],
    }
