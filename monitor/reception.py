"""Which streams are heard now, and how clients bring further ones.

The pipeline opens it; the port for ``/audio`` asks it for a name and has its audio heard. It bounds how many
streams clients may have at once, so that theirs do not cost the monitor its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from monitor.degradation import Component
from monitor.events import WireEvent
from monitor.incoming import AudioSettings, IncomingAudio
from monitor.publish.journal import Journal
from monitor.stream import Stream

LONGEST_NAME = 32
"""Characters of a stream's name that a client chooses."""


class ReceptionError(Exception):
    """A stream that is not taken in.

    Attributes:
        status: HTTP status that says so.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Guest:
    """A client's stream."""

    stream: Stream
    hearing: asyncio.Task[None]
    """Done when the stream has ended."""


class Reception:
    """All streams that are heard now.

    Args:
        settings: Of the streams that clients bring.
        new_stream: Makes a stream of a name and a client's audio.
        own: How many streams there are besides those of clients.
    """

    def __init__(
        self,
        settings: AudioSettings,
        new_stream: Callable[[str, IncomingAudio], Stream],
        *,
        own: int,
    ) -> None:
        self._settings = settings
        self._own = own
        self._new_stream = new_stream
        self._active: dict[str, Stream] = {}
        self._guests: dict[str, Stream] = {}
        self._no_guests = asyncio.Event()
        self._no_guests.set()
        self._announce: Callable[[WireEvent], None] | None = None
        self._journal: Journal
        self._closing = False

    @property
    def active(self) -> Sequence[Stream]:
        """The streams that are heard now, those from the start first."""
        return list(self._active.values())

    @property
    def ready(self) -> bool:
        """Whether it is open, and every stream that does not belong to a client is listening."""
        own = [stream for stream in self.active if stream.name not in self._guests]
        listening = all(stream.health.listening for stream in own)
        return self._announce is not None and len(own) >= self._own and listening

    @property
    def degraded(self) -> Sequence[Component]:
        """Components that failed at the last utterance of any stream."""
        return sorted({part for stream in self.active for part in stream.health.degraded})

    @asynccontextmanager
    async def opened(
        self, announce: Callable[[WireEvent], None], journal: Journal
    ) -> AsyncIterator[None]:
        """Clients may come; on the way out, those that are there are heard to what they have sent so far."""
        self._announce, self._journal = announce, journal
        try:
            yield
        finally:
            self._closing = True
            for stream in self._guests.values():
                stream.stop()
            await self._no_guests.wait()

    async def hear(
        self,
        stream: Stream,
        *,
        listener: Callable[[WireEvent], None] | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Hear a stream to its end.

        Args:
            stream: Of a name that nobody has at the moment.
            listener: Takes its events, too.
            ready: Called once when it is open.

        Raises:
            MonitorError: It cannot be opened, or its source has failed.
        """
        announce = self._announce
        assert announce is not None, "streams are heard while the reception is open"

        def tell(event: WireEvent) -> None:
            announce(event)
            if listener is not None:
                listener(event)

        self._active[stream.name] = stream
        try:
            await stream.run(tell, newest=self._journal.newest(stream.source), ready=ready)
        finally:
            del self._active[stream.name]

    def name_for(self, wanted: str | None) -> str:
        """The name that a client's stream would get now.

        Raises:
            ReceptionError: It cannot be taken in.
        """
        if not self._settings.enabled or self._announce is None or self._closing:
            raise ReceptionError(503, "no audio is taken in")
        if len(self._guests) >= self._settings.max_streams:
            raise ReceptionError(503, f"{self._settings.max_streams} streams are the limit")
        taken = self._active.keys() | self._guests.keys()
        if wanted is None:
            numbers = range(1, len(taken) + 2)
            return next(name for n in numbers if (name := f"audio-{n}") not in taken)
        if not re.fullmatch(rf"[a-zA-Z0-9_-]{{1,{LONGEST_NAME}}}", wanted):
            raise ReceptionError(
                400, f"a stream's name is 1 to {LONGEST_NAME} letters, digits, '_' and '-'"
            )
        if wanted in taken:
            raise ReceptionError(409, f"the stream {wanted!r} is heard already")
        return wanted

    @asynccontextmanager
    async def guest(
        self, wanted: str | None, audio: IncomingAudio, listener: Callable[[WireEvent], None]
    ) -> AsyncIterator[Guest]:
        """Hear a client's audio as a stream of its own; on the way out, to its end.

        Raises:
            ReceptionError: It is not taken in.
            MonitorError: It could not be heard.
        """
        name = self.name_for(wanted)
        stream = self._guests[name] = self._new_stream(name, audio)
        self._no_guests.clear()
        hearing = asyncio.create_task(self.hear(stream, listener=listener), name=f"stream {name}")
        hearing.add_done_callback(lambda _: self._has_left(name))
        try:
            yield Guest(stream, hearing)
        finally:
            stream.stop()
            await hearing

    def _has_left(self, name: str) -> None:
        del self._guests[name]
        if not self._guests:
            self._no_guests.set()
