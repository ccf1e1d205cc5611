"""What the pipeline needs of its parts, as Protocols. Each part is an async context manager that
owns its device, thread or socket from entry to exit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Protocol, Self

from monitor.events import (
    AudioFrame,
    AudioGap,
    DeviceHappening,
    Samples,
    Transcript,
    WireEvent,
)
from monitor.publish.lines import Lines


class Part(Protocol):
    """Something with a lifetime."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...


class AudioSource(Part, Protocol):
    """Audio of one stream: a device, a file, a pipe or a client."""

    @property
    def name(self) -> str:
        """The device's or the file's name, for people."""
        ...

    @property
    def live(self) -> bool:
        """True where the audio comes at its own pace and cannot be made to wait."""
        ...

    def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap | DeviceHappening]:
        """Frames, gaps and what happened to the device, in stream order, until the source ends or
        :meth:`stop` is called."""
        ...

    def stop(self) -> None:
        """End the iteration after what has been captured so far. Idempotent."""
        ...


class Transcriber(Part, Protocol):
    """A recogniser that listens while the speech goes on. Calls come in stream order."""

    trouble: str
    """Why the last utterance that has no words has none."""

    @property
    def name(self) -> str:
        """Name of its model."""
        ...

    def begin(self, utterance: int, start: int, *, live: bool = False) -> None:
        """A segment has opened at sample ``start``. Returns at once.

        Args:
            utterance: Its number.
            start: Of the segment.
            live: Whether it may go without words where there is too much to do.
        """
        ...

    def feed(self, samples: Samples) -> None:
        """Further audio of the open segment. Returns at once."""
        ...

    async def wait_ready(self) -> None:
        """Wait until little of what was fed is left to do. For sources that can be made to wait."""
        ...

    async def partial(self) -> str:
        """Words of the open segment so far; none where the recogniser failed on it."""
        ...

    def finish(self, end: int, *, live: bool = False) -> Awaitable[Transcript | None]:
        """Close the open segment at sample ``end``; takes its place in the order of calls at once.

        Args:
            end: Of the segment.
            live: Whether words that come late are of no use.

        Returns:
            To be awaited for the words; None where the recogniser failed on this segment, or is late. Cancelled,
            where :meth:`resume` follows.
        """
        ...

    def resume(self) -> None:
        """The segment that was finished last goes on after all: as if it had not been. Returns at once."""
        ...


@dataclass(frozen=True, slots=True)
class BrokerHealth:
    """How the delivery to a broker goes."""

    broker: str
    """Host and port."""
    connected: bool
    waiting: int
    """Events that it has not had yet."""


class Publisher(Part, Protocol):
    """A channel to consumers."""

    def publish(self, event: WireEvent) -> None:
        """Take an event for delivery. Returns at once; never raises for a slow or absent consumer."""
        ...


class WrittenPublisher(Publisher, Protocol):
    """A channel to a file, a pipe or a terminal."""

    lines: Lines


class BrokerPublisher(Publisher, Protocol):
    """A channel whose other end may be away."""

    @property
    def health(self) -> BrokerHealth:
        """How its delivery goes at the moment."""
        ...
