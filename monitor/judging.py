"""What a segment leads to: the recogniser and the ensemble are fed while the speech goes on.

Shortly before a pause ends a segment, its verdict is prepared; if speech goes on, it is thrown away. Meanwhile,
from time to time, what the utterance sounds like so far is said.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace

from monitor.abstention import AbstentionSettings, readable, reasons
from monitor.events import (
    SAMPLE_RATE_HZ,
    Happening,
    Latency,
    ModelId,
    ProvisionalEmotion,
    Samples,
    Segment,
    Transcript,
    UtteranceEmotion,
)
from monitor.heard_voice import VoiceFile
from monitor.inference import EnsembleFaultError, EnsembleWorker, HeardSegment, StreamInference
from monitor.ports import Transcriber
from monitor.provisional import ProvisionalSchedule, ProvisionalSettings
from monitor.segmenter import Segmenter
from monitor.shedding import Shedding
from stser_core.adaptation import Average, HeardSpeech
from stser_core.ensemble import Verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the audio of a segment leads to, whenever it is worked out."""

    verdict: Verdict
    transcript: Transcript | None
    recogniser_trouble: str
    """Why there are no words; empty where there are, or nobody asked for them."""
    ensemble_trouble: str
    """Why there is no verdict; empty where there is."""
    voice: Average | None
    """Of the stream, this segment with it."""
    heard_s: float
    """``time.perf_counter()`` when the words were known."""
    judged_s: float


@dataclass(frozen=True, slots=True)
class ClosedSegment:
    """A segment whose findings are known already or being worked out."""

    segment: Segment
    findings: asyncio.Task[Findings]
    late_s: float
    """How long its last audio had waited to be heard."""
    closed_s: float
    """``time.perf_counter()`` at the VAD's decision."""


class Judging:
    """One stream's recogniser and ensemble, from the beginning of a segment to its verdict.

    Calls come in stream order, while it is :meth:`opened`.

    Args:
        ensemble: Of all streams; entered before.
        transcriber: None where the voice alone is judged.
        abstention: When the label is ``uncertain``.
        provisional: When the emotion so far is said.
        shedding: What is left out while live streams are late; of all streams.
        voice: Where the voice heard so far is kept; None for nowhere.
    """

    def __init__(
        self,
        *,
        ensemble: EnsembleWorker,
        transcriber: Transcriber | None,
        abstention: AbstentionSettings,
        provisional: ProvisionalSettings,
        shedding: Shedding,
        voice: VoiceFile | None,
    ) -> None:
        self._ensemble = ensemble
        self._transcriber = transcriber
        self._abstention = abstention
        self._schedule = ProvisionalSchedule(provisional)
        self._shedding = shedding
        self._voice = voice
        self._announce: Callable[[Happening], None]
        self._tasks: asyncio.TaskGroup
        self._live: bool
        self._inference: StreamInference
        self._prepared: asyncio.Task[Findings] | None = None
        """Of the open segment, while it pauses."""
        self._provisional: asyncio.Task[None] | None = None
        self._last: asyncio.Task[Findings] | None = None
        """Of the segment that was closed last, since the beginning or a reset."""

    @property
    def model(self) -> ModelId:
        """Which weights judge."""
        return self._ensemble.model

    @asynccontextmanager
    async def opened(
        self, announce: Callable[[Happening], None], tasks: asyncio.TaskGroup, *, live: bool
    ) -> AsyncIterator[None]:
        """Segments may come; on the way out, the voice heard so far is kept.

        Args:
            announce: Takes what is said while a segment is open.
            tasks: Where the work is done; entered before the first segment.
            live: Whether the audio cannot be made to wait.

        Raises:
            MonitorError: The recogniser or the file of the voice cannot be opened.
        """
        self._announce, self._tasks, self._live = announce, tasks, live
        self._inference = StreamInference(self._ensemble, self._voice)
        async with nullcontext() if self._transcriber is None else self._transcriber:
            try:
                yield
            finally:
                await self._inference.saved()

    def reset(self) -> None:
        """Forget the voice and the room, also of segments that are still being judged."""
        self._throw_away()  # it was judged by them
        self._last = None
        self._inference.reset()

    async def partial(self) -> str:
        """Words of the open segment so far."""
        return "" if self._transcriber is None else await self._transcriber.partial()

    def begin(self, utterance: int, start: int) -> None:
        """A segment has opened."""
        self._inference.begin()
        if self._transcriber is not None:
            self._transcriber.begin(utterance, start, live=self._live)

    async def feed(self, samples: Samples) -> None:
        """Further audio of the open segment, which waits where it can while there is much to do."""
        self._throw_away()
        self._inference.feed(samples)
        if self._transcriber is not None:
            self._transcriber.feed(samples)
            if not self._live:
                await self._transcriber.wait_ready()

    def pause(self, end: int) -> None:
        """The open segment may be over, and ends at ``end`` unless further audio comes."""
        self._drop_provisional()
        self._prepared = self._begin_work(end, self._inference.so_far())

    def close(self, segment: Segment, late_s: float, closed_s: float) -> ClosedSegment:
        """The open segment is over.

        Args:
            segment: As it was.
            late_s: How long its last audio had waited to be heard.
            closed_s: ``time.perf_counter()`` at the VAD's decision.
        """
        self._drop_provisional()
        heard = self._inference.close()
        findings = self._prepared or self._begin_work(segment.end, heard)
        self._prepared = None
        self._last = findings
        return ClosedSegment(segment, findings, late_s, closed_s)

    async def findings(self, closed: ClosedSegment) -> Findings:
        """What a closed segment leads to; the last one's voice is kept, unless it is to be forgotten."""
        findings = await closed.findings
        if closed.findings is self._last:
            self._inference.judged(findings.voice)
        return findings

    def utterance(self, closed: ClosedSegment, findings: Findings) -> UtteranceEmotion:
        """What is said of a closed segment, whose findings these are."""
        # What was prepared before the decision took no time after it.
        heard_s = max(findings.heard_s, closed.closed_s)
        judged_s = max(findings.judged_s, closed.closed_s)
        segment, judged = closed.segment, not findings.ensemble_trouble
        endpoint_ms = (segment.closed_at - segment.speech_end) * 1000 / SAMPLE_RATE_HZ
        return UtteranceEmotion(
            segment=segment,
            verdict=findings.verdict,
            transcript=findings.transcript,
            abstained=reasons(
                segment, findings.transcript, findings.verdict, self._abstention, judged=judged
            ),
            latency=Latency(
                endpoint=endpoint_ms + closed.late_s * 1000,
                asr=(heard_s - closed.closed_s) * 1000,
                inference=(judged_s - heard_s) * 1000,
                publish=(time.perf_counter() - judged_s) * 1000,
            ),
            model=self.model,
        )

    async def say_so_far(self, segmenter: Segmenter) -> None:
        """Where it is time, and nothing of the kind is still being worked out: judge the voice so far.

        Args:
            segmenter: Which has the open segment.
        """
        if self._provisional is not None and not self._provisional.done():
            return
        if not self._schedule.due(segmenter.handed_on, segmenter.speech_samples):
            return
        segment = segmenter.so_far()
        if segment is None:
            return
        if self._live and self._shedding.leaves_out_provisional(time.perf_counter()):
            return
        work = self._announce_so_far(segment, self._inference.so_far(), self._last)
        self._provisional = self._tasks.create_task(work, name="provisional")
        if not self._live:
            await self._provisional

    async def _announce_so_far(
        self, segment: Segment, heard: HeardSegment, last: asyncio.Task[Findings] | None
    ) -> None:
        begun_s = time.perf_counter()
        judged = self._inference.judge_so_far(heard, await _before(heard, last))
        if judged is None:
            return
        try:
            verdict = await judged
        except EnsembleFaultError:  # the final verdict will say so
            return
        judged_s = time.perf_counter()
        if not verdict.modalities:  # only words were asked for
            return
        so_far = UtteranceEmotion(
            segment=segment,
            verdict=verdict,
            transcript=None,
            abstained=reasons(segment, None, verdict, self._abstention),
            latency=Latency(
                endpoint=0.0,
                asr=0.0,
                inference=(judged_s - begun_s) * 1000,
                publish=(time.perf_counter() - judged_s) * 1000,
            ),
            model=self.model,
        )
        self._announce(ProvisionalEmotion(so_far))

    def _drop_provisional(self) -> None:
        """The final verdict comes first: what has not been worked out by now never will be."""
        if self._provisional is not None:
            self._provisional.cancel()
            self._provisional = None

    def _throw_away(self) -> None:
        """Speech goes on: what was prepared for its end is of no use."""
        if self._prepared is not None:
            self._prepared.cancel()
            self._prepared = None
            if self._transcriber is not None:
                self._transcriber.resume()

    def _begin_work(self, end: int, heard: HeardSegment) -> asyncio.Task[Findings]:
        """Finish the recogniser at ``end``, and start to work out what the segment leads to."""
        transcript = (
            None if self._transcriber is None else self._transcriber.finish(end, live=self._live)
        )
        work = self._work_out(heard, transcript, self._last)
        return self._tasks.create_task(work, name="judgement")

    async def _work_out(
        self,
        heard: HeardSegment,
        recognition: Awaitable[Transcript | None] | None,
        last: asyncio.Task[Findings] | None,
    ) -> Findings:
        transcript, words, wordless = None, None, ""
        if self._transcriber is not None and recognition is not None:
            transcript = await recognition
            wordless = self._transcriber.trouble if transcript is None else ""
        heard_s = time.perf_counter()
        if transcript is not None and readable(transcript, self._abstention):
            words = [word.word for word in transcript.words]
        trouble = ""
        before = await _before(heard, last)
        try:
            verdict = await self._inference.judge(heard, words, before)
        except EnsembleFaultError as error:
            verdict, trouble = Verdict.none(), str(error)
            logger.warning("an utterance has no verdict: %s", error)
        judged_s = time.perf_counter()
        if self._live:
            self._shedding.note(judged_s - heard_s, judged_s)
        voice = before.judged(verdict.voice).voice
        return Findings(verdict, transcript, wordless, trouble, voice, heard_s, judged_s)


async def _before(heard: HeardSegment, last: asyncio.Task[Findings] | None) -> HeardSpeech:
    """What a stream said before a segment, once all of it is judged: verdicts depend on no timing.

    Args:
        heard: The segment.
        last: Findings of the one before it; None for the first. A wait that is given up leaves them alone.
    """
    if last is None:
        return heard.before
    return replace(heard.before, voice=(await asyncio.shield(last)).voice)
