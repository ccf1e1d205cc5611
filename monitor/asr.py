"""Speech recognition on a thread of its own, fed while the speech is still going on, with bounds to what may wait
there. By the time a segment closes only its last moments are left to decode."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

import numpy as np

from monitor.errors import ModelError
from monitor.events import SAMPLE_RATE_HZ, Samples, Transcript
from monitor.shedding import Shedding
from monitor.vosk_engine import BLOCK_SAMPLES, Engine, SharedVosk, VoskEngine
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

READY_SAMPLES: Final = SAMPLE_RATE_HZ
"""Backlog above which a source that can wait has to."""


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
    late_s: float = 3.0
    """Where audio is live, an utterance whose words are not known so long after its end is judged without them."""
    hang_s: float = 10.0
    """A recogniser that is busy with 100 ms of audio for so long hangs, and a fresh one takes over."""
    load_s: float = 120.0
    """A model that is not loaded after so long is given up, and the start with it."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.backlog_s <= 300.0:
            raise ValueError(
                f"asr.backlog_s ({self.backlog_s:g}) must lie between 1 and 300: less gives up "
                "utterances for nothing, more keeps listeners waiting for words of minutes ago."
            )
        if not 0.1 <= self.late_s <= 300.0:
            raise ValueError(
                f"asr.late_s ({self.late_s:g}) must lie between 0.1 and 300: less loses words for nothing, "
                "more keeps listeners waiting for a verdict that the voice alone could have given."
            )
        if not 1.0 <= self.hang_s <= 600.0:
            raise ValueError(
                f"asr.hang_s ({self.hang_s:g}) must lie between 1 and 600: less takes a busy machine for a "
                "recogniser that hangs, more leaves utterances waiting for words that never come."
            )
        if not 1.0 <= self.load_s <= 3_600.0:
            raise ValueError(
                f"asr.load_s ({self.load_s:g}) must lie between 1 and 3600: less takes a slow disk for a "
                "recogniser that hangs, more keeps whoever started the monitor waiting for nothing."
            )
        if not self.models_url.startswith(("https://", "http://")):
            raise ValueError(
                f"asr.models_url ({self.models_url}) must start with https:// or http://."
            )


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
    told: bool = False
    """The log has that."""


class VoskTranscriber:
    """Vosk on its own thread (:class:`monitor.ports.Transcriber`).

    No call waits for the recogniser. At most ``asr.backlog_s`` of audio waits for it: when more
    comes, the whole open utterance is given up, so that no transcript ever has a hole in it; so is a live one
    whose words are not known ``asr.late_s`` after its end. The source and the ensemble do not notice. A failure
    of Vosk ends with the utterance that it hit. Where it hangs, that utterance is given up after ``asr.hang_s``,
    and a fresh recogniser takes over.

    Attributes:
        trouble: Why the last utterance without a transcript has none.
    """

    def __init__(
        self,
        model: VoskModel,
        settings: AsrSettings,
        *,
        load: Callable[[Path], Engine] = VoskEngine,
        turns: threading.Semaphore | None = None,
        shedding: Shedding | None = None,
    ) -> None:
        self._model = model
        self._shedding = shedding if shedding is not None else Shedding()
        self._limit = round(settings.backlog_s * SAMPLE_RATE_HZ)
        self._late_s = settings.late_s
        self._load_s = settings.load_s
        blocks = self._limit // BLOCK_SAMPLES
        self._worker = NativeWorker(
            "stser-asr",
            lambda: load(model.path),
            capacity=2 * blocks,
            hang_s=settings.hang_s,
            turns=turns,
        )
        self._loop: asyncio.AbstractEventLoop
        self._open: _Utterance | None = None
        self._closed: _Utterance | None = None
        self._partial = ""
        self._backlog = 0
        self._handed_over: deque[float] = deque()
        """When each block that waits for the recogniser was handed over."""
        self._live = False
        self._ready = asyncio.Event()
        self._ready.set()
        self.trouble = ""

    @property
    def name(self) -> str:
        return self._model.name

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._load_s):
                await self._worker.start()
        except TimeoutError as error:
            raise ModelError(
                f"{self._model.name}: not loaded after asr.load_s ({self._load_s:g}) seconds. It hangs, as it "
                "does where there is too little memory, or the disk is slow: raise the limit, or leave the recogniser "
                "out with --no-asr."
            ) from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._worker.close()

    def begin(self, utterance: int, start: int, *, live: bool = False) -> None:
        opened = self._open = _Utterance(utterance)
        self._closed = None
        self._partial = ""
        self._live = live
        now_s = time.perf_counter()
        if live and self._shedding.leaves_out_words(now_s):
            opened.failure = f"the monitor is {self._shedding.late_s(now_s):.1f} s late"
            return
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

    def finish(self, end: int, *, live: bool = False) -> asyncio.Future[Transcript | None]:
        utterance = self._closed = self._utterance()
        self._open = None
        answer: asyncio.Future[Transcript | None] = self._loop.create_future()
        if utterance.failure:  # it is known by now that there will be no words
            self._wordless(utterance, answer)
            return answer
        rest = np.concatenate([*utterance.pending, np.zeros(0, np.float32)])
        asked = self._worker.call(lambda engine: self._conclude(utterance, engine, rest, end))
        asked.add_done_callback(lambda asked: self._answer(utterance, asked, answer))
        answer.add_done_callback(lambda answer: asked.cancel() if answer.cancelled() else None)
        if live:
            timer = self._loop.call_later(self._late_s, self._too_late, utterance, answer)
            answer.add_done_callback(lambda _: timer.cancel())
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
        if not self._post(utterance, lambda engine: engine.feed(samples), len(samples)):
            return
        now_s = time.perf_counter()
        self._handed_over.append(now_s)
        self._note_lateness(now_s - self._handed_over[0], now_s)
        self._backlog += len(samples)
        utterance.n_fed += len(samples)
        self._wake_or_hold()

    def _post(
        self, utterance: _Utterance, work: Callable[[Engine], None], n_samples: int = 0
    ) -> bool:
        """Queue it; False where that cannot be, and the utterance is given up."""
        posted = self._worker.post(
            lambda engine: self._attempt(utterance, engine, work),
            (lambda: self._done(n_samples)) if n_samples else None,
        )
        if posted:
            return True
        error = self._worker.unavailable
        if error is not None:
            self._lose(utterance, error)
        else:
            self._give_up(utterance)
        return False

    def _answer(
        self,
        utterance: _Utterance,
        asked: asyncio.Future[Transcript | None],
        answer: asyncio.Future[Transcript | None],
    ) -> None:
        """The words of an utterance, or that there are none."""
        if asked.cancelled():
            answer.cancel()
            return
        error = asked.exception()
        if answer.done():
            return
        if error is not None:
            self._lose(utterance, error)
        if utterance.failure:
            self._wordless(utterance, answer)
        else:
            answer.set_result(asked.result())

    def _too_late(self, utterance: _Utterance, answer: asyncio.Future[Transcript | None]) -> None:
        """What is left of it in the queue is passed over, so that the next ones are in time."""
        if not answer.done():
            utterance.failure = f"not known {self._late_s:g} s after its end"
            self._wordless(utterance, answer)

    def _wordless(self, utterance: _Utterance, answer: asyncio.Future[Transcript | None]) -> None:
        self.trouble = utterance.failure
        if not utterance.told:  # its end may be prepared more than once
            utterance.told = True
            logger.warning("utterance %d has no words: %s", utterance.number, utterance.failure)
        answer.set_result(None)

    def _lose(self, utterance: _Utterance, error: BaseException) -> None:
        utterance.failure = f"the recogniser failed: {error}"

    def _give_up(self, utterance: _Utterance) -> None:
        waiting_s = self._backlog / SAMPLE_RATE_HZ
        utterance.failure = f"the recogniser is {waiting_s:.1f} s behind"

    def _done(self, n_samples: int) -> None:
        now_s = time.perf_counter()
        self._note_lateness(now_s - self._handed_over.popleft(), now_s)
        self._backlog -= n_samples
        self._wake_or_hold()

    def _note_lateness(self, late_s: float, now_s: float) -> None:
        if self._live:  # what can wait is never late
            self._shedding.note(late_s, now_s)

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
            utterance.failure = "the recogniser hung, and a fresh one has not heard its beginning"
            return None
        try:
            return work(engine)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - Vosk raises bare Exceptions
            utterance.failure = f"{type(error).__name__}: {error}"
            return None
