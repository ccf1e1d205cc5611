"""What all streams share, and when everything starts and ends.

    streams -> journal -> publishers

The ensemble, the journal and the publishers are opened once. Streams are heard side by side: those from the
start, and those that clients bring while it runs (``monitor/reception.py``). One that fails or is slow does not
touch the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from monitor.commands import Command, CommandDesk, CommandError
from monitor.errors import MonitorError
from monitor.events import WireEvent
from monitor.inference import EnsembleWorker
from monitor.ports import Publisher
from monitor.publish.journal import Journal
from monitor.reception import Reception
from monitor.recorder import Recorder
from monitor.shedding import Shedding
from monitor.stream import Stream

logger = logging.getLogger(__name__)


class Pipeline:
    """Runs until all streams from the start have ended, or :meth:`stop` is called. Use once.

    Everything that has a lifetime is entered by :meth:`run` and left by it, in this order on the way
    out: streams, publishers, recorder, journal, ensemble.

    Args:
        streams: Those from the start.
        ensemble: Judges for all of them.
        journal: Keeps the events before anybody has them.
        publishers: Take each event.
        desk: Where commands come from.
        reception: Hears the streams.
        shedding: What all of them leave out while they are late.
        recorder: Keeps the audio; None where nobody asked for that.
        preload: Called first: begins to load, on another thread, what is needed later.
        hurry: Called when it is to stop: nobody is waited for any longer than needed.
    """

    def __init__(
        self,
        *,
        streams: Sequence[Stream],
        ensemble: EnsembleWorker,
        journal: Journal,
        publishers: Sequence[Publisher],
        desk: CommandDesk,
        reception: Reception,
        shedding: Shedding,
        recorder: Recorder | None = None,
        preload: Callable[[], None] = lambda: None,
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self._streams = streams
        self._ensemble = ensemble
        self._journal = journal
        self._publishers = publishers
        self._desk = desk
        self._reception = reception
        self._shedding = shedding
        self._recorder = recorder
        self._preload = preload
        self._hurry = hurry
        self._stopping = asyncio.Event()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Hear all streams until they end; then announce what is left.

        Args:
            ready: Called once when everything is open and the first frames may come.

        Raises:
            MonitorError: A part cannot be opened, or a source has failed; the others were heard to their end.
            CheckpointError: The ensemble cannot be loaded.
        """
        self._preload()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._ensemble)
            await stack.enter_async_context(self._journal)
            if self._recorder is not None:
                await stack.enter_async_context(self._recorder)
            for publisher in self._publishers:
                await stack.enter_async_context(publisher)
            self._desk.open(self._obey)
            stack.callback(self._desk.close)
            await stack.enter_async_context(self._reception.opened(self._announce, self._journal))
            await self._hear_all(ready)

    def stop(self) -> None:
        """End all sources; what was said so far is still judged. Idempotent."""
        self._stopping.set()
        self._hurry()
        for stream in self._streams:
            stream.stop()

    def spare(self, sparing: bool) -> None:
        """Leave out what can be left out, or no longer."""
        self._shedding.sparing = sparing

    async def _hear_all(self, ready: Callable[[], None]) -> None:
        waiting = {stream.name for stream in self._streams}
        failures: list[MonitorError] = []

        def one_more(name: str) -> None:
            waiting.discard(name)
            if not waiting:
                ready()

        async def hear(stream: Stream) -> None:
            try:
                await self._reception.hear(stream, ready=lambda: one_more(stream.name))
            except MonitorError as error:
                failures.append(error)
                if waiting:  # the start has failed
                    self.stop()
                elif len(self._streams) > 1:
                    logger.error("%s: %s", stream.name, error)

        if not waiting:
            ready()
            await self._stopping.wait()
        async with asyncio.TaskGroup() as tasks:
            for stream in self._streams:
                tasks.create_task(hear(stream), name=f"stream {stream.name}")
        if failures:
            raise failures[0]

    def _announce(self, event: WireEvent) -> None:
        # Before anybody has it: what was announced is never lost.
        if event.sequence:
            self._journal.append(event)
        for publisher in self._publishers:
            publisher.publish(event)

    def _obey(self, command: Command) -> None:
        streams = self._reception.active
        if command.stream is not None:
            streams = [stream for stream in streams if stream.name == command.stream]
            if not streams:
                raise CommandError("unknown_stream", f"there is no stream {command.stream!r} now")
        for stream in streams:
            stream.obey(command)
