"""The pipeline with real parts: files of speech, the packaged ensemble, the embedded recogniser.

Where a fault is needed, a real part is degraded: a file that breaks off as a device does, a recogniser
that fails on one utterance.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from config.loader import build
from monitor.asr import VoskEngine, find_model
from monitor.assembly import Assembly, Pace, assemble
from monitor.errors import CaptureError
from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    DeviceHappening,
    DeviceLost,
    DeviceRecovered,
    Samples,
    SegmenterOutput,
    SpeechAudio,
    SpeechPaused,
    Transcript,
    WireEvent,
    to_ms,
)
from monitor.inference import EnsembleWorker
from monitor.provisional import ProvisionalSchedule, ProvisionalSettings
from monitor.replay import FileSource
from monitor.segmenter import Segmenter
from monitor.settings import MonitorSettings
from stser_core.ensemble import Stser
from tests.support.degraded import judge_with, recognise_with
from tests.support.realtime import AlwaysOpen
from tests.support.speech import silence, spoken, write_wav

Event = dict[str, Any]


class Notebook(AlwaysOpen):
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: WireEvent) -> None:
        self.events.append(json.loads(event.body))

    def of(self, kind: str) -> list[Any]:
        return [e["data"] for e in self.events if e["type"] == f"org.stser.{kind}.v1"]


def assembled(audio: Path, pace: Pace | None = None, **overrides: object) -> Assembly:
    # Whatever the weights make of a synthetic voice, the state shall follow it.
    bounds = {"abstention.min_confidence": 0.0, "abstention.min_agreement": 0.0}
    fixed = {"websocket.enabled": False, "asr.model": "stser-tiny-en"}
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    settings = build(MonitorSettings, overrides={**bounds, **fixed, **given})
    return assemble(settings, audio=[str(audio)], pace=pace)


def run(
    parts: Assembly, *, source: FileSource | None = None, engine: type | None = None
) -> Notebook:
    """Run to the end with a notebook among the publishers, and parts swapped for degraded ones."""
    notebook = Notebook()
    (stream,) = parts.streams
    parts.pipeline._publishers = [notebook]
    if source is not None:
        stream._source = source
    if engine is not None:
        recognise_with(stream, engine)
    asyncio.run(parts.pipeline.run())
    return notebook


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two utterances with a second between them."""
    samples = np.concatenate(
        [spoken("leave me alone", after_s=1.0), spoken("i am so happy today", after_s=1.0)]
    )
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", samples)


def test_each_segment_leads_to_one_utterance_between_start_and_stop(talk: Path) -> None:
    notebook = run(assembled(talk))
    kinds = [event["type"].split(".")[2] for event in notebook.events]
    assert (kinds[0], kinds[-1]) == ("monitor", "monitor")
    assert [u["utterance"] for u in notebook.of("emotion.utterance")] == [1, 2]
    assert [s["utterance"] for s in notebook.of("speech.started")] == [1, 2]
    assert [s["utterance"] for s in notebook.of("speech.ended")] == [1, 2]
    assert notebook.of("monitor.stopped")[0]["utterances"] == 2
    assert notebook.of("emotion.state")


def test_words_arrive_with_the_verdict_that_read_them(talk: Path) -> None:
    first, second = run(assembled(talk)).of("emotion.utterance")
    assert first["transcript"]["text"] == "leave me alone"
    assert "happy" in second["transcript"]["text"]
    assert first["modalities"] == ["speech", "text"]
    assert len(first["salience"]["words"]) == 3


def test_only_the_chosen_classifiers_speak(talk: Path) -> None:
    for utterance in run(assembled(talk, ensemble__classifiers=("text",))).of("emotion.utterance"):
        assert utterance["classifiers"]["speech"] is None
        assert utterance["classifiers"]["text"] == utterance["posterior"]
        assert utterance["modalities"] == ["text"]


def test_words_only_without_a_recogniser_is_uncertain_for_want_of_a_transcript(talk: Path) -> None:
    parts = assembled(talk, ensemble__classifiers=("text",), asr__enabled=False)
    for utterance in run(parts).of("emotion.utterance"):
        assert utterance["label"] == "uncertain"
        assert "no_transcript" in utterance["abstained"]


class FileWithGap(FileSource):
    """Loses 20 ms of audio 1.2 s in, as an overflowing device does."""

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        async for audio in super().__aiter__():
            if audio.start == 19_200:
                yield AudioGap(audio.start, 320, "overflow")
            else:
                yield audio


def test_a_gap_closes_the_utterance_which_says_so(talk: Path) -> None:
    notebook = run(assembled(talk), source=FileWithGap(talk))
    assert notebook.of("device.overflow") == [{"device": "talk.wav", "count": 1, "lost_ms": 20}]
    first = notebook.of("emotion.utterance")[0]
    assert (first["end_ms"], first["label"]) == (1_200, "uncertain")
    assert "audio_gap" in first["abstained"]
    assert notebook.of("monitor.stopped")[0]["dropped"]["samples"] == 320


class FileThatIsAway(FileSource):
    """Away for two seconds, 1.2 s in, as an unplugged microphone is."""

    async def __aiter__(  # type: ignore[override]  # a live source says more than a file
        self,
    ) -> AsyncIterator[AudioFrame | AudioGap | DeviceHappening]:
        async for audio in super().__aiter__():
            if audio.start == 19_200:
                yield AudioGap(19_200, 0, "lost")
                yield DeviceLost("mic", "ended", 1, 19_200)
                yield DeviceRecovered("mic", 3, 32_000, 51_200)
                yield AudioGap(19_200, 32_000, "lost")
            else:
                late = 0 if audio.start < 19_200 else 32_000
                assert isinstance(audio, AudioFrame)
                yield AudioFrame(audio.start + late, audio.samples)


def test_a_device_that_was_away_is_told_of_once_and_the_clock_goes_on(talk: Path) -> None:
    notebook = run(assembled(talk), source=FileThatIsAway(talk))
    assert notebook.of("device.overflow") == []
    assert notebook.of("device.lost")[0]["at_ms"] == 1_200
    assert notebook.of("device.recovered")[0]["lost_ms"] == 2_000
    kinds = [e["type"].removeprefix("org.stser.") for e in notebook.events]
    assert kinds.index("speech.ended.v1") < kinds.index("device.lost.v1")
    assert "audio_gap" in notebook.of("emotion.utterance")[0]["abstained"]
    dropped = notebook.of("monitor.stopped")[0]["dropped"]
    assert (dropped["gaps"], dropped["samples"]) == (1, 32_000)


class FailingFile(FileSource):
    """Breaks off in the middle of the first word, as an unplugged device does."""

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        async for audio in super().__aiter__():
            if audio.start >= 16_000:
                raise CaptureError("the device is gone")
            yield audio


def test_what_was_said_before_the_device_failed_is_published_before_the_error(talk: Path) -> None:
    parts = assembled(talk)
    notebook = Notebook()
    parts.pipeline._publishers = [notebook]
    parts.streams[0]._source = FailingFile(talk)
    with pytest.raises(CaptureError, match="the device is gone"):
        asyncio.run(parts.pipeline.run())
    assert [u["end_ms"] for u in notebook.of("emotion.utterance")] == [1_000]
    assert notebook.events[-1]["type"] == "org.stser.monitor.stopped.v1"


class FailsOnce(VoskEngine):
    """The real recogniser, but it loses its mind over the first utterance."""

    failed = False

    def finish(self, end: int) -> Transcript:
        if not FailsOnce.failed and end > SAMPLE_RATE_HZ:  # not in the trial before the start
            FailsOnce.failed = True
            raise RuntimeError("no lattice")
        return super().finish(end)


def test_a_recogniser_that_fails_costs_the_words_but_not_the_event(talk: Path) -> None:
    notebook = run(assembled(talk), engine=FailsOnce)
    first, second = notebook.of("emotion.utterance")
    assert (first["transcript"], first["modalities"]) == (None, ["speech"])
    assert first["classifiers"]["text"] is None
    assert second["transcript"]["text"]
    assert notebook.of("monitor.stopped")[0]["dropped"]["transcripts"] == 1


def test_without_speech_there_is_no_utterance(tmp_path: Path) -> None:
    samples: Samples = np.zeros(32_000, np.float32)
    notebook = run(assembled(write_wav(tmp_path / "silence.wav", samples)))
    assert notebook.of("emotion.utterance") == []
    assert notebook.of("monitor.stopped")[0]["audio_ms"] == 2_000


SENTENCES = (
    "leave me alone",
    "i am so happy today",
    "that is wonderful news",
    "why did you do that to me",
    "i do not know what to say",
    "we are going to the station in the morning",
)


def hesitant(seed: int) -> Samples:
    """Sentences of several voices, with pauses of every length up to 0.6 s within and between them."""
    rng = np.random.default_rng(seed)
    parts: list[Samples] = [silence(0.3)]
    for _ in range(6):
        text = SENTENCES[rng.integers(len(SENTENCES))]
        voice = ("slt", "rms", "awb", "kal16")[rng.integers(4)]
        speech = spoken(text, voice=voice, before_s=0, after_s=0)
        # Cut in two at any place, as nobody speaks: the segments that follow are odd ones.
        at = int(rng.integers(len(speech) // 4, 3 * len(speech) // 4))
        parts += [speech[:at], silence(rng.uniform(0.1, 0.6)), speech[at:]]
        parts.append(silence(rng.uniform(0.1, 0.6)))
    noise = rng.normal(0, 10 ** rng.uniform(-4.5, -2.5), sum(map(len, parts)))
    return np.clip(np.concatenate(parts) + noise, -1, 1).astype(np.float32)


def said(notebook: Notebook) -> dict[str, list[Any]]:
    """All that was published, in order for each kind, but for times of day and of work.

    How the kinds mix is a matter of time, too: the next utterance may begin before the verdict on the last.
    """
    events: list[Any] = json.loads(json.dumps(notebook.events))
    found: dict[str, list[Any]] = {}
    for event in events:
        for key in ("time", "id", "sequence"):
            event.pop(key, None)
        event["data"].pop("settings", None)
        latency = event["data"].get("latency_ms", {})
        for stage in ("asr", "inference", "publish", "total"):
            latency.pop(stage, None)
        found.setdefault(event["type"], []).append(event)
    return found


@pytest.fixture(scope="module")
def ensemble() -> Stser:
    return Stser.load()


@pytest.fixture(scope="module")
def recogniser() -> VoskEngine:
    return VoskEngine(find_model("stser-tiny-en").path)


@pytest.mark.parametrize(("asr", "seeds"), [(True, 4), (False, 12)], ids=["words", "no words"])
def test_events_are_the_same_whether_verdicts_are_prepared_ahead_or_not(
    tmp_path: Path, ensemble: Stser, recogniser: VoskEngine, asr: bool, seeds: int
) -> None:
    thrown_away = 0
    for seed in range(seeds):
        path = write_wav(tmp_path / f"{seed}.wav", hesitant(seed))
        thrown_away += count_thrown_away(path)
        ahead = assembled(path, asr__enabled=asr)
        never = assembled(path, asr__enabled=asr, segmenter__lead_ms=0)
        for parts in (ahead, never):  # loading anew for each would take most of the time
            judge_with(parts, EnsembleWorker(lambda: ensemble))
            if asr:
                recognise_with(parts.streams[0], lambda _: recogniser)
        assert said(run(ahead)) == said(run(never)), f"recording {seed}"
    assert thrown_away >= seeds, "the recordings hold too few pauses to prove anything"


def count_thrown_away(path: Path) -> int:
    """Pauses in a recording after which speech goes on."""
    segmenter = Segmenter()
    outputs = asyncio.run(segmented(path, segmenter))
    return sum(
        isinstance(output, SpeechPaused) and isinstance(after, SpeechAudio)
        for output, after in itertools.pairwise(outputs)
    )


async def segmented(path: Path, segmenter: Segmenter) -> list[SegmenterOutput]:
    async with FileSource(path) as source:
        outputs = [output async for audio in source for output in segmenter.push(audio)]
    return outputs + segmenter.flush()


LONG = "i do not know what to say to you and i am so happy that we are going to the station today"


def provisional_of(path: Path, **overrides: object) -> Notebook:
    """A run over a file in which provisional events are said, as they are for a stream."""
    parts = assembled(path, **overrides)
    parts.streams[0]._judging._schedule = ProvisionalSchedule(ProvisionalSettings())
    return run(parts)


def test_the_emotion_so_far_is_said_while_someone_speaks_and_never_after_the_end(
    tmp_path: Path,
) -> None:
    path = write_wav(tmp_path / "long.wav", spoken(LONG, before_s=0.5, after_s=1.0))
    notebook = provisional_of(path)
    (final,) = notebook.of("emotion.utterance")
    so_far = notebook.of("emotion.provisional")
    kinds = [event["type"].removeprefix("org.stser.") for event in notebook.events]
    assert kinds.index("speech.started.v1") < kinds.index("emotion.provisional.v1")
    last = max(i for i, kind in enumerate(kinds) if kind == "emotion.provisional.v1")
    assert last < kinds.index("speech.ended.v1")
    ends = [event["end_ms"] for event in so_far]
    assert len(ends) >= 5
    assert ends[0] >= final["start_ms"] + 700
    assert min(np.diff(ends)) >= 500
    assert {event["utterance"] for event in so_far} == {final["utterance"]}
    assert {event["final"] for event in so_far} == {False}
    assert all(event["modalities"] == ["speech"] for event in so_far)


def test_what_was_said_in_passing_is_not_in_the_journal_nor_in_the_sequence(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", spoken(LONG, before_s=0.5, after_s=1.0))
    notebook = provisional_of(path, asr__enabled=False)
    assert notebook.of("emotion.provisional")
    numbers = [int(e["sequence"]) for e in notebook.events if "provisional" not in e["type"]]
    assert numbers == list(range(1, len(numbers) + 1))


def test_what_is_said_in_passing_changes_nothing_of_what_is_said_for_good(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "talk.wav", hesitant(99))
    with_them, without = said(provisional_of(path)), said(run(assembled(path)))
    assert with_them.pop("org.stser.emotion.provisional.v1")
    assert with_them == without


def test_where_only_words_are_asked_for_nothing_is_said_in_passing(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", spoken(LONG, before_s=0.5, after_s=1.0))
    notebook = provisional_of(path, ensemble__classifiers=("text",))
    assert notebook.of("emotion.utterance")
    assert notebook.of("emotion.provisional") == []


def test_a_file_at_full_speed_says_nothing_in_passing(talk: Path) -> None:
    assert run(assembled(talk)).of("emotion.provisional") == []


def test_the_voice_that_was_heard_before_changes_the_verdict_but_only_from_the_second_utterance_on(
    tmp_path: Path,
) -> None:
    once = spoken("leave me alone", after_s=1.0)
    twice = write_wav(tmp_path / "twice.wav", np.concatenate([once, once]))
    first, second = run(assembled(twice, asr__enabled=False)).of("emotion.utterance")
    alone = write_wav(tmp_path / "once.wav", once)
    (only,) = run(assembled(alone, asr__enabled=False)).of("emotion.utterance")
    assert first["posterior"] == only["posterior"]
    assert second["posterior"] != first["posterior"]


def test_nothing_is_heard_while_muted_and_the_clock_goes_on(talk: Path) -> None:
    parts = assembled(talk, "realtime")
    notebook = Notebook()
    pipeline = parts.pipeline

    class Muting(Notebook):
        """Mutes at the end of the first utterance, and unmutes with a mark 20 ms later."""

        def publish(self, event: WireEvent) -> None:
            super().publish(event)
            notebook.publish(event)
            if event.kind == "emotion.utterance" and not self.of("device.muted"):
                pipeline._desk.take('{"type":"mute"}')
            if event.kind == "device.muted" and json.loads(event.body)["data"]["active"]:
                pipeline._desk.take('{"type":"mark","text":"muted"}')

    pipeline._publishers = [Muting()]
    asyncio.run(pipeline.run())
    assert [u["utterance"] for u in notebook.of("emotion.utterance")] == [1]
    (muted,) = notebook.of("device.muted")
    assert muted["by"] == "command"
    (mark,) = notebook.of("mark")
    assert mark["text"] == "muted"
    # Stream time goes on while nothing is heard.
    frames = -(-len(soundfile.read(talk)[0]) // FRAME_SAMPLES)
    assert notebook.of("monitor.stopped")[0]["audio_ms"] == to_ms(frames * FRAME_SAMPLES)


def test_reset_makes_the_next_utterance_the_first_of_its_stream(tmp_path: Path) -> None:
    once = spoken("leave me alone", before_s=1.0, after_s=1.0)
    once = once[: len(once) // FRAME_SAMPLES * FRAME_SAMPLES]
    twice = write_wav(tmp_path / "twice.wav", np.concatenate([once, once]))

    def posteriors(*, reset: bool) -> list[dict[str, float]]:
        parts = assembled(twice, "realtime", asr__enabled=False)
        pipeline = parts.pipeline
        notebook = Notebook()

        class Resetting(Notebook):
            def publish(self, event: WireEvent) -> None:
                notebook.publish(event)
                if reset and event.kind == "emotion.utterance":
                    pipeline._desk.take('{"type":"reset"}')

        pipeline._publishers = [Resetting()]
        asyncio.run(pipeline.run())
        return [u["posterior"] for u in notebook.of("emotion.utterance")]

    def distance(one: dict[str, float], other: dict[str, float]) -> float:
        return sum(abs(one[name] - other[name]) for name in one)

    first, second = posteriors(reset=True)
    _, adapted = posteriors(reset=False)
    # Not the very same: the VAD knows the room by now, and begins the segment a frame later.
    assert distance(second, first) < distance(adapted, first)
