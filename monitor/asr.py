"""Speech recognition by Vosk, fed while the speech is still going on.

:class:`VoskEngine` is the recogniser itself, for one thread; :class:`VoskTranscriber` gives it a
thread of its own and bounds what may wait there. By the time a segment closes only its last moments
are left to decode.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import numpy as np

from monitor.errors import ModelError
from monitor.events import SAMPLE_RATE_HZ, Samples, Transcript, Word
from monitor.vosk_model import MODELS_URL, VoskModel, find_model
from monitor.worker import NativeWorker

__all__ = [
    "AsrSettings",
    "Engine",
    "SharedVosk",
    "VoskEngine",
    "VoskModel",
    "VoskTranscriber",
    "find_model",
]

logger = logging.getLogger(__name__)

R = TypeVar("R")

BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ // 10
"""Audio handed to Vosk at a time. Counted from the start of a segment, because Vosk looks for
endpoints of its own after each hand-over: otherwise words would depend on the driver's chunks."""

READY_SAMPLES: Final = SAMPLE_RATE_HZ
"""Backlog above which a source that can wait has to."""

UNKNOWN_WORD: Final = "[unk]"
"""What Vosk models say for speech outside their vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsrSettings:
    """Speech recognition."""

    enabled: bool = True
    """False judges the voice alone."""
    model: str = ""
    """Folder or name of a Vosk model; empty for the user's cache, else the embedded one."""
    models_url: str = MODELS_URL
    """Where a model that is named, but not on this machine, is fetched from as ``NAME.zip``."""
    backlog_s: float = 10.0
    """Audio that may wait for the recogniser; beyond it, an utterance gets no transcript."""
    hang_s: float = 10.0
    """A recogniser that is busy with 100 ms of audio for so long hangs, and a fresh one takes over."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.backlog_s <= 300.0:
            raise ValueError(
                f"asr.backlog_s ({self.backlog_s:g}) must lie between 1 and 300: less gives up "
                "utterances for nothing, more keeps listeners waiting for words of minutes ago."
            )
        if not 1.0 <= self.hang_s <= 600.0:
            raise ValueError(
                f"asr.hang_s ({self.hang_s:g}) must lie between 1 and 600: less takes a busy machine for a "
                "recogniser that hangs, more leaves utterances waiting for words that never come."
            )
        if not self.models_url.startswith(("https://", "http://")):
            raise ValueError(
                f"asr.models_url ({self.models_url}) must start with https:// or http://."
            )


class Engine(Protocol):
    """A recogniser that one thread feeds, one segment after the other."""

    def begin(self, start: int) -> None:
        """A segment opens at sample ``start`` of the stream."""
        ...

    def feed(self, samples: Samples) -> None:
        """Further audio of the open segment."""
        ...

    def partial(self) -> str:
        """Words of the open segment so far."""
        ...

    def finish(self, end: int) -> Transcript:
        """The words of the open segment, which ended at sample ``end`` of the stream."""
        ...

    def resume(self, n_samples: int) -> None:
        """Speech went on: as if only the first ``n_samples`` had been fed, and nothing finished."""
        ...


class VoskEngine:
    """Vosk, with a fresh recogniser for each segment.

    Words outside the model's vocabulary, which it writes ``[unk]``, are left out of the transcript:
    the text classifier would read a placeholder as a word.

    Args:
        folder: Of the model.
        model: The same, loaded already; None loads it.

    Raises:
        ModelError: The folder's model cannot be loaded.
    """

    def __init__(self, folder: Path, model: Any = None) -> None:
        vosk = _import_vosk()
        vosk.SetLogLevel(-1)
        self._new_recogniser = vosk.KaldiRecognizer
        self._recogniser: Any = None
        self._start = 0
        self._words: list[Word] = []
        self._fed: list[Samples] = []
        if model is not None:
            self.model = model
            return
        try:
            self.model = vosk.Model(str(folder))
            # Some faults, such as a model for another sample rate, show only with the first audio.
            self.begin(0)
            self.feed(np.zeros(BLOCK_SAMPLES, np.float32))
            self.finish(BLOCK_SAMPLES)
        except (Exception, SystemExit) as error:
            # Vosk raises a bare Exception, and for some faults exits.
            raise ModelError(
                f"{folder}: Vosk cannot use this model; it may be damaged, or made for another "
                "version or sample rate. Fetch it again, or leave --vosk-model out."
            ) from error

    def begin(self, start: int) -> None:
        self._recogniser = self._new_recogniser(self.model, float(SAMPLE_RATE_HZ))
        self._recogniser.SetWords(True)
        self._start = start
        self._words = []
        self._fed = []

    def feed(self, samples: Samples) -> None:
        self._fed.append(samples)
        pcm = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
        # True where Vosk, too, has heard a pause: what it has until there must be taken now.
        if self._recogniser.AcceptWaveform(pcm.tobytes()):
            self._take(self._recogniser.Result())

    def partial(self) -> str:
        heard = json.loads(self._recogniser.PartialResult()).get("partial", "").split()
        words = [word.word for word in self._words]
        return " ".join([*words, *(word for word in heard if word != UNKNOWN_WORD)])

    def finish(self, end: int) -> Transcript:
        self._take(self._recogniser.FinalResult())
        end_s = end / SAMPLE_RATE_HZ
        return Transcript(
            tuple(
                Word(word.word, min(word.start_s, end_s), min(word.end_s, end_s), word.conf)
                for word in self._words
            )
        )

    def resume(self, n_samples: int) -> None:
        # Vosk cannot take a final result back. What it has heard, it hears again: 40 ms of work for each
        # second, and rarely, because finishing early is left to the very end of a pause.
        fed = self._fed
        self.begin(self._start)
        for samples in fed:
            if n_samples <= 0:
                break
            self.feed(samples)
            n_samples -= len(samples)

    def _take(self, result: str) -> None:
        """Append the words of one of Vosk's results, whose times run from the segment's start."""
        offset_s = self._start / SAMPLE_RATE_HZ
        self._words += [
            Word(
                word=word["word"],
                start_s=offset_s + word["start"],
                end_s=offset_s + word["end"],
                conf=min(1.0, max(0.0, word["conf"])),
            )
            for word in json.loads(result).get("result", [])
            if word["word"] != UNKNOWN_WORD
        ]


class _OnDemand(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def _import_vosk() -> Any:
    """The package, without what only its downloads and subtitles need: that takes twice as long as the rest."""
    unneeded = {"requests", "srt"} - sys.modules.keys()
    sys.modules.update((name, _OnDemand(name)) for name in unneeded)
    try:
        import vosk
    finally:
        for name in unneeded:
            del sys.modules[name]
    return vosk


class SharedVosk:
    """Recognisers for many streams, whose models are loaded once; each stream's thread asks for its own.

    Vosk's models do not change while they are used, so that threads may share them.
    """

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._models: dict[Path, Any] = {}

    def preload(self, folder: Path) -> None:
        """Begin to load a model beside whatever else is being loaded. A failure is the first stream's to tell."""

        def load() -> None:
            with contextlib.suppress(ModelError):
                self.load(folder)

        threading.Thread(target=load, name="stser-asr-load", daemon=True).start()

    def load(self, folder: Path) -> VoskEngine:
        """A recogniser with the folder's model.

        Raises:
            ModelError: It cannot be loaded.
        """
        with self._loading:
            engine = VoskEngine(folder, self._models.get(folder))
            self._models[folder] = engine.model
            return engine


@dataclass(slots=True)
class _Utterance:
    """One segment on its way through the recogniser."""

    number: int
    pending: list[Samples] = field(default_factory=list)
    """Audio that does not fill a block yet."""
    n_pending: int = 0
    n_fed: int = 0
    """Samples handed over, in whole blocks."""
    engine: int = 0
    """Identity of the recogniser that has heard it from its beginning; of the recogniser's thread, as the next."""
    finished: bool = False
    """Vosk has given its final result."""
    failure: str = ""
    """Why there will be no transcript; written by either thread, read by both."""


class VoskTranscriber:
    """Vosk on its own thread (:class:`monitor.ports.Transcriber`).

    No call waits for the recogniser. At most ``asr.backlog_s`` of audio waits for it: when more
    comes, the whole open utterance is given up, so that no transcript ever has a hole in it. The
    source and the ensemble do not notice. A failure of Vosk ends with the utterance that it hit. Where it
    hangs, that utterance is given up after ``asr.hang_s``, and a fresh recogniser takes over.

    Attributes:
        given_up: Utterances without a transcript because the recogniser was too slow.
        failed: Utterances without a transcript because the recogniser failed or hung.
        trouble: Why the last of them has none.
    """

    def __init__(
        self,
        model: VoskModel,
        settings: AsrSettings,
        *,
        load: Callable[[Path], Engine] = VoskEngine,
    ) -> None:
        self._model = model
        self._limit = round(settings.backlog_s * SAMPLE_RATE_HZ)
        blocks = self._limit // BLOCK_SAMPLES
        self._worker = NativeWorker(
            "stser-asr", lambda: load(model.path), capacity=2 * blocks, hang_s=settings.hang_s
        )
        self._loop: asyncio.AbstractEventLoop
        self._open: _Utterance | None = None
        self._closed: _Utterance | None = None
        self._partial = ""
        self._backlog = 0
        self._ready = asyncio.Event()
        self._ready.set()
        self.given_up = 0
        self.failed = 0
        self.trouble = ""

    @property
    def name(self) -> str:
        return self._model.name

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._worker.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._worker.close()

    def begin(self, utterance: int, start: int) -> None:
        opened = self._open = _Utterance(utterance)
        self._closed = None
        self._partial = ""
        self._post(opened, lambda engine: self._begin(opened, engine, start))

    def feed(self, samples: Samples) -> None:
        utterance = self._utterance()
        utterance.pending.append(samples)
        utterance.n_pending += len(samples)
        if utterance.n_pending < BLOCK_SAMPLES:
            return
        audio = np.concatenate(utterance.pending)
        whole = len(audio) - len(audio) % BLOCK_SAMPLES
        for start in range(0, whole, BLOCK_SAMPLES):
            self._recognise(utterance, audio[start : start + BLOCK_SAMPLES])
        utterance.pending, utterance.n_pending = [audio[whole:]], len(audio) - whole

    async def wait_ready(self) -> None:
        await self._ready.wait()

    async def partial(self) -> str:
        utterance = self._open
        if utterance is None:  # it pauses, and may go on: no words have come since
            return self._partial
        asked = self._worker.call(
            lambda engine: self._attempt(utterance, engine, lambda engine: engine.partial())
        )
        try:
            self._partial = await asked or ""
        except Exception as error:  # noqa: BLE001 - it hangs, or no fresh one can be had
            self._lose(utterance, error)
        return self._partial

    def finish(self, end: int) -> asyncio.Future[Transcript | None]:
        utterance = self._closed = self._utterance()
        self._open = None
        rest = np.concatenate([*utterance.pending, np.zeros(0, np.float32)])
        asked = self._worker.call(lambda engine: self._conclude(utterance, engine, rest, end))
        answer: asyncio.Future[Transcript | None] = self._loop.create_future()
        asked.add_done_callback(lambda asked: self._answer(utterance, asked, answer))
        answer.add_done_callback(lambda answer: asked.cancel() if answer.cancelled() else None)
        return answer

    def resume(self) -> None:
        if self._closed is None:
            raise RuntimeError("no utterance was finished: there is none to go on with")
        utterance = self._open = self._closed
        self._closed = None
        n_fed = utterance.n_fed
        self._post(utterance, lambda engine: self._take_back(utterance, engine, n_fed))

    def _utterance(self) -> _Utterance:
        if self._open is None:
            raise RuntimeError("no utterance is open: begin() opens one and finish() closes it")
        return self._open

    # --- on the loop's thread: what may wait ---------------------------------------------------

    def _recognise(self, utterance: _Utterance, samples: Samples) -> None:
        """Hand a block over, or give the utterance up where the recogniser is too far behind."""
        if utterance.failure:
            return
        if self._backlog + len(samples) > self._limit:
            self._give_up(utterance)
            return
        self._backlog += len(samples)
        utterance.n_fed += len(samples)
        self._wake_or_hold()
        if not self._post(utterance, lambda engine: engine.feed(samples), len(samples)):
            self._done(len(samples))

    def _post(
        self, utterance: _Utterance, work: Callable[[Engine], None], n_samples: int = 0
    ) -> bool:
        posted = self._worker.post(
            lambda engine: self._attempt(utterance, engine, work),
            (lambda: self._done(n_samples)) if n_samples else None,
        )
        if not posted:
            self._give_up(utterance)
        return posted

    def _answer(
        self,
        utterance: _Utterance,
        asked: asyncio.Future[Transcript | None],
        answer: asyncio.Future[Transcript | None],
    ) -> None:
        """The words of an utterance, or that there are none."""
        if asked.cancelled() or answer.done():
            answer.cancel()
            return
        error = asked.exception()
        if error is not None:
            self._lose(utterance, error)
        if utterance.failure:
            self.trouble = utterance.failure
            logger.warning("utterance %d has no words: %s", utterance.number, utterance.failure)
        answer.set_result(None if utterance.failure else asked.result())

    def _lose(self, utterance: _Utterance, error: BaseException) -> None:
        self.failed += 1
        utterance.failure = f"the recogniser failed: {error}"

    def _give_up(self, utterance: _Utterance) -> None:
        self.given_up += 1
        waiting_s = self._backlog / SAMPLE_RATE_HZ
        utterance.failure = f"the recogniser is {waiting_s:.1f} s behind"

    def _done(self, n_samples: int) -> None:
        self._backlog -= n_samples
        self._wake_or_hold()

    def _wake_or_hold(self) -> None:
        if self._backlog > READY_SAMPLES:
            self._ready.clear()
        else:
            self._ready.set()

    # --- on the recogniser's thread ------------------------------------------------------------

    def _begin(self, utterance: _Utterance, engine: Engine, start: int) -> None:
        utterance.engine = id(engine)
        engine.begin(start)

    def _conclude(
        self, utterance: _Utterance, engine: Engine, rest: Samples, end: int
    ) -> Transcript | None:
        def finish(engine: Engine) -> Transcript:
            utterance.finished = True
            if len(rest):
                engine.feed(rest)
            return engine.finish(end)

        return self._attempt(utterance, engine, finish)

    def _take_back(self, utterance: _Utterance, engine: Engine, n_samples: int) -> None:
        if utterance.finished:  # else the final result was cancelled before its turn came
            utterance.finished = False
            engine.resume(n_samples)

    def _attempt(
        self, utterance: _Utterance, engine: Engine, work: Callable[[Engine], R]
    ) -> R | None:
        """Do the work unless the utterance is lost already; lose it where Vosk fails."""
        if utterance.failure:
            return None
        if utterance.engine not in {0, id(engine)}:
            self.failed += 1
            utterance.failure = "the recogniser hung, and a fresh one has not heard its beginning"
            return None
        try:
            return work(engine)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - Vosk raises bare Exceptions
            self.failed += 1
            utterance.failure = f"{type(error).__name__}: {error}"
            return None
