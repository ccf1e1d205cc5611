"""Where the time goes: each stage of the pipeline alone, on one thread, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.audio import repeated
from bench.program import MODEL
from monitor.asr import VoskEngine, find_model
from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    Samples,
    Segment,
    SegmenterOutput,
    SpeechAudio,
    SpeechStarted,
)
from monitor.framer import Framer
from monitor.segmenter import Segmenter
from stser_core.ensemble import Stser
from stser_core.features import LogMelStream

LIVE_FRAMES, FILE_FRAMES = 1, 5
"""Frames at a time from a microphone, and from a file."""


def stages(minutes: float) -> dict[str, float]:
    """CPU milliseconds for a second of audio, a bit more than half of which is speech."""
    samples = repeated(60 * minutes)
    ensemble = Stser.load()
    engine = VoskEngine(find_model(MODEL).path)
    frames = _framed(samples, SAMPLE_RATE_HZ, LIVE_FRAMES)
    outputs = _cut(frames)
    mels: list[Any] = []
    words: list[list[str]] = []
    work: dict[str, Callable[[], Any]] = {
        "framer, 48 kHz, 20 ms at a time": lambda: _framed(
            np.repeat(samples, 3), 48_000, LIVE_FRAMES
        ),
        "framer, 16 kHz, 20 ms at a time": lambda: _framed(samples, SAMPLE_RATE_HZ, LIVE_FRAMES),
        "framer, 16 kHz, 100 ms at a time": lambda: _framed(samples, SAMPLE_RATE_HZ, FILE_FRAMES),
        "VAD and segmenter, 20 ms at a time": lambda: _cut(frames),
        "VAD and segmenter, 100 ms at a time": lambda: _cut(
            _framed(samples, SAMPLE_RATE_HZ, FILE_FRAMES)
        ),
        "log-mel": lambda: mels.extend(_mels(outputs, ensemble)),
        "recogniser": lambda: words.extend(_recognised(outputs, engine)),
        "ensemble": lambda: [*map(ensemble.classify, mels, words)],
    }
    audio_s = len(samples) / SAMPLE_RATE_HZ
    taken = {name: _cpu_ms(job) / audio_s for name, job in work.items()}
    taken["VAD and segmenter, 100 ms at a time"] -= taken["framer, 16 kHz, 100 ms at a time"]
    return {name: round(ms, 4) for name, ms in taken.items()}


def _cpu_ms(job: Callable[[], Any]) -> float:
    began_s = time.process_time()
    job()
    return (time.process_time() - began_s) * 1000


def _framed(samples: Samples, rate_hz: int, at_a_time: int) -> list[AudioFrame]:
    framer = Framer(rate_hz, 1, at_a_time=at_a_time)
    step = at_a_time * FRAME_SAMPLES * rate_hz // SAMPLE_RATE_HZ
    return [
        frame
        for start in range(0, len(samples), step)
        for frame in framer.push(samples[start : start + step, None])
    ]


def _cut(frames: list[AudioFrame]) -> list[SegmenterOutput]:
    segmenter = Segmenter()
    return [output for frame in frames for output in segmenter.push(frame)] + segmenter.flush()


def _mels(outputs: list[SegmenterOutput], ensemble: Stser) -> list[Any]:
    """The log-mel of each segment, as it advances 100 ms at a time."""
    step, mels, waiting, blocks = SAMPLE_RATE_HZ // 10, [], np.zeros(0, np.float32), []
    stream = LogMelStream(ensemble.log_mel_settings)
    for output in outputs:
        match output:
            case SpeechAudio(samples=samples):
                waiting = np.concatenate([waiting, samples])
                if len(waiting) >= step:
                    blocks.append(stream.push(waiting))
                    waiting = waiting[:0]
            case Segment():
                mels.append(np.concatenate([*blocks, stream.push(waiting)]))
                waiting, blocks = waiting[:0], []
                stream = LogMelStream(ensemble.log_mel_settings)
    return mels


def _recognised(outputs: list[SegmenterOutput], engine: VoskEngine) -> list[list[str]]:
    found = []
    for output in outputs:
        match output:
            case SpeechStarted(start=start):
                engine.begin(start)
            case SpeechAudio(samples=samples):
                engine.feed(samples)
            case Segment(end=end):
                found.append([word.word for word in engine.finish(end).words])
    return found
