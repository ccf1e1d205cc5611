"""The stages of one stream, from its source to its events.

    source -> Segmenter -> Judging (recogniser, log-mel, ensemble) -> events

Two tasks share the work. ``_listen`` takes frames as they come, cuts them and hands on what is speech.
``_judge`` takes closed segments in order, awaits their verdict, and announces them. Audio is dropped in one
place only, the live source's own mailbox, which says so with an :class:`AudioGap`; a file waits instead. So each
segment leads to exactly one utterance event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from monitor.commands import Command, Mark, Mute, Reset, Unmute
from monitor.degradation import Component, Degradation
from monitor.errors import MonitorError
from monitor.events import (
    AudioFrame,
    AudioGap,
    DeviceHappening,
    DeviceLost,
    DeviceMuted,
    DeviceOverflow,
    DeviceRecovered,
    Happening,
    Marked,
    ModelId,
    MonitorStarted,
    MonitorStopped,
    Segment,
    SegmenterOutput,
    SpeechAudio,
    SpeechBegan,
    SpeechEnded,
    SpeechPaused,
    SpeechStarted,
    WireEvent,
    to_ms,
)
from monitor.judging import ClosedSegment, Judging
from monitor.lateness import Lateness
from monitor.muting import Muting
from monitor.ports import AudioSource
from monitor.publish.lines import Lines
from monitor.publish.wire import WireEncoder
from monitor.recorder import Recorder
from monitor.segmenter import Segmenter
from monitor.shedding import Shedding
from monitor.state import EmotionState

PENDING_SEGMENTS = 8
"""Closed segments that may wait for their verdict before ``_listen`` waits, too."""


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
        judging: What its segments lead to.
        encoder: Numbers and encodes the events.
        state: The debounced emotion.
        shedding: Is told how late a live one is heard; of all streams.
        recorder: Keeps the audio; None where nobody asked for that.
        lines: Whose reader a source that can wait waits for; None where it does not.
        started: What is announced first, of the ensemble's model.
    """

    def __init__(
        self,
        name: str,
        *,
        source: AudioSource,
        segmenter: Segmenter,
        judging: Judging,
        encoder: WireEncoder,
        state: EmotionState,
        shedding: Shedding,
        recorder: Recorder | None = None,
        lines: Lines | None = None,
        started: Callable[[ModelId], MonitorStarted],
    ) -> None:
        self.name = name
        self._source = source
        self._segmenter = segmenter
        self._judging = judging
        self._encoder = encoder
        self._state = state
        self._shedding = shedding
        self._recorder = recorder
        self._lines = lines
        self._started = started
        self._closed: asyncio.Queue[ClosedSegment | None] = asyncio.Queue(PENDING_SEGMENTS)
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
        self._encoder.continue_after(newest)
        tasks = asyncio.TaskGroup()
        judging = self._judging.opened(self._announce, tasks, live=self._source.live)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(judging)
            await stack.enter_async_context(self._source)
            self._listening = True
            self._announce(self._started(self._judging.model))
            ready()
            try:
                async with tasks:
                    tasks.create_task(self._listen(), name=f"listen {self.name}")
                    tasks.create_task(self._judge(), name=f"judge {self.name}")
                if self._failure is not None:
                    raise self._failure
            finally:
                self._listening = False
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
        if not self._encoder.transcript or not self._segmenter.speech_samples:
            return ""
        return await self._judging.partial()

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
                self._judging.reset()
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
                await self._wait_for_reader()
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
            await self._judging.say_so_far(self._segmenter)

    def _note_lateness(self) -> None:
        now_s = time.perf_counter()
        self._lateness.heard(self._clock, now_s)
        if self._source.live:
            self._shedding.note(self._lateness.of(self._clock, now_s), now_s)

    async def _record(self, frame: AudioFrame) -> None:
        if self._recorder is not None:
            waits = not self._source.live
            if self._recorder.feed(self.name, frame, waits=waits) and waits:
                await self._recorder.settled()

    async def _wait_for_reader(self) -> None:
        if self._lines is not None and not self._source.live:
            await self._lines.settled()

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
                self._judging.begin(utterance, start)
                self._announce(SpeechBegan(utterance, start))
            case SpeechAudio(samples=samples):
                await self._judging.feed(samples)
            case SpeechPaused(end=end):
                self._judging.pause(end)
            case Segment():
                await self._close(output)

    async def _close(self, segment: Segment) -> None:
        closed_s = time.perf_counter()
        late_s = self._lateness.of(segment.closed_at, closed_s) if self._source.live else 0.0
        closed = self._judging.close(segment, late_s, closed_s)
        self._announce(SpeechEnded(segment.utterance, segment.start, segment.end))
        await self._closed.put(closed)

    async def _judge(self) -> None:
        """Closed segments in, in order; one utterance event out for each."""
        while (closed := await self._closed.get()) is not None:
            self._utterances += 1
            findings = await self._judging.findings(closed)
            self._dropped["transcripts"] += bool(findings.recogniser_trouble)
            self._note("recogniser", findings.recogniser_trouble, closed.segment.closed_at)
            self._note("ensemble", findings.ensemble_trouble, closed.segment.closed_at)
            utterance = self._judging.utterance(closed, findings)
            self._announce(utterance)
            change = self._state.update(utterance)
            if change is not None:
                self._announce(change)
            self._closed.task_done()
            await self._wait_for_reader()
        self._closed.task_done()  # who waits for all to be settled does not wait for the end's mark

    def _note(self, component: Component, trouble: str, at: int) -> None:
        """Say where a component begins to fail, or works again."""
        change = self._degradation.note(component, trouble, at)
        if change is not None:
            self._announce(change)
