"""A recogniser or an ensemble that fails or hangs: said, survived, and over once it works again.

The parts are the real ones, degraded: they raise, or wait for something that never happens.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.asr import AsrSettings, VoskEngine
from monitor.assembly import Assembly
from monitor.errors import ModelError
from monitor.events import Samples, Transcript
from monitor.inference import EnsembleWorker
from stser_core.ensemble import Request, Stser, Verdict
from tests.monitor.test_pipeline import Notebook, assembled
from tests.support.degraded import judge_with, recognise_with
from tests.support.speech import spoken, write_wav

SENTENCES = ("leave me alone", "i am so happy today", "what are you doing")
never = threading.Event()
"""Set at the end of the module, so that threads that hang may go."""


@pytest.fixture(scope="module", autouse=True)
def let_go() -> Iterator[None]:
    yield
    never.set()


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances."""
    samples = np.concatenate([spoken(words, after_s=1.0) for words in SENTENCES])
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", samples)


def heard(parts: Assembly) -> Notebook:
    notebook = Notebook()
    parts.pipeline._publishers = [notebook, *parts.pipeline._publishers]
    asyncio.run(parts.pipeline.run())
    return notebook


def with_recogniser(talk: Path, engine: type[VoskEngine]) -> Notebook:
    parts = assembled(talk)
    recognise_with(parts.streams[0], engine, AsrSettings(hang_s=1.0))
    return heard(parts)


def test_a_recogniser_that_never_loads_is_given_up_with_the_start(talk: Path) -> None:
    class NeverLoads(VoskEngine):
        def __init__(self, folder: Path) -> None:
            never.wait()
            super().__init__(folder)

    parts = assembled(talk)
    recognise_with(parts.streams[0], NeverLoads, AsrSettings(load_s=1.0))
    with pytest.raises(ModelError, match=r"not loaded after asr\.load_s \(1\) seconds"):
        heard(parts)


def with_ensemble(parts: Assembly, classify: type[Stser]) -> Assembly:
    def load() -> Stser:
        ensemble = Stser.load()
        ensemble.__class__ = classify
        return ensemble

    judge_with(parts, EnsembleWorker(load, hang_s=0.5))
    return parts


def kinds(notebook: Notebook) -> list[str]:
    """What is said of components and utterances, in order."""
    told = [
        event["type"].removeprefix("org.stser.").removesuffix(".v1") for event in notebook.events
    ]
    return [
        kind
        for kind in told
        if kind in {"monitor.degraded", "monitor.recovered", "emotion.utterance"}
    ]


ONE_LOST = [
    *("emotion.utterance", "monitor.degraded", "emotion.utterance"),
    *("monitor.recovered", "emotion.utterance"),
]


class HangsWhileItHears(VoskEngine):
    utterances = 0

    def begin(self, start: int) -> None:
        if start:
            HangsWhileItHears.utterances += 1
        super().begin(start)

    def feed(self, samples: Samples) -> None:
        if HangsWhileItHears.utterances == 2:
            HangsWhileItHears.utterances += 1
            never.wait()
        super().feed(samples)


class HangsAtTheEnd(VoskEngine):
    utterances = 0

    def finish(self, end: int) -> Transcript:
        HangsAtTheEnd.utterances += end > 16_000
        if HangsAtTheEnd.utterances == 2:
            HangsAtTheEnd.utterances += 1
            never.wait()
        return super().finish(end)


@pytest.mark.parametrize("engine", [HangsWhileItHears, HangsAtTheEnd])
def test_a_recogniser_that_hangs_costs_the_words_of_its_utterance_and_a_fresh_one_hears_the_next(
    talk: Path, engine: type[VoskEngine]
) -> None:
    notebook = with_recogniser(talk, engine)
    assert kinds(notebook) == ONE_LOST
    first, second, third = notebook.of("emotion.utterance")
    assert (first["transcript"]["text"], third["transcript"]["text"]) == SENTENCES[::2]
    assert (second["transcript"], second["modalities"]) == (None, ["speech"])
    (degraded,), (recovered,) = notebook.of("monitor.degraded"), notebook.of("monitor.recovered")
    assert degraded["component"] == recovered["component"] == "recogniser"
    assert recovered["utterances"] == 1
    assert notebook.of("monitor.stopped")[0]["dropped"]["transcripts"] == 1


class AlwaysFails(VoskEngine):
    def finish(self, end: int) -> Transcript:
        if end > 16_000:
            raise RuntimeError("no lattice")
        return super().finish(end)


def test_a_recogniser_that_keeps_failing_is_told_of_once(talk: Path) -> None:
    notebook = with_recogniser(talk, AlwaysFails)
    assert kinds(notebook) == ["monitor.degraded", *["emotion.utterance"] * 3]
    assert "no lattice" in notebook.of("monitor.degraded")[0]["reason"]


class RaisesOnce(Stser):
    judged = 0

    def classify_many(self, requests: Sequence[Request]) -> list[Verdict]:
        # A batch that fails is tried again one by one, so each utterance counts, not each call.
        if any(request.words and "happy" in request.words for request in requests):
            raise RuntimeError("out of range")
        return super().classify_many(requests)


class HangsOnce(Stser):
    judged = 0

    def classify_many(self, requests: Sequence[Request]) -> list[Verdict]:
        if any(request.words and "happy" in request.words for request in requests):
            never.wait()
        return super().classify_many(requests)


@pytest.mark.parametrize("ensemble", [RaisesOnce, HangsOnce])
def test_an_ensemble_that_fails_at_an_utterance_leaves_it_uncertain_and_judges_the_next(
    talk: Path, ensemble: type[Stser]
) -> None:
    notebook = heard(with_ensemble(assembled(talk), ensemble))
    assert kinds(notebook) == ONE_LOST
    first, second, third = notebook.of("emotion.utterance")
    assert first["modalities"] == third["modalities"] == ["speech", "text"]
    assert (second["label"], second["modalities"]) == ("uncertain", [])
    assert second["abstained"] == ["low_confidence"]
    assert set(second["classifiers"].values()) == {None}
    assert second["transcript"]["text"] == SENTENCES[1]
    assert notebook.of("monitor.degraded")[0]["component"] == "ensemble"


class AlwaysRaises(Stser):
    def classify_many(self, requests: Sequence[Request]) -> list[Verdict]:
        raise MemoryError


def answer(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as page:
            return page.status, page.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_who_asks_is_told_that_nothing_is_judged(tmp_path: Path) -> None:
    audio = np.concatenate([spoken(SENTENCES[0], after_s=6.0)])
    parts = assembled(
        write_wav(tmp_path / "talk.wav", audio),
        "realtime",
        websocket__enabled=True,
        websocket__port=0,
        asr__enabled=False,
    )
    with_ensemble(parts, AlwaysRaises)
    told: dict[str, Any] = {}

    class Asks(Notebook):
        def publish(self, event: Any) -> None:
            super().publish(event)
            if event.kind == "emotion.utterance":
                told["asked"] = asyncio.create_task(asked())

    async def asked() -> None:
        assert parts.websocket is not None
        port = int(parts.websocket.url.rstrip("/").rpartition(":")[2])
        told["ready"] = await asyncio.to_thread(answer, port, "/readyz")
        told["metrics"] = await asyncio.to_thread(answer, port, "/metrics")
        told["health"] = await asyncio.to_thread(answer, port, "/healthz")
        parts.pipeline.stop()

    parts.pipeline._publishers = [Asks(), *parts.pipeline._publishers]
    asyncio.run(parts.pipeline.run())
    status, body = told["ready"]
    assert (status, json.loads(body)) == (503, {"status": "not judging", "degraded": ["ensemble"]})
    assert b'stser_component_faults_total{part="ensemble"} 1.0' in told["metrics"][1]
    assert b'stser_degraded_streams{part="ensemble"} 1.0' in told["metrics"][1]
    (stream,) = json.loads(told["health"][1])["streams"]
    assert stream["degraded"] == ["ensemble"]
