"""Frames in, spans of speech out: pre-roll, minimum speech, hangover, maximum length, gaps, flush.

A state machine with no clock and no I/O. The audio of an open segment is handed on as it comes, so
that the recogniser and the log-mel advance with the speech; silence is held back until speech
resumes, so that what was handed on is exactly the segment when it closes. Shortly before a pause ends
a segment, :class:`SpeechPaused` says so, and the verdict can be prepared.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    AudioLevel,
    CloseReason,
    Samples,
    Segment,
    SegmenterOutput,
    SpeechAudio,
    SpeechPaused,
    SpeechStarted,
)
from monitor.vad import INITIAL_FLOOR_DBFS, EnergyVad, VadFrame, VadSettings

FRAME_MS: Final = FRAME_SAMPLES * 1000 // SAMPLE_RATE_HZ

FULL_SCALE: Final = 0.999
"""A sample from here on is taken to be at full scale: the largest one of 16 bits is 0.99997."""

RESUME_FRAMES: Final = 2
"""Speech that continues a segment of maximum length. Shorter than the minimum speech, because it
has proved to be speech before; not one frame, because 20 ms do not make a log-mel frame."""


MOMENT_FRAMES: Final = 10
"""200 ms, over which a meter shows the level."""

LEAST_SPEECH_FRAMES: Final = 20
"""Speech from which on its level says how it ends; after less, the hangover is the middle one."""


def finality(levels: Sequence[float], speech_levels: Sequence[float]) -> float:
    """How much the last speech sounded like the end of an utterance, from 0 (broke off) to 1 (faded out).

    Two signs, weighted by logistic regression on pauses within and after read sentences
    (bench/hangover.py): how far the last 100 ms lie below the loud part of the utterance, and how fast the
    last 300 ms fall. Pitch was tried, and told nothing.

    Args:
        levels: Of the frames from the first speech to the last, dBFS.
        speech_levels: Of those among them that are speech.
    """
    fade_db = float(np.percentile(speech_levels, 80)) - sum(levels[-5:]) / len(levels[-5:])
    last = np.asarray(levels[-15:])
    times_s = np.arange(len(last)) * (FRAME_MS / 1000)
    times_s -= times_s.mean()
    fall_db_s = -float(times_s @ (last - last.mean()) / (times_s @ times_s))
    return min(1.0, max(0.0, 0.0238 * fade_db + 0.00723 * fall_db_s - 0.26))


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterSettings:
    """From speech frames to segments. Durations are rounded up to whole frames of 20 ms."""

    silence_ms: int = 400
    """Hangover: silence that ends a segment. Less answers sooner, more splits fewer sentences."""
    early_ms: int = 120
    """A voice that has faded out is waited for so much less. 0 together with late_ms: always the same."""
    late_ms: int = 200
    """A voice that broke off at full level is waited for so much longer: it may go on."""
    min_speech_ms: int = 100
    """Speech without a break that opens a segment. More ignores longer clicks and knocks."""
    pre_roll_ms: int = 300
    """Audio kept before the first speech frame: soft onsets belong to the word."""
    tail_ms: int = 100
    """Audio kept after the last speech frame, of the hangover."""
    lead_ms: int = 120
    """The verdict is prepared so long before the hangover ends; thrown away if speech goes on. 0: never."""
    max_segment_ms: int = 15_000
    """A longer segment is closed, and the next one continues where it ended."""

    def __post_init__(self) -> None:
        for name in ("silence_ms", "early_ms", "late_ms", "pre_roll_ms", "tail_ms", "lead_ms"):
            value = getattr(self, name)
            if value < 0:
                raise ValueError(
                    f"segmenter.{name} ({value}) must not be negative: it is a duration in "
                    "milliseconds. Use 0 for none."
                )
        if self.min_speech_ms <= FRAME_MS:
            raise ValueError(
                f"segmenter.min_speech_ms ({self.min_speech_ms}) must exceed {FRAME_MS}: "
                "a single frame of noise would be an utterance."
            )
        if self.early_ms > self.silence_ms:
            raise ValueError(
                f"segmenter.early_ms ({self.early_ms}) must not exceed segmenter.silence_ms "
                f"({self.silence_ms}), which it shortens. Lower early_ms in a settings file (--config), or "
                "raise silence_ms."
            )
        shortest = self.pre_roll_ms + self.min_speech_ms + self.silence_ms + self.late_ms
        if not shortest < self.max_segment_ms <= 60_000:
            raise ValueError(
                f"segmenter.max_segment_ms ({self.max_segment_ms}) must exceed pre_roll_ms + "
                f"min_speech_ms + silence_ms + late_ms ({shortest}), so that a segment can end by itself, "
                "and must not exceed 60000: it bounds memory and the time to a verdict."
            )


class _Heard(NamedTuple):
    start: int
    samples: Samples
    level_dbfs: float
    speech_power: float
    """Mean square of a speech frame; 0 where the VAD heard none."""


@dataclass(slots=True)
class _OpenSegment:
    utterance: int
    start: int
    speech_end: int = 0
    speech_power: float = 0.0
    n_speech: int = 0
    n_silent: int = 0
    """Frames since the last speech."""
    hangover: int = 0
    """Frames of silence that end the segment, as its last speech sounded."""
    levels: list[float] = field(default_factory=list)
    """Of all frames from the first speech on, dBFS."""
    speech_levels: list[float] = field(default_factory=list)
    n_frames: int = 0
    n_clipped: int = 0
    """Samples at full scale."""

    @property
    def end(self) -> int:
        return self.start + self.n_frames * FRAME_SAMPLES

    def add(self, heard: _Heard) -> None:
        self.n_frames += 1
        self.n_clipped += int(np.count_nonzero(np.abs(heard.samples) >= FULL_SCALE))
        if heard.speech_power > 0 or self.n_speech:
            self.levels.append(heard.level_dbfs)
        if heard.speech_power > 0:
            self.speech_levels.append(heard.level_dbfs)
            self.speech_power += heard.speech_power
            self.n_speech += 1
            self.speech_end = heard.start + FRAME_SAMPLES


class Segmenter:
    """Cuts one stream into segments: in order, disjoint, none longer than the maximum."""

    def __init__(
        self,
        vad: VadSettings | None = None,
        settings: SegmenterSettings | None = None,
    ) -> None:
        self._vad_settings = vad if vad is not None else VadSettings()
        self._settings = settings if settings is not None else SegmenterSettings()
        self._vad = EnergyVad(self._vad_settings)
        self._floor_dbfs = INITIAL_FLOOR_DBFS
        self._moment: deque[VadFrame] = deque(maxlen=MOMENT_FRAMES)
        self._silence_frames = max(1, _frames(self._settings.silence_ms))
        self._min_speech_frames = _frames(self._settings.min_speech_ms)
        self._pre_roll_frames = _frames(self._settings.pre_roll_ms)
        self._tail_frames = _frames(self._settings.tail_ms)
        self._lead_frames = _frames(self._settings.lead_ms)
        self._max_samples = _frames(self._settings.max_segment_ms) * FRAME_SAMPLES
        self._open: _OpenSegment | None = None
        self._held: deque[_Heard] = deque()
        """Not handed on: before a segment its pre-roll, within it the silence beyond the tail."""
        self._run = 0
        self._resumable = 0
        """Frames for which speech still continues a segment that was closed for its length."""
        self._clock = 0
        self._utterances = 0

    def push(self, audio: AudioFrame | AudioGap) -> list[SegmenterOutput]:
        """Take the next frames or gap of the stream; returns what follows from them, in order."""
        if isinstance(audio, AudioGap):
            outputs = self._end(CloseReason.GAP)
            self._moment.clear()
            self._clock = audio.start + audio.length
            return outputs
        outputs, samples, clock = [], audio.samples, audio.start
        decided = self._vad.push(samples)
        self._moment.extend(decided)
        for number, (speech, level_dbfs, floor_dbfs) in enumerate(decided):
            at = number * FRAME_SAMPLES
            self._floor_dbfs = floor_dbfs
            power = 10 ** (level_dbfs / 10) if speech else 0.0
            self._held.append(_Heard(clock, samples[at : at + FRAME_SAMPLES], level_dbfs, power))
            clock += FRAME_SAMPLES
            self._clock = clock
            if self._open is None:
                outputs += self._wait(speech)
            else:
                outputs += self._follow(self._open, speech)
        return outputs

    def flush(self) -> list[SegmenterOutput]:
        """The stream has ended: close what is open."""
        return self._end(CloseReason.END)

    @property
    def speech_samples(self) -> int:
        """Speech of the open segment so far; 0 where none is open."""
        return 0 if self._open is None else self._open.n_speech * FRAME_SAMPLES

    @property
    def handed_on(self) -> int:
        """End of what was handed on of the open segment; 0 where none is open."""
        return 0 if self._open is None else self._open.end

    @property
    def level(self) -> AudioLevel | None:
        """Of the last moment; None where nothing was heard."""
        if not self._moment:
            return None
        loudest_dbfs = max(frame.level_dbfs for frame in self._moment)
        speech = any(frame.speech for frame in self._moment)
        return AudioLevel(loudest_dbfs, self._floor_dbfs, speech, self._clock)

    def so_far(self) -> Segment | None:
        """The open segment as if it ended with what was handed on last; None where none is open."""
        return None if self._open is None else self._cut(self._open, CloseReason.OPEN)

    def _wait(self, speech: bool) -> list[SegmenterOutput]:
        """No segment is open."""
        self._run = self._run + 1 if speech else 0
        if self._run >= (RESUME_FRAMES if self._resumable else self._min_speech_frames):
            return self._start()
        if self._resumable and not speech:
            self._resumable -= 1
        if not self._resumable:
            self._forget()
        return []

    def _start(self) -> list[SegmenterOutput]:
        self._utterances += 1
        segment = _OpenSegment(self._utterances, self._held[0].start)
        self._open, self._run, self._resumable = segment, 0, 0
        return [SpeechStarted(segment.utterance, segment.start), *self._hand_on(segment)]

    def _follow(self, segment: _OpenSegment, speech: bool) -> list[SegmenterOutput]:
        """A segment is open."""
        segment.n_silent = 0 if speech else segment.n_silent + 1
        if segment.n_silent == 1:
            segment.hangover = self._hangover_frames(segment)
        outputs: list[SegmenterOutput] = []
        if segment.n_silent <= self._tail_frames:
            outputs += self._hand_on(segment)
        if 0 < segment.hangover <= segment.n_silent:
            outputs.append(self._close(segment, CloseReason.SILENCE))
        elif self._clock - segment.start >= self._max_samples:
            outputs.append(self._close(segment, CloseReason.MAX_LENGTH))
            waits = segment.hangover if segment.n_silent else self._silence_frames
            self._resumable = waits - segment.n_silent
        elif self._lead_frames and segment.n_silent == self._pause_frames(segment):
            outputs.append(SpeechPaused(segment.utterance, segment.end))
        return outputs

    def _pause_frames(self, segment: _OpenSegment) -> int:
        """Silence from which on a segment is taken to be over, though not yet for sure."""
        return max(1, self._tail_frames, segment.hangover - self._lead_frames)

    def _hangover_frames(self, segment: _OpenSegment) -> int:
        """How long to wait for more speech: less after a voice that faded out."""
        settings = self._settings
        if segment.n_speech < LEAST_SPEECH_FRAMES:
            return self._silence_frames
        shorter_ms = finality(segment.levels, segment.speech_levels) * (
            settings.early_ms + settings.late_ms
        )
        return max(1, _frames(math.ceil(settings.silence_ms + settings.late_ms - shorter_ms)))

    def _hand_on(self, segment: _OpenSegment) -> list[SegmenterOutput]:
        start = self._held[0].start
        blocks = [heard.samples for heard in self._held]
        for heard in self._held:
            segment.add(heard)
        self._held.clear()
        samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return [SpeechAudio(segment.utterance, start, samples)]

    def _end(self, reason: CloseReason) -> list[SegmenterOutput]:
        """No audio follows the last frame: close what is open, and keep nothing for later."""
        outputs: list[SegmenterOutput] = []
        if self._open is not None:
            outputs.append(self._close(self._open, reason))
        self._held.clear()
        self._run = self._resumable = 0
        return outputs

    def _close(self, segment: _OpenSegment, reason: CloseReason) -> Segment:
        self._open = None
        self._forget()
        return self._cut(segment, reason)

    def _cut(self, segment: _OpenSegment, reason: CloseReason) -> Segment:
        level_dbfs = 10 * math.log10(segment.speech_power / segment.n_speech)
        n_samples = segment.n_frames * FRAME_SAMPLES
        return Segment(
            utterance=segment.utterance,
            start=segment.start,
            end=segment.end,
            speech_end=segment.speech_end,
            closed_at=self._clock,
            reason=reason,
            level_dbfs=level_dbfs,
            # By now the VAD knows the room best: in hindsight, a noise that began with the segment
            # counts.
            noise_floor_dbfs=self._floor_dbfs,
            clipped=segment.n_clipped >= self._vad_settings.clipped_share * n_samples,
            speech_samples=segment.n_speech * FRAME_SAMPLES,
        )

    def _forget(self) -> None:
        """Of what is not in a segment, keep what may yet become pre-roll."""
        while len(self._held) > self._pre_roll_frames + self._run:
            self._held.popleft()


def _frames(duration_ms: int) -> int:
    return -(-duration_ms // FRAME_MS)
