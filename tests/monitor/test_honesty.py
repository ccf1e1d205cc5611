"""Each reason for which a label is uncertain, caused by audio; latency by an outside clock; adaptation to a voice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config.loader import build
from monitor.assembly import Assembly, assemble
from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples, WireEvent
from monitor.lateness import Lateness
from monitor.settings import MonitorSettings
from tests.monitor.test_pipeline import Notebook, run
from tests.support.realtime import InRealTime
from tests.support.speech import silence, spoken, write_wav

HAPPY = spoken("i am so happy today", before_s=1.0, after_s=1.0)


def assembled(folder: Path, samples: Samples, **overrides: object) -> Assembly:
    """The monitor as it comes, but for what is named."""
    fixed = {"websocket.enabled": False, "asr.model": "stser-tiny-en"}
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    settings = build(MonitorSettings, overrides={**fixed, **given})
    return assemble(settings, audio=[str(write_wav(folder / "heard.wav", samples))])


def heard(folder: Path, samples: Samples, **overrides: object) -> list[Any]:
    """Utterances of a recording."""
    return run(assembled(folder, samples, **overrides)).of("emotion.utterance")


def burst() -> Samples:
    """A fifth of a second out of a word."""
    word = spoken("no", before_s=0, after_s=0)
    start = int(np.argmax(np.abs(word) > 0.05))
    return np.concatenate([silence(1.0), word[start : start + 2_900], silence(1.0)])


def with_hum() -> Samples:
    """A talker beside a mains transformer: the VAD hears him, and the level says that it is mostly hum."""
    times_s = np.arange(len(HAPPY)) / SAMPLE_RATE_HZ
    return (0.5 * HAPPY + 0.25 * np.sin(2 * np.pi * 50 * times_s)).astype(np.float32)


def too_loud() -> Samples:
    return np.clip(30 * HAPPY, -1, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("audio", "reason"), [(burst, "too_short"), (with_hum, "low_snr"), (too_loud, "clipped")]
)
def test_audio_that_cannot_be_trusted_is_uncertain_for_its_own_reason(
    tmp_path: Path, audio: Any, reason: str
) -> None:
    (utterance,) = heard(tmp_path, audio())
    assert utterance["label"] == "uncertain"
    assert reason in utterance["abstained"]
    (clear,) = heard(tmp_path, HAPPY)
    assert reason not in clear["abstained"]


def test_sound_without_a_word_is_uncertain_where_only_words_are_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rustle = (0.1 * rng.standard_normal(9_600) * np.hanning(9_600)).astype(np.float32)
    samples = np.concatenate([silence(1.0), rustle, silence(1.0)])
    (utterance,) = heard(tmp_path, samples, ensemble__classifiers=("text",))
    assert utterance["transcript"]["words"] == []
    assert utterance["abstained"][0] == "no_transcript"


def test_speech_backwards_is_words_that_cannot_be_trusted(tmp_path: Path) -> None:
    wanted = {"ensemble__classifiers": ("text",), "abstention__min_transcript_confidence": 0.75}
    (utterance,) = heard(tmp_path, np.ascontiguousarray(HAPPY[::-1]), **wanted)
    assert utterance["transcript"]["words"]
    assert utterance["abstained"][0] == "low_transcript_confidence"
    (forwards,) = heard(tmp_path, HAPPY, **wanted)
    assert "low_transcript_confidence" not in forwards["abstained"]


@pytest.mark.parametrize(
    ("field", "reason"),
    [("agreement", "classifiers_disagree"), ("confidence", "low_confidence")],
)
def test_angry_words_in_a_calm_voice_are_judged_less_surely_than_sad_words_in_a_sad_one(
    tmp_path: Path, field: str, reason: str
) -> None:
    calm = spoken("i hate you", before_s=1.0, after_s=1.0)
    sad = spoken("i am so sad", before_s=1.0, after_s=1.0)
    free = {"abstention__min_agreement": 0.0, "abstention__min_confidence": 0.0}
    values = [heard(tmp_path, audio, **free)[0][field] for audio in (calm, sad)]
    assert values[0] < values[1]
    bound = {**free, f"abstention__min_{field}": sum(values) / 2}
    assert heard(tmp_path, calm, **bound)[0]["abstained"] == [reason]
    assert heard(tmp_path, sad, **bound)[0]["abstained"] == []


class Stamped(Notebook):
    """Notes by an outside clock when each utterance is handed over."""

    def __init__(self) -> None:
        super().__init__()
        self.moments_s: list[float] = []

    def publish(self, event: WireEvent) -> None:
        if event.kind == "emotion.utterance":
            self.moments_s.append(time.perf_counter())
        super().publish(event)


def test_total_latency_is_the_time_that_an_outside_clock_measures(tmp_path: Path) -> None:
    parts = assembled(tmp_path, HAPPY, asr__enabled=False)
    source, stamped = InRealTime(HAPPY), Stamped()
    pipeline = parts.pipeline
    parts.streams[0]._source, pipeline._publishers = source, [stamped]
    asyncio.run(pipeline.run())
    (utterance,) = stamped.of("emotion.utterance")
    # The tail is as long as the setting says, so the last word ended 100 ms before the segment.
    speech_end_s = utterance["end_ms"] / 1000 - 0.1
    measured_ms = 1000 * (stamped.moments_s[0] - source.began_s - speech_end_s)
    assert utterance["latency_ms"]["total"] == pytest.approx(measured_ms, abs=60)


def test_audio_that_waited_to_be_heard_is_late_by_as_much() -> None:
    lateness = Lateness()
    for number in range(1, 101):
        lateness.heard(number * FRAME_SAMPLES, 7.0 + number * 0.02)
    assert lateness.of(100 * FRAME_SAMPLES, 7.0 + 100 * 0.02) == pytest.approx(0.0, abs=1e-9)
    assert lateness.of(100 * FRAME_SAMPLES, 7.0 + 100 * 0.02 + 0.3) == pytest.approx(0.3)


def test_a_device_whose_clock_is_slow_is_not_late() -> None:
    lateness = Lateness()
    for number in range(1, 100_000):  # half an hour, 200 parts in a million slow
        now_s = number * 0.02 * 1.0002
        lateness.heard(number * FRAME_SAMPLES, now_s)
    assert lateness.of((number) * FRAME_SAMPLES, now_s) < 0.001


def test_after_lost_audio_the_stream_finds_its_clock_again() -> None:
    lateness = Lateness()
    lateness.heard(FRAME_SAMPLES, 0.02)
    lateness.forget()
    lateness.heard(2 * FRAME_SAMPLES, 5.0)
    assert lateness.of(2 * FRAME_SAMPLES, 5.0) == 0.0


def speech_posteriors(utterances: list[Any]) -> list[dict[str, float]]:
    return [utterance["classifiers"]["speech"] for utterance in utterances]


def apart(one: dict[str, float], other: dict[str, float]) -> float:
    return sum(abs(one[name] - other[name]) for name in one) / 2


def mean_of(posteriors: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([p[name] for p in posteriors])) for name in posteriors[0]}


@pytest.mark.parametrize("voice", ["slt", "rms"])
def test_a_loud_voice_and_a_soft_one_are_judged_alike(tmp_path: Path, voice: str) -> None:
    """The same words by the same speaker in the same room, and the microphone turned down by 24 dB."""
    text = "we are going to the station in the morning"
    sentence = spoken(text, voice=voice, before_s=0.6, after_s=0.8)
    room = np.random.default_rng(1).standard_normal(len(sentence)).astype(np.float32)
    sentence += np.float32(10 ** (-65 / 20)) * room
    loud, soft = (
        heard(tmp_path, np.tile(gain * sentence, 6), asr__enabled=False)
        for gain in (np.float32(1.0), np.float32(0.063))
    )
    assert len(loud) == len(soft) == 6
    assert loud[-1]["audio"]["level_dbfs"] - soft[-1]["audio"]["level_dbfs"] > 20
    # On average: softer speech is cut a hop or two later, which alone moves a posterior.
    assert apart(mean_of(speech_posteriors(loud)[-4:]), mean_of(speech_posteriors(soft)[-4:])) < 0.1


def test_a_voice_is_known_again_after_a_restart_only_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    once = spoken("leave me alone", before_s=0.6, after_s=0.8)
    once = np.resize(once, len(once) // FRAME_SAMPLES * FRAME_SAMPLES)
    twice = np.concatenate([once, once])
    kept = {"asr__enabled": False, "adaptation__state_file": str(tmp_path / "voice.json")}
    first, second = speech_posteriors(heard(tmp_path, twice, asr__enabled=False))
    assert first != second
    assert speech_posteriors(heard(tmp_path, once, **kept)) == [first]
    assert speech_posteriors(heard(tmp_path, once, **kept)) == [second]
    assert speech_posteriors(heard(tmp_path, once, asr__enabled=False)) == [first]
