"""The STSER ensemble on its own worker: log-mel grows with the audio, the verdict takes one call."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from monitor.events import SAMPLE_RATE_HZ, ModelId, Samples
from monitor.heard_voice import Origin, VoiceFile
from monitor.worker import NativeWorker
from stser_core.adaptation import Average, HeardSpeech
from stser_core.ensemble import Request, Stser, Verdict
from stser_core.features import LogMelStream

MAX_BATCH: Final = 8
"""Utterances judged in one call; more would make the first of them wait."""
LENGTH_RATIO: Final = 1.5
"""Longest over shortest in a call: padding beyond that costs more than the call saves."""
STEP_SAMPLES: Final = SAMPLE_RATE_HZ // 10
"""Audio by which the log-mel advances: five times as much as a frame takes twice as long."""
PROVISIONAL_WAITING: Final = 8
"""Provisional verdicts that may wait; the next one is not given."""


class EnsembleFaultError(Exception):
    """The ensemble did not judge an utterance: it raised, or it hangs."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    request: Request
    answer: asyncio.Future[Verdict]

    @property
    def length(self) -> int:
        return 0 if self.request.log_mel is None else len(self.request.log_mel)


class EnsembleWorker:
    """One thread that loads and owns the ensemble; every stream judges through it.

    What waits at the same time is judged in one call. Final verdicts come first: provisional ones are
    judged while no final one waits, and not at all while :data:`PROVISIONAL_WAITING` of them do. An ensemble
    that hangs is replaced by a fresh one.

    Args:
        load: Gives the ensemble, on the worker's thread.
        hang_s: A call that takes longer hangs.

    Attributes:
        model: Which weights judge.
        origin: The front end that they expect, and what averages of their representations are of.

    Raises:
        stser_core.errors.CheckpointError: On entry, where the checkpoint cannot be used.
    """

    def __init__(self, load: Callable[[], Stser], hang_s: float = 10.0) -> None:
        self._worker = NativeWorker("stser-inference", load, capacity=64, hang_s=hang_s)
        self._lock = threading.Lock()
        self._final: deque[_Waiting] = deque()
        self._provisional: deque[_Waiting] = deque()
        self.model: ModelId
        self.origin: Origin

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._worker.start()
        identity = await self._worker.call(lambda ensemble: ensemble.model_id)
        self.model = ModelId(identity.name, identity.version, identity.digest)
        self.origin = await self._worker.call(
            lambda ensemble: Origin(
                ensemble.log_mel_settings, identity.digest, ensemble.representation_size
            )
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._worker.close()
        for waiting in (*self._final, *self._provisional):
            waiting.answer.cancel()

    def classify(self, request: Request) -> asyncio.Future[Verdict]:
        """The verdict on a segment; raises :class:`EnsembleFaultError` where there is none."""
        return self._queue(self._final, request)

    def classify_so_far(self, request: Request) -> asyncio.Future[Verdict] | None:
        """The verdict on what was said so far; None where there is no time for it."""
        if len(self._provisional) >= PROVISIONAL_WAITING:
            return None
        return self._queue(self._provisional, request)

    def _queue(self, queue: deque[_Waiting], request: Request) -> asyncio.Future[Verdict]:
        answer: asyncio.Future[Verdict] = self._loop.create_future()
        with self._lock:
            queue.append(_Waiting(request, answer))
        batch: list[_Waiting] = []
        call = self._worker.call(lambda ensemble: self._judge(ensemble, batch))
        call.add_done_callback(lambda call: self._judged(call, batch))
        return answer

    def _judged(self, call: asyncio.Future[None], batch: list[_Waiting]) -> None:
        """A call that did not come back, or was never made, leaves those without a verdict whom it was for."""
        if call.cancelled() or (error := call.exception()) is None:
            return
        for waiting in batch or self._next_batch():
            _fail(waiting, error)

    # --- on the worker's thread ----------------------------------------------------------------

    def _judge(self, ensemble: Stser, batch: list[_Waiting]) -> None:
        """The next batch; nothing where an earlier one has taken what this call was for."""
        batch += self._next_batch()
        try:
            verdicts = ensemble.classify_many([waiting.request for waiting in batch])
        except Exception:  # noqa: BLE001 - one by one: whose fault it is fails alone
            for waiting in batch:
                self._judge_alone(ensemble, waiting)
        else:
            self._settle(lambda: [*map(_answer, batch, verdicts)])

    def _judge_alone(self, ensemble: Stser, waiting: _Waiting) -> None:
        try:
            (verdict,) = ensemble.classify_many([waiting.request])
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            failure = error
            self._settle(lambda: _fail(waiting, failure))
        else:
            self._settle(lambda: _answer(waiting, verdict))

    def _next_batch(self) -> list[_Waiting]:
        with self._lock:
            queue = self._final or self._provisional
            batch: list[_Waiting] = []
            passed: list[_Waiting] = []
            while queue and len(batch) < MAX_BATCH:
                waiting = queue.popleft()
                if waiting.answer.cancelled():
                    continue
                lengths = [waiting.length, *(other.length for other in batch)]
                fits = max(lengths) <= LENGTH_RATIO * min(lengths)
                (batch if fits or not batch else passed).append(waiting)
            queue.extendleft(reversed(passed))
        return batch

    def _settle(self, settle: Callable[[], object]) -> None:
        # A loop that is gone has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle)


def _answer(waiting: _Waiting, verdict: Verdict) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(verdict)


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(EnsembleFaultError(f"{type(error).__name__}: {error}"))


@dataclass(frozen=True, slots=True)
class HeardSegment:
    """What the ensemble needs of a segment, besides its words."""

    log_mel: NDArray[np.float32]
    """Not normalised, ``(time, mels)``, without the hangover."""
    before: HeardSpeech
    """What the stream said before; of its voice, what was :meth:`~StreamInference.judged` by then."""


class StreamInference:
    """One stream's side of the ensemble: its log-mel so far and the voice and room it has heard.

    Calls come in stream order from one thread. The log-mel advances with the audio, so that the end
    of a segment leaves little but the classifiers to run (0.4 ms of log-mel in each second of speech).
    """

    def __init__(self, ensemble: EnsembleWorker, kept: VoiceFile | None = None) -> None:
        self._ensemble = ensemble
        self._kept = kept
        self._origin = ensemble.origin
        self.begin()
        self._heard = HeardSpeech() if kept is None else kept.load(self._origin)
        self._unsaved = False
        self._saving: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """A segment has opened."""
        self._log_mel = LogMelStream(self._origin.front_end)
        self._blocks: list[NDArray[np.float32]] = []
        self._waiting: list[Samples] = []
        self._n_waiting = 0

    def reset(self) -> None:
        """Forget the voice and the room: the next utterance is as the first of a stream."""
        self._heard = HeardSpeech()
        self._keep()

    def feed(self, samples: Samples) -> None:
        """Further audio of the open segment."""
        self._waiting.append(samples)
        self._n_waiting += len(samples)
        if self._n_waiting >= STEP_SAMPLES:
            self._advance()

    def _advance(self) -> None:
        self._blocks.append(self._log_mel.push(np.concatenate(self._waiting)))
        self._waiting, self._n_waiting = [], 0

    def so_far(self) -> HeardSegment:
        """The segment that is open, as if it ended with what was fed last."""
        if self._waiting:
            self._advance()
        return HeardSegment(np.concatenate(self._blocks), self._heard)

    def close(self) -> HeardSegment:
        """The segment that was open; from now on, its log-mel counts as heard."""
        segment = self.so_far()
        self._heard = self._heard.after(segment.log_mel)
        self._keep()
        return segment

    def judged(self, voice: Average | None) -> None:
        """The voice is known of all segments that were closed."""
        self._heard = replace(self._heard, voice=voice)
        self._keep()

    def _keep(self) -> None:
        """Write the voice heard so far; what comes while the disk is busy is written when it is free."""
        if self._kept is None:
            return
        self._unsaved = True
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save(self._kept), name="voice")

    async def _save(self, kept: VoiceFile) -> None:
        while self._unsaved:
            self._unsaved = False
            await asyncio.to_thread(kept.save, self._heard, self._origin)

    async def saved(self) -> None:
        """Wait until the voice heard so far is on the disk, where it is kept."""
        if self._saving is not None:
            await self._saving

    def judge(
        self, segment: HeardSegment, words: Sequence[str] | None, before: HeardSpeech
    ) -> Awaitable[Verdict]:
        """The verdict on a segment, given all that the stream said before it."""
        return self._ensemble.classify(Request(segment.log_mel, words, before))

    def judge_so_far(self, segment: HeardSegment, before: HeardSpeech) -> Awaitable[Verdict] | None:
        """The verdict on the voice so far; None where there is no time for it."""
        return self._ensemble.classify_so_far(Request(segment.log_mel, None, before))
