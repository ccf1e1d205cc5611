"""The stages of one stream, from its source to its events.

    source -> Segmenter -> (recogniser, log-mel) -> ensemble -> events

Two tasks share the work. ``_listen`` takes frames as they come, cuts them and feeds the recogniser
and the log-mel while the speech goes on. Shortly before a pause ends a segment, ``_listen`` has the
verdict prepared; if speech goes on, it is thrown away. ``_judge`` takes closed segments in order, awaits
their verdict, and announces them. Audio is dropped in one place only, the live source's own mailbox,
which says so with an :class:`AudioGap`; a file waits instead. So each segment leads to exactly
one utterance event.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from monitor.abstention import AbstentionSettings, readable, reasons
from monitor.commands import Command, Mark, Mute, Reset, Unmute
from monitor.degradation import Component, Degradation
from monitor.errors import MonitorError
from monitor.events import (
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    DeviceHappening,
    DeviceLost,
    DeviceMuted,
    DeviceOverflow,
    DeviceRecovered,
    Happening,
    Latency,
    Marked,
    ModelId,
    MonitorStarted,
    MonitorStopped,
    ProvisionalEmotion,
    Segment,
    SegmenterOutput,
    SpeechAudio,
    SpeechBegan,
    SpeechEnded,
    SpeechPaused,
    SpeechStarted,
    Transcript,
    UtteranceEmotion,
    WireEvent,
    to_ms,
)
from monitor.heard_voice import VoiceFile
from monitor.inference import EnsembleFaultError, EnsembleWorker, HeardSegment, StreamInference
from monitor.lateness import Lateness
from monitor.muting import Muting
from monitor.ports import AudioSource, Transcriber
from monitor.provisional import ProvisionalSchedule, ProvisionalSettings
from monitor.publish.wire import WireEncoder
from monitor.recorder import Recorder
from monitor.segmenter import Segmenter
from monitor.shedding import Shedding
from monitor.state import EmotionState
from stser_core.ensemble import Verdict

logger = logging.getLogger(__name__)

PENDING_SEGMENTS = 8
"""Closed segments that may wait for their verdict before ``_listen`` waits, too."""


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What the audio of a segment leads to, whenever it is worked out."""

    verdict: Verdict
    transcript: Transcript | None
    trouble: str
    """Why the ensemble has not judged; empty where it has."""
    heard_s: float
    """``time.perf_counter()`` when the words were known."""
    judged_s: float


@dataclass(frozen=True, slots=True)
class _ClosedSegment:
    segment: Segment
    judgement: asyncio.Task[_Judgement]
    late_s: float
    """How long its last audio had waited to be heard."""
    closed_s: float
    """``time.perf_counter()`` at the VAD's decision."""


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """How a stream is."""

    name: str
    device: str
    """The device's or the file's name, for people."""
    listening: bool
    """False before it begins, after it has ended, and while its device is away."""
    muted: bool
    """By a command."""
    degraded: tuple[Component, ...]
    """Components that failed at the last utterance."""


class Stream:
    """One source of audio and all that follows from it, until it ends. Use once.

    Args:
        name: In topics and CloudEvents sources.
        source: Entered last and left first.
        segmenter: Cuts it.
        transcriber: None where the voice alone is judged.
        ensemble: Of all streams.
        encoder: Numbers and encodes the events.
        state: The debounced emotion.
        abstention: When the label is ``uncertain``.
        provisional: When the emotion so far is said.
        shedding: What is left out while live streams are late; of all streams.
        voice: Where the voice heard so far is kept; None for nowhere.
        recorder: Keeps the audio; None where nobody asked for that.
        started: What is announced first, of the ensemble's model.
    """

    def __init__(
        self,
        name: str,
        *,
        source: AudioSource,
        segmenter: Segmenter,
        transcriber: Transcriber | None,
        ensemble: EnsembleWorker,
        encoder: WireEncoder,
        state: EmotionState,
        abstention: AbstentionSettings,
        provisional: ProvisionalSettings,
        shedding: Shedding,
        voice: VoiceFile | None,
        recorder: Recorder | None = None,
        started: Callable[[ModelId], MonitorStarted],
    ) -> None:
        self.name = name
        self._source = source
        self._segmenter = segmenter
        self._transcriber = transcriber
        self._ensemble = ensemble
        self._encoder = encoder
        self._state = state
        self._abstention = abstention
        self._voice = voice
        self._recorder = recorder
        self._schedule = ProvisionalSchedule(provisional)
        self._shedding = shedding
        self._provisional: asyncio.Task[None] | None = None
        self._started = started
        self._closed: asyncio.Queue[_ClosedSegment | None] = asyncio.Queue(PENDING_SEGMENTS)
        self._inference: StreamInference
        self._tasks: asyncio.TaskGroup
        self._prepared: asyncio.Task[_Judgement] | None = None
        """Of the open segment, while it pauses."""
        self._failure: MonitorError | None = None
        self._lateness = Lateness()
        self._degradation = Degradation()
        self._clock = 0
        self._listening = False
        self._muting = Muting()
        self._utterances = 0
        self._dropped = {"gaps": 0, "samples": 0, "transcripts": 0}

    @property
    def source(self) -> str:
        """Of its events, as CloudEvents have it."""
        return self._encoder.source

    @property
    def health(self) -> StreamHealth:
        """How it is at the moment."""
        return StreamHealth(
            self.name,
            self._source.name,
            self._listening,
            self._muting.wanted,
            self._degradation.components,
        )

    @property
    def level(self) -> WireEvent | None:
        """How loud the last moment was; None where nothing is heard."""
        level = self._segmenter.level if self._listening else None
        return None if level is None else self._encoder.encode(level)

    async def run(
        self,
        announce: Callable[[WireEvent], None],
        *,
        newest: int = 0,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Listen and judge until the source ends; then announce what is left.

        Args:
            announce: Takes each event; returns at once.
            newest: Sequence of the last event of this source in an earlier run.
            ready: Called once when everything is open and the first frame may come.

        Raises:
            MonitorError: A part cannot be opened, or the source has failed.
        """
        self._publish = announce
        self._inference = StreamInference(self._ensemble, self._voice)
        self._encoder.continue_after(newest)
        async with AsyncExitStack() as stack:
            if self._transcriber is not None:
                await stack.enter_async_context(self._transcriber)
            await stack.enter_async_context(self._source)
            self._listening = True
            self._announce(self._started(self._ensemble.model))
            ready()
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    tasks.create_task(self._listen(), name=f"listen {self.name}")
                    tasks.create_task(self._judge(), name=f"judge {self.name}")
                if self._failure is not None:
                    raise self._failure
            finally:
                self._listening = False
                await self._inference.saved()
                self._announce(
                    MonitorStopped(
                        audio_ms=to_ms(self._clock),
                        utterances=self._utterances,
                        dropped=dict(self._dropped),
                    )
                )

    def stop(self) -> None:
        """End the source; what was said so far is still judged. Idempotent."""
        self._source.stop()

    async def settled(self) -> None:
        """Wait until every segment that is closed has been announced."""
        await self._closed.join()

    async def cut(self) -> None:
        """End the open segment here, while the source waits."""
        for output in self._segmenter.flush():
            await self._advance(output)

    async def partial(self) -> str:
        """Words of the open segment so far; none where they are to be kept out of events."""
        if not self._encoder.transcript or self._transcriber is None:
            return ""
        if not self._segmenter.speech_samples:
            return ""
        return await self._transcriber.partial()

    def obey(self, command: Command) -> None:
        """Do as a consumer says."""
        match command:
            case Mute():
                self._muting.wanted = True
            case Unmute():
                self._muting.wanted = False
            case Mark(text=text):
                self._announce(Marked(text, self._clock))
            case Reset():
                self._inference.reset()
                self._state.reset()

    def _announce(self, happening: Happening) -> None:
        match happening:
            case DeviceLost():
                self._listening = False
            case DeviceRecovered():
                self._listening = True
        self._publish(self._encoder.encode(happening))

    async def _listen(self) -> None:
        """Frames in; closed segments out to :meth:`_judge`."""
        try:
            async for audio in self._source:
                await self._hear(audio)
        except MonitorError as error:
            # Raised by run() once what was said before the source failed has been announced.
            self._failure = error
        for output in self._segmenter.flush():
            await self._advance(output)
        self._end_recording()
        await self._closed.put(None)

    async def _hear(self, audio: AudioFrame | AudioGap | DeviceHappening) -> None:
        if isinstance(audio, DeviceHappening):
            self._dropped["gaps"] += isinstance(audio, DeviceLost)
            self._announce(audio)
            return
        if isinstance(audio, AudioGap):
            self._clock = audio.start + audio.length
            if audio.reason != "backlog":
                self._lateness.forget()
            self._dropped["samples"] += audio.length
            if audio.reason != "lost":  # which the source has told itself
                self._dropped["gaps"] += 1
                self._announce(DeviceOverflow(self._source.name, 1, audio.length))
        else:
            muted = self._muting.follow(self._source.name, audio.start)
            if muted is not None:
                await self._switch_mute(muted, audio.start)
            self._clock = audio.start + len(audio.samples)
            self._note_lateness()
            if self._muting.wanted:
                return
            await self._record(audio)
        outputs = self._segmenter.push(audio)
        for output in outputs:
            await self._advance(output)
        if outputs and isinstance(outputs[-1], SpeechAudio):
            await self._say_so_far()

    def _note_lateness(self) -> None:
        now_s = time.perf_counter()
        self._lateness.heard(self._clock, now_s)
        if self._source.live:
            self._shedding.note(self._lateness.of(self._clock, now_s), now_s)

    async def _record(self, frame: AudioFrame) -> None:
        if self._recorder is not None:
            handed_over = self._recorder.feed(self.name, frame)
            if handed_over and not self._source.live:
                await self._recorder.settled()

    def _end_recording(self) -> None:
        if self._recorder is not None:
            self._recorder.end(self.name)

    async def _switch_mute(self, muted: DeviceMuted, now: int) -> None:
        """What is said while muted is lost on purpose: a gap, which closes an open segment."""
        if muted.active:
            self._end_recording()
        gap = AudioGap(now - muted.length, muted.length, "muted")
        for output in self._segmenter.push(gap):
            await self._advance(output)
        self._announce(muted)

    async def _advance(self, output: SegmenterOutput) -> None:
        match output:
            case SpeechStarted(utterance=utterance, start=start):
                self._inference.begin()
                if self._transcriber is not None:
                    self._transcriber.begin(utterance, start, live=self._source.live)
                self._announce(SpeechBegan(utterance, start))
            case SpeechAudio(samples=samples):
                self._throw_away()
                self._inference.feed(samples)
                if self._transcriber is not None:
                    self._transcriber.feed(samples)
                    if not self._source.live:
                        await self._transcriber.wait_ready()
            case SpeechPaused(end=end):
                self._drop_provisional()
                self._prepared = self._begin_judgement(end, self._inference.so_far())
            case Segment():
                await self._close(output)

    async def _say_so_far(self) -> None:
        """Where it is time, and nothing of the kind is still being worked out: judge the voice so far."""
        if self._provisional is not None and not self._provisional.done():
            return
        if not self._schedule.due(self._segmenter.handed_on, self._segmenter.speech_samples):
            return
        segment = self._segmenter.so_far()
        if segment is None:
            return
        if self._source.live and self._shedding.leaves_out_provisional(time.perf_counter()):
            return
        verdict = self._inference.judge_so_far(self._inference.so_far())
        if verdict is not None:
            work = self._announce_so_far(segment, verdict)
            self._provisional = self._tasks.create_task(work, name="provisional")
            if not self._source.live:
                await self._provisional

    async def _announce_so_far(self, segment: Segment, judged: Awaitable[Verdict]) -> None:
        begun_s = time.perf_counter()
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
            model=self._ensemble.model,
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

    async def _close(self, segment: Segment) -> None:
        closed_s = time.perf_counter()
        late_s = self._lateness.of(segment.closed_at, closed_s) if self._source.live else 0.0
        self._drop_provisional()
        self._announce(SpeechEnded(segment.utterance, segment.start, segment.end))
        heard = self._inference.close()
        judgement = self._prepared or self._begin_judgement(segment.end, heard)
        self._prepared = None
        await self._closed.put(_ClosedSegment(segment, judgement, late_s, closed_s))

    def _begin_judgement(self, end: int, heard: HeardSegment) -> asyncio.Task[_Judgement]:
        """Finish the recogniser at ``end``, and start to work out what the segment leads to."""
        transcript = (
            None
            if self._transcriber is None
            else self._transcriber.finish(end, live=self._source.live)
        )
        return self._tasks.create_task(self._work_out(heard, transcript), name="judgement")

    async def _work_out(
        self, heard: HeardSegment, recognition: Awaitable[Transcript | None] | None
    ) -> _Judgement:
        transcript = None if recognition is None else await recognition
        heard_s = time.perf_counter()
        words = None
        if transcript is not None and readable(transcript, self._abstention):
            words = [word.word for word in transcript.words]
        trouble = ""
        try:
            verdict = await self._inference.judge(heard, words)
        except EnsembleFaultError as error:
            verdict, trouble = Verdict.none(), str(error)
            logger.warning("an utterance has no verdict: %s", error)
        judged_s = time.perf_counter()
        if self._source.live:
            self._shedding.note(judged_s - heard_s, judged_s)
        return _Judgement(verdict, transcript, trouble, heard_s, judged_s)

    async def _judge(self) -> None:
        """Closed segments in, in order; one utterance event out for each."""
        while (closed := await self._closed.get()) is not None:
            self._utterances += 1
            utterance = await self._verdict(closed)
            self._announce(utterance)
            change = self._state.update(utterance)
            if change is not None:
                self._announce(change)
            self._closed.task_done()
        self._closed.task_done()  # who waits for all to be settled does not wait for the end's mark

    async def _verdict(self, closed: _ClosedSegment) -> UtteranceEmotion:
        segment, judgement = closed.segment, await closed.judgement
        transcript, verdict = judgement.transcript, judgement.verdict
        if self._transcriber is not None:
            self._dropped["transcripts"] += transcript is None
            lost = self._transcriber.trouble if transcript is None else ""
            self._note("recogniser", lost, segment.closed_at)
        self._note("ensemble", judgement.trouble, segment.closed_at)
        # What was prepared before the decision took no time after it.
        heard_s = max(judgement.heard_s, closed.closed_s)
        judged_s = max(judgement.judged_s, closed.closed_s)
        judged = not judgement.trouble
        abstained = reasons(segment, transcript, verdict, self._abstention, judged=judged)
        return UtteranceEmotion(
            segment=segment,
            verdict=verdict,
            transcript=transcript,
            abstained=abstained,
            latency=Latency(
                endpoint=(segment.closed_at - segment.speech_end) * 1000 / SAMPLE_RATE_HZ
                + closed.late_s * 1000,
                asr=(heard_s - closed.closed_s) * 1000,
                inference=(judged_s - heard_s) * 1000,
                publish=(time.perf_counter() - judged_s) * 1000,
            ),
            model=self._ensemble.model,
        )

    def _note(self, component: Component, trouble: str, at: int) -> None:
        """Say where a component begins to fail, or works again."""
        change = self._degradation.note(component, trouble, at)
        if change is not None:
            self._announce(change)
