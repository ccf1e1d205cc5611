"""The voice that each utterance is judged with: that of all that the stream said before, however late verdicts are.

The ensemble is a real one with random weights that takes voices off; where it is slow or fails, it is degraded.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config.loader import build
from monitor.assembly import Assembly, assemble
from monitor.commands import Reset
from monitor.events import AudioFrame, AudioGap, Samples, WireEvent
from monitor.incoming import IncomingAudio
from monitor.inference import EnsembleWorker
from monitor.judging import Findings
from monitor.provisional import ProvisionalSchedule, ProvisionalSettings
from monitor.replay import FileSource
from monitor.settings import MonitorSettings
from stser_core.adaptation import HeardSpeech
from stser_core.ensemble import Request, Stser, Verdict
from stser_core.features import LogMel
from stser_core.labels import EMOTIONS
from tests.monitor.test_pipeline import Notebook, assembled, count_thrown_away, hesitant, said
from tests.support.degraded import judge_with
from tests.support.random_weights import small_checkpoint
from tests.support.realtime import InRealTime
from tests.support.speech import spoken, write_wav

SENTENCES = (
    "leave me alone",
    "i am so happy today",
    "what are you doing",
    "that is wonderful news",
    "why did you do that to me",
)
SPOKEN = [spoken(words, before_s=0.1, after_s=0.9) for words in SENTENCES]
TALK = np.concatenate(SPOKEN)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "centred", centred=True
    ).directory


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five utterances."""
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", TALK)


def same(request: Request, log_mel: LogMel) -> bool:
    return request.log_mel is not None and np.array_equal(request.log_mel, log_mel)


class Ensemble(Stser):
    """Keeps what it was asked and answered, and may be slow, or fail at an utterance."""

    asked: list[Request]
    answered: list[Verdict]
    slow_s: Sequence[float]
    """Seconds that the calls take, in turn."""
    fails_at: LogMel | None

    def classify_many(self, requests: Sequence[Request]) -> list[Verdict]:
        time.sleep(self.slow_s[len(self.asked) % len(self.slow_s)])
        for request in requests:
            if self.fails_at is not None and same(request, self.fails_at):
                raise RuntimeError("out of range")
        verdicts = super().classify_many(requests)
        self.asked += requests
        self.answered += verdicts
        return verdicts


def ensemble(
    checkpoint: Path, slow_s: Sequence[float] = (0.0,), fails_at: LogMel | None = None
) -> Ensemble:
    loaded: Any = Stser.load(checkpoint)
    loaded.__class__ = Ensemble
    loaded.asked, loaded.answered = [], []
    loaded.slow_s, loaded.fails_at = slow_s, fails_at
    assert isinstance(loaded, Ensemble)
    return loaded


def prepared(talk: Path, judge: Stser, **overrides: object) -> Assembly:
    parts = assembled(talk, **({"asr__enabled": False} | overrides))
    judge_with(parts, EnsembleWorker(lambda: judge))
    return parts


def run(parts: Assembly, notebook: Notebook | None = None) -> Notebook:
    notebook = Notebook() if notebook is None else notebook
    parts.pipeline._publishers = [notebook]
    asyncio.run(parts.pipeline.run())
    return notebook


@pytest.fixture(scope="module")
def utterances(talk: Path, checkpoint: Path) -> list[LogMel]:
    """The log-mel of each."""
    judge = ensemble(checkpoint)
    run(prepared(talk, judge, segmenter__lead_ms=0))
    return [request.log_mel for request in judge.asked if request.log_mel is not None]


def in_order(judge: Ensemble, utterances: Sequence[LogMel]) -> list[tuple[Request, Verdict]]:
    """What was asked of each utterance that was judged, and answered."""
    judged = [*zip(judge.asked, judge.answered, strict=True)]
    return [next(j for j in judged if same(j[0], u)) for u in utterances]


def voice_of(verdicts: Sequence[Verdict]) -> tuple[int, list[float]]:
    """How many utterances, and the mean of what they tell of the voice, rounded."""
    each = [verdict.voice for verdict in verdicts]
    return len(each), np.mean(each, axis=0).round(4).tolist() if each else []


def voice_in(heard: HeardSpeech | None) -> tuple[int, list[float]]:
    if heard is None or heard.voice is None:
        return 0, []
    return int(heard.voice.count), heard.voice.mean.round(4).tolist()


def close(one: tuple[int, list[float]], other: tuple[int, list[float]]) -> bool:
    return one[0] == other[0] and bool(np.allclose(one[1], other[1], atol=2e-4))


@pytest.mark.parametrize("slow_s", [0.0, 0.3])
def test_each_utterance_is_judged_with_the_voice_of_all_that_were_closed_before(
    talk: Path, checkpoint: Path, slow_s: float
) -> None:
    judge = ensemble(checkpoint, (slow_s,))
    # Nothing is prepared ahead: one request for each utterance.
    notebook = run(prepared(talk, judge, segmenter__lead_ms=0))
    assert len(judge.asked) == len(SENTENCES) == len(notebook.of("emotion.utterance"))
    for number, request in enumerate(judge.asked):
        assert close(voice_in(request.heard), voice_of(judge.answered[:number]))


def waited(notebook: Notebook) -> int:
    """Utterances that were over before the first verdict was there."""
    kinds = [event["type"].removeprefix("org.stser.") for event in notebook.events]
    return kinds[: kinds.index("emotion.utterance.v1")].count("speech.ended.v1")


@pytest.mark.parametrize("lead_ms", [0, 120])
@pytest.mark.parametrize("slow_s", [(0.4,), (0.5, 0.0, 0.2), (0.0, 0.6)], ids=repr)
def test_verdicts_are_the_same_however_late_they_come(
    talk: Path, checkpoint: Path, slow_s: Sequence[float], lead_ms: int
) -> None:
    soon = run(prepared(talk, ensemble(checkpoint), segmenter__lead_ms=lead_ms))
    late = run(prepared(talk, ensemble(checkpoint, slow_s), segmenter__lead_ms=lead_ms))
    assert said(late) == said(soon)
    assert waited(late) > 1 or slow_s[0] == 0


def test_a_pause_that_was_none_gives_up_its_own_verdict_and_not_the_one_that_it_waits_for(
    tmp_path: Path, checkpoint: Path
) -> None:
    path = write_wav(tmp_path / "hesitant.wav", hesitant(0))
    assert count_thrown_away(path)
    soon = run(prepared(path, ensemble(checkpoint)))
    assert said(run(prepared(path, ensemble(checkpoint, (0.4,))))) == said(soon)


def test_a_live_stream_has_the_verdicts_of_its_recording(talk: Path, checkpoint: Path) -> None:
    recorded = run(prepared(talk, ensemble(checkpoint))).of("emotion.utterance")
    parts = prepared(talk, ensemble(checkpoint, (0.02, 2.8)))
    parts.streams[0]._source = InRealTime(TALK[: sum(map(len, SPOKEN[:4]))])
    live = run(parts).of("emotion.utterance")
    assert [u["posterior"] for u in live] == [u["posterior"] for u in recorded[:4]]


def test_what_is_said_in_passing_is_judged_with_the_same_voice_as_what_is_said_for_good(
    talk: Path, checkpoint: Path
) -> None:
    judge = ensemble(checkpoint, (0.2,))
    parts = prepared(talk, judge, segmenter__lead_ms=0)
    settings = ProvisionalSettings(after_ms=200, every_ms=500)
    parts.streams[0]._judging._schedule = ProvisionalSchedule(settings)
    notebook = run(parts)
    assert len(notebook.of("emotion.provisional")) >= len(SENTENCES)

    def before(request: Request) -> tuple[float, tuple[int, list[float]]]:
        log_mel = None if request.heard is None else request.heard.log_mel
        return (0.0 if log_mel is None else log_mel.count), voice_in(request.heard)

    remembered = [before(request) for request in judge.asked]
    distinct = [one for at, one in enumerate(remembered) if one not in remembered[:at]]
    assert [voice[0] for _, voice in distinct] == [*range(len(SENTENCES))]
    with_them = {k: v for k, v in said(notebook).items() if "provisional" not in k}
    assert with_them == said(run(prepared(talk, ensemble(checkpoint))))


def test_an_utterance_without_a_verdict_leaves_the_voice_as_it_was(
    talk: Path, checkpoint: Path, utterances: list[LogMel]
) -> None:
    judge = ensemble(checkpoint, (0.1,), fails_at=utterances[2])
    notebook = run(prepared(talk, judge, segmenter__lead_ms=0))
    assert [bool(u["modalities"]) for u in notebook.of("emotion.utterance")] == [
        *(True, True, False, True, True)
    ]
    assert [voice_in(request.heard)[0] for request in judge.asked] == [0, 1, 2, 3]
    assert close(voice_in(judge.asked[3].heard), voice_of(judge.answered[:3]))


class Counting(Notebook):
    """Counts what is left of earlier utterances when one is announced."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[int] = []

    def publish(self, event: WireEvent) -> None:
        super().publish(event)
        if event.kind == "emotion.utterance":
            gc.collect()
            self.left.append(sum(type(kept) is Findings for kept in gc.get_objects()))


def test_of_what_was_judged_no_more_is_kept_than_the_last(talk: Path, checkpoint: Path) -> None:
    counting = Counting()
    parts = prepared(talk, ensemble(checkpoint))
    source = InTurn(talk)
    source.stream = parts.streams[0]
    parts.streams[0]._source = source
    run(parts, counting)
    assert counting.left == [1] * len(SENTENCES)


class InTurn(FileSource):
    """Goes on after each utterance only when it has been announced."""

    stream: Any

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        async for audio in super().__aiter__():
            await self.stream.settled()
            yield audio


class ResettingAt(Notebook):
    """Resets when the utterance of this number is over, its verdict still to come."""

    def __init__(self, parts: Assembly, utterance: int) -> None:
        super().__init__()
        self._stream = parts.streams[0]
        self._utterance = utterance

    def publish(self, event: WireEvent) -> None:
        super().publish(event)
        utterance = json.loads(event.body)["data"].get("utterance")
        if event.kind == "speech.ended" and utterance == self._utterance:
            self._stream.obey(Reset())


@pytest.mark.parametrize("slow_s", [0.0, 0.4])
def test_after_a_reset_no_utterance_from_before_it_brings_the_voice_back(
    talk: Path, checkpoint: Path, utterances: list[LogMel], slow_s: float
) -> None:
    judge = ensemble(checkpoint, (slow_s,))
    parts = prepared(talk, judge, segmenter__lead_ms=0)
    run(parts, ResettingAt(parts, 2))
    requests, verdicts = zip(*in_order(judge, utterances), strict=True)
    assert [voice_in(request.heard)[0] for request in requests] == [0, 1, 0, 1, 2]
    assert requests[2].heard.log_mel is None
    assert close(voice_in(requests[4].heard), voice_of(verdicts[2:4]))


class ResetsInAPause(FileSource):
    """Says reset while the end of the third utterance is prepared, and may be judged already."""

    stream: Any
    resets = 0

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        async for audio in super().__aiter__():
            judging = self.stream._judging
            if not self.resets and judging._prepared is not None and self.stream._utterances == 2:
                await asyncio.wait([judging._prepared])
                self.stream.obey(Reset())
                self.resets += 1
            yield audio


def test_an_utterance_that_pauses_during_a_reset_is_judged_as_the_first(
    talk: Path, checkpoint: Path, utterances: list[LogMel]
) -> None:
    judge = ensemble(checkpoint)
    parts = prepared(talk, judge, asr__enabled=True)
    source = ResetsInAPause(talk)
    source.stream = parts.streams[0]
    parts.streams[0]._source = source
    third = run(parts).of("emotion.utterance")[2]
    assert source.resets == 1
    assert third["transcript"]["text"] == SENTENCES[2]
    # It was judged twice: before the reset, for nothing, and after it.
    judged = [*zip(judge.asked, judge.answered, strict=True)]
    before, after = (one for one in judged if same(one[0], utterances[2]))
    assert [voice_in(request.heard)[0] for request, _ in (before, after)] == [2, 0]
    assert after[0].heard is not None
    assert after[0].heard.log_mel is None
    spoke = [third["posterior"][emotion.value] for emotion in EMOTIONS]
    np.testing.assert_allclose(spoke, after[1].posterior.probabilities, atol=1e-4)
    assert np.abs(np.subtract(spoke, before[1].posterior.probabilities)).max() > 1e-3
    assert [voice_in(request.heard)[0] for request in judge.asked[-2:]] == [1, 2]


def kept(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("slow_s", [0.0, 0.3])
def test_the_voice_on_disk_is_that_of_all_utterances_and_the_next_start_goes_on_with_it(
    talk: Path, checkpoint: Path, tmp_path: Path, slow_s: float
) -> None:
    path = tmp_path / "voice.json"
    judge = ensemble(checkpoint, (slow_s,))
    run(prepared(talk, judge, segmenter__lead_ms=0, adaptation__state_file=str(path)))
    voice = kept(path)["voice"]
    assert close((voice["count"], voice["mean"]), voice_of(judge.answered))
    again = ensemble(checkpoint)
    run(prepared(talk, again, segmenter__lead_ms=0, adaptation__state_file=str(path)))
    assert close(voice_in(again.asked[0].heard), voice_of(judge.answered))
    assert kept(path)["voice"]["count"] == 2 * len(SENTENCES)


@pytest.mark.parametrize("at", [4, 5])
@pytest.mark.parametrize("slow_s", [0.0, 0.4])
def test_a_voice_that_was_forgotten_does_not_come_back_to_the_disk_with_a_late_verdict(
    talk: Path, checkpoint: Path, tmp_path: Path, slow_s: float, at: int
) -> None:
    path = tmp_path / "voice.json"
    parts = prepared(talk, ensemble(checkpoint, (slow_s,)), adaptation__state_file=str(path))
    run(parts, ResettingAt(parts, at))
    if at == len(SENTENCES):
        assert not path.exists()
    else:
        assert kept(path)["voice"]["count"] == 1


class ResetsWhenKept(FileSource):
    """Says reset after all has been said, once there is a file that tells of it."""

    stream: Any
    path: Path

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        async for audio in super().__aiter__():
            yield audio
        await self.stream.settled()
        await self.stream._judging._inference.saved()
        assert self.path.exists()
        self.stream.obey(Reset())


def test_a_reset_removes_the_voice_from_the_disk(
    talk: Path, checkpoint: Path, tmp_path: Path
) -> None:
    source = ResetsWhenKept(talk)
    source.path = tmp_path / "voice.json"
    parts = prepared(talk, ensemble(checkpoint), adaptation__state_file=str(source.path))
    source.stream = parts.streams[0]
    parts.streams[0]._source = source
    run(parts)
    assert not source.path.exists()


async def hear_client(parts: Assembly, samples: Samples) -> Notebook:
    """What a client without a name of its own is told."""
    notebook, audio = Notebook(), IncomingAudio("client")
    async with parts.pipeline._reception.guest(None, audio, notebook.publish):
        await audio.hear(np.rint(samples * 32_767).astype("<i2").tobytes())
    return notebook


def test_the_voice_of_a_client_is_neither_kept_nor_that_of_the_next_one(
    checkpoint: Path, tmp_path: Path
) -> None:
    given = {
        "capture.device": "none",
        "asr.enabled": False,
        "websocket.enabled": False,
        "adaptation.state_file": str(tmp_path / "kept" / "voice.json"),
        "ensemble.checkpoint": str(checkpoint),
    }

    async def main() -> list[Notebook]:
        parts, ready = assemble(build(MonitorSettings, overrides=given)), asyncio.Event()
        parts.pipeline._publishers = []
        running = asyncio.create_task(parts.pipeline.run(ready.set))
        await ready.wait()
        told = [await hear_client(parts, SPOKEN[0]) for _ in range(2)]
        parts.pipeline.stop()
        await running
        return told

    first, second = (client.of("emotion.utterance") for client in asyncio.run(main()))
    assert [one["posterior"] for one in first] == [one["posterior"] for one in second]
    assert len(first) == 1
    assert not (tmp_path / "kept").exists()


def test_weights_that_are_not_centred_leave_no_voice_in_memory_or_on_disk(
    talk: Path, tmp_path: Path
) -> None:
    path = tmp_path / "voice.json"
    weights = small_checkpoint(tmp_path / "weights", centred=False).directory
    run(
        assembled(
            talk,
            asr__enabled=False,
            adaptation__state_file=str(path),
            ensemble__checkpoint=str(weights),
        )
    )
    assert kept(path)["voice"] is None
    assert kept(path)["log_mel"]["count"] > 100
