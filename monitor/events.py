"""What flows through the monitor, in the order the audio walks: nothing else crosses a module.

Time is an integer sample index into the stream at :data:`SAMPLE_RATE_HZ`; spans are half open,
``[start, end)``. Milliseconds and seconds appear only in ``publish/wire.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stser_core.ensemble import Verdict

SAMPLE_RATE_HZ: Final = 16_000
"""Rate of every sample inside the monitor; sources resample to it."""

FRAME_SAMPLES: Final = 320
"""Samples in a frame: 20 ms, the step of the VAD."""

Samples = NDArray[np.float32]
"""Mono audio, float32 ``(samples,)``, full scale is 1.0, every value finite."""


def to_ms(samples: int) -> int:
    """Samples at :data:`SAMPLE_RATE_HZ` as milliseconds, rounded to the nearest."""
    return (samples * 1000 + SAMPLE_RATE_HZ // 2) // SAMPLE_RATE_HZ


# --- from the source ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """Consecutive samples of the stream: a frame, or several where nobody waits for the first of them."""

    start: int
    """Index of the first sample."""
    samples: Samples


@dataclass(frozen=True, slots=True)
class AudioGap:
    """Audio that was lost between two frames; it closes an open segment."""

    start: int
    """Index of the first lost sample."""
    length: int
    """Samples lost, as well as it is known; the stream clock advances by it. May be 0."""
    reason: str
    """``overflow`` (the driver lost audio), ``backlog`` (the monitor was too slow), ``muted`` (by command) or
    ``lost`` (the device was away)."""


# --- from the segmenter ------------------------------------------------------------------------


class CloseReason(StrEnum):
    """Why a segment ended."""

    OPEN = "open"
    """It has not: someone still speaks."""
    SILENCE = "silence"
    MAX_LENGTH = "max_length"
    GAP = "gap"
    END = "end"


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The VAD has opened a segment."""

    utterance: int
    """Number of the segment in its stream, from 1."""
    start: int
    """First sample of the segment, pre-roll included."""


@dataclass(frozen=True, slots=True)
class SpeechAudio:
    """Further audio of the open segment, in order and without holes, pre-roll first."""

    utterance: int
    start: int
    samples: Samples


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """The open segment may be over: all its audio has been handed on, and it ends at ``end`` unless
    speech goes on, which further :class:`SpeechAudio` says."""

    utterance: int
    end: int
    """End of the segment, tail included."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed span of speech. Exactly one utterance event follows from each."""

    utterance: int
    start: int
    end: int
    speech_end: int
    """End of the last frame that the VAD called speech; the latency clock starts here."""
    closed_at: int
    """Stream time at which the VAD was sure: ``closed_at - speech_end`` is the hangover."""
    reason: CloseReason
    level_dbfs: float
    """RMS level of the speech frames."""
    noise_floor_dbfs: float
    """The VAD's noise floor while the segment was open."""
    clipped: bool
    """True where at least ``vad.clipped_share`` of the samples are at full scale."""
    speech_samples: int
    """Samples in frames that the VAD called speech."""

    @property
    def snr_db(self) -> float:
        """Level above the noise floor."""
        return self.level_dbfs - self.noise_floor_dbfs


SegmenterOutput = SpeechStarted | SpeechAudio | SpeechPaused | Segment


# --- from the recogniser -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word, on the stream clock."""

    word: str
    start_s: float
    end_s: float
    conf: float
    """Recogniser's confidence, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of one segment; no words is a valid answer."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        return " ".join(word.word for word in self.words)

    @property
    def confidence(self) -> float:
        """Mean word confidence, weighted by duration; 0 where there are no words."""
        weights = [max(word.end_s - word.start_s, 1e-3) for word in self.words]
        if not weights:
            return 0.0
        return sum(w * word.conf for w, word in zip(weights, self.words, strict=True)) / sum(
            weights
        )


# --- to the publishers -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Latency:
    """Where the time between the end of speech and the event went, milliseconds."""

    endpoint: float
    """From the last speech sample to the VAD's decision: the hangover, and what audio waited to be heard."""
    asr: float
    """From the decision to the final transcript."""
    inference: float
    """From the transcript to the verdict."""
    publish: float
    """From the verdict to the hand-over to the publishers."""

    @property
    def total(self) -> float:
        return self.endpoint + self.asr + self.inference + self.publish


@dataclass(frozen=True, slots=True)
class ModelId:
    """Which weights gave the verdict."""

    name: str
    version: str
    digest: str
    """``sha256:...`` of the checkpoint."""


@dataclass(frozen=True, slots=True)
class MonitorStarted:
    versions: Mapping[str, str]
    settings_digest: str
    model: ModelId
    modalities: tuple[str, ...]
    recogniser: str
    """Name of the recogniser's model, or ``off``."""
    embedded: bool
    """Whether that model is the one in the package, a small one."""
    notice: str
    recording: bool
    """Whether the audio is kept."""


@dataclass(frozen=True, slots=True)
class MonitorStopped:
    audio_ms: int
    utterances: int
    dropped: Mapping[str, int]
    """What was lost since the start, by stage."""


@dataclass(frozen=True, slots=True)
class MonitorDegraded:
    """A component has failed at an utterance that is announced next, and is tried again at each that follows."""

    component: str
    """``recogniser``: utterances have no words; ``ensemble``: they have no verdict."""
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class MonitorRecovered:
    """It works again, from the utterance that is announced next."""

    component: str
    utterances: int
    """That were judged without it."""
    length: int
    """Samples of the stream between the first of them and now."""
    at: int


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    utterance: int
    start: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    utterance: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class UtteranceEmotion:
    """The final verdict on one segment."""

    segment: Segment
    verdict: Verdict
    transcript: Transcript | None
    """None where there is no recogniser, or it failed on this segment."""
    abstained: tuple[str, ...]
    """Reasons of wire.md for which the label is ``uncertain``; empty where it is not."""
    latency: Latency
    model: ModelId

    @property
    def label(self) -> str:
        return "uncertain" if self.abstained else self.verdict.posterior.label.value


@dataclass(frozen=True, slots=True)
class ProvisionalEmotion:
    """What an utterance sounds like so far. It may never be followed by another word of it."""

    so_far: UtteranceEmotion


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The debounced state has changed."""

    label: str
    since: int
    confidence: float
    posterior: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DeviceOverflow:
    device: str
    count: int
    """Gaps reported by this event."""
    lost: int
    """Samples lost, as well as it is known."""


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """The microphone delivers nothing any more; the monitor looks for it until it is back."""

    device: str
    reason: str
    """``ended`` (unplugged, or its audio server ended), ``stalled`` (open, but no audio comes) or
    ``absent`` (not there at the start)."""
    count: int
    """How often since the start, this time included."""
    at: int


@dataclass(frozen=True, slots=True)
class DeviceRecovered:
    """It delivers again."""

    device: str
    """Its name, or that of the one that has taken its place."""
    count: int
    """Attempts that it took."""
    lost: int
    """Samples of the stream clock without audio."""
    at: int
    """Where the audio goes on."""


@dataclass(frozen=True, slots=True)
class DeviceMuted:
    """Nothing is heard, by a command or because every sample is exactly zero; or no longer so."""

    device: str
    active: bool
    """False where it is over."""
    count: int
    """How often since the start, this time included."""
    length: int
    """Samples for which it has lasted."""
    by: str = "device"
    """``device``, where every sample is zero, which no converter delivers; or ``command``."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A consumer has placed a marker."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class DeviceSilent:
    """Less than the noise of any room is heard; or no longer so."""

    device: str
    active: bool
    count: int
    length: int


@dataclass(frozen=True, slots=True)
class DeviceClipping:
    """The level is too high for the converter; or no longer so."""

    device: str
    active: bool
    count: int
    """Samples at full scale since it began."""
    length: int


@dataclass(frozen=True, slots=True)
class AudioLevel:
    """How loud the last moment was. Told in passing, to consumers that ask for it."""

    level_dbfs: float
    """Of its loudest frame."""
    noise_floor_dbfs: float
    speech: bool
    """Whether the voice activity detector heard any."""
    at: int
    """Where it ended."""


DeviceHappening = DeviceLost | DeviceRecovered | DeviceMuted | DeviceSilent | DeviceClipping
"""What a live source says of its device, between the frames."""

Happening = (
    MonitorStarted
    | MonitorStopped
    | MonitorDegraded
    | MonitorRecovered
    | SpeechBegan
    | SpeechEnded
    | UtteranceEmotion
    | ProvisionalEmotion
    | StateChanged
    | DeviceOverflow
    | DeviceHappening
    | Marked
    | AudioLevel
)
"""Anything that becomes one event on the wire."""


@dataclass(frozen=True, slots=True)
class WireEvent:
    """A happening, encoded once; every channel carries these very bytes."""

    source: str
    """CloudEvents source, ``/stser/<node>/<stream>``."""
    type: str
    """CloudEvents type, such as ``org.stser.emotion.utterance.v1``."""
    sequence: int
    """0 where it has none: nobody is told that such an event was missed, or told it again."""
    body: bytes
    """Structured-mode CloudEvents JSON in UTF-8, without a line feed."""
    happening: Happening

    @property
    def kind(self) -> str:
        """The type without prefix and version: ``emotion.utterance``."""
        return self.type.removeprefix("org.stser.").rpartition(".")[0]
