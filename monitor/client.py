"""A client for programs in Python: the events of a monitor, in order, over every interruption.

::

    async for event in MonitorClient("ws://127.0.0.1:8765", types=["emotion.utterance"]):
        print(event.data["label"])

Needs nothing of the monitor but this file, and of other packages only ``websockets``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

logger = logging.getLogger(__name__)

_PREFIX: Final = "org.stser."
_SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_LARGEST_EVENT_BYTES: Final = 16 << 20
_MOST_NAMED: Final = 64
"""Streams that ``since`` names in an address, which servers cut off at 8 KB: those heard last."""
_WELCOME_S: Final = 0.5
"""How long the current state, which comes first, may be waited for, or be out of its place among the events missed."""


class ClientError(Exception):
    """The monitor refused this client; trying again would not help."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; docs/wire.md says what each kind holds."""

    kind: str
    """Such as ``emotion.utterance``."""
    source: str
    id: str
    time: datetime
    sequence: int | None
    """Place among the events of the source; None for what only this client is told."""
    data: Mapping[str, Any]

    @property
    def stream(self) -> str:
        """Name of the audio stream, such as ``mic``."""
        return self.source.rpartition("/")[2]

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """Read a CloudEvent."""
        sequence = tree.get("sequence")
        return cls(
            kind=tree["type"].removeprefix(_PREFIX).rpartition(".")[0],
            source=tree["source"],
            id=tree["id"],
            time=datetime.fromisoformat(tree["time"]),
            sequence=None if sequence is None else int(sequence),
            data=tree["data"],
        )


class MonitorClient:
    """Connects, connects again, and goes on after the last event of each stream that it had.

    Events of a stream come in order and once. Those that the monitor no longer has come as one ``stream.gap``, whatever
    ``types`` says. The first connection begins with the current ``emotion.state`` of each stream, if there is one.

    Args:
        url: Of the monitor, such as ``ws://127.0.0.1:8765`` or what it prints as its dashboard.
        since: Sequence of the last event that is known; 0 for all there is, None for what comes from now on. A number
            is of the monitor's first stream; a mapping says it for each stream. Others go on after the latest of these.
        types: Kinds that are wanted, such as ``emotion.utterance``; None for all.
        streams: Names of those that are wanted, such as ``mic``; None for all.
        transcript: False for events without the words.
        token: What the monitor's token file holds.
        wait_least_s: First wait before connecting again; it doubles each time.
        wait_most_s: Longest wait before connecting again.

    Raises:
        ValueError: The address is not one of a monitor.
    """

    def __init__(
        self,
        url: str,
        *,
        since: int | Mapping[str, int] | None = None,
        types: Iterable[str] | None = None,
        streams: Iterable[str] | None = None,
        transcript: bool = True,
        token: str | None = None,
        wait_least_s: float = 0.5,
        wait_most_s: float = 30.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.netloc:
            raise ValueError(f"{url!r} is no address of a monitor, such as ws://127.0.0.1:8765.")
        self._address = parts._replace(
            scheme=_SCHEMES[parts.scheme], path=parts.path.rstrip("/") or "/events"
        )
        self._query = {"types": ",".join(types)} if types is not None else {}
        if streams is not None:
            self._query["stream"] = ",".join(streams)
        if not transcript:
            self._query["transcript"] = "0"
        self._headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._wait_least_s = wait_least_s
        self._wait_most_s = wait_most_s
        self._since: dict[str, int] = dict(since) if isinstance(since, Mapping) else {}
        self._since_of_first = since if isinstance(since, int) else None
        self._welcome: dict[str, str] = {}
        """By stream, identifier of the state that it began with."""

    @property
    def since(self) -> Mapping[str, int]:
        """By stream, sequence of the last event that was handed over: keep it to go on after a restart."""
        return dict(self._since)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """The events, without an end.

        Raises:
            ClientError: The monitor refuses this client.
        """
        wait_s = self._wait_least_s
        while True:
            try:
                async with self._connect() as connection:
                    async for event in self._events(connection):
                        wait_s = self._wait_least_s
                        yield event
            except InvalidStatus as error:
                if error.response.status_code < 500:
                    said = bytes(error.response.body or b"").decode("utf-8", "replace").strip()
                    raise ClientError(f"{error.response.status_code}: {said}") from error
                logger.info("the monitor takes no clients now: %s", error)
            except ConnectionClosed as error:
                if error.rcvd is not None and error.rcvd.code == CloseCode.POLICY_VIOLATION:
                    raise ClientError(error.rcvd.reason) from error
                logger.info("the monitor has gone: %s", error)
            except InvalidURI as error:
                raise ClientError(str(error)) from error
            except (OSError, TimeoutError, InvalidHandshake) as error:
                logger.info("the monitor cannot be reached: %s", error)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1))  # noqa: S311
            wait_s = min(2 * wait_s, self._wait_most_s)

    def _connect(self) -> connect:
        query = dict(self._query)
        latest = list(self._since.items())[-_MOST_NAMED:]
        known = [f"{name}:{sequence}" for name, sequence in latest]
        if self._since_of_first is not None:
            known.insert(0, str(self._since_of_first))
        if known:
            query["since"] = ",".join(known)
        return connect(
            urlunsplit(self._address._replace(query=urlencode(query))),
            additional_headers=self._headers,
            subprotocols=[Subprotocol("cloudevents.json")],
            compression=None,
            proxy=None,
            max_size=_LARGEST_EVENT_BYTES,
        )

    async def _events(self, connection: ClientConnection) -> AsyncIterator[Event]:
        """What one connection brings, each stream's events in order.

        On connect the current state of each stream comes first, ahead of what was missed. Whoever resumes has had it,
        or gets it once more in its place; only where neither is so, it stands for itself. Whoever starts anew has it
        told, but does not go on after it: it wants nothing of what followed before it came.
        """
        known, first = self.since, self._since_of_first
        resumes = bool(known) or first is not None
        welcoming = not resumes
        begun: set[str] = set()
        held: dict[str, Event] = {}
        until_s: dict[str, float] = {}
        """For what is held: when it stands for itself, unless its stream goes on."""
        clock = asyncio.get_running_loop().time
        welcomed_s = clock() + _WELCOME_S

        def is_new(state: Event) -> bool:
            return _place(state) > known.get(state.stream, first or 0)

        while True:
            patience_s = min(until_s[name] for name in held) - clock() if held else None
            event = await self._receive(connection, patience_s)
            stream = None if event is None else event.stream
            for state in [s for s in held.values() if s.stream != stream]:
                if clock() >= until_s[state.stream]:
                    del held[state.stream]
                    if is_new(state):
                        yield self._handed_over(state)
            if event is None:
                continue
            until_s[event.stream] = clock() + _WELCOME_S
            is_first_state = event.kind == "emotion.state" and event.stream not in begun
            begun.add(event.stream)
            # A stream that had no state may come to one later: that is news.
            welcoming = welcoming and is_first_state and clock() < welcomed_s
            if is_first_state and self._welcome.get(event.stream) == event.id:
                continue
            if welcoming:
                self._welcome[event.stream] = event.id
                yield event
                welcomed_s = clock() + _WELCOME_S
                continue
            if resumes and is_first_state:
                held[event.stream] = event
            state = held.get(event.stream, event)
            if state is event and event.stream in held:
                continue
            if event.data.get("reason") == "journal_lost" and state is not event:
                yield state  # its numbers are not those we know
            elif _place(event) >= _place(state) and is_new(state) and event.id != state.id:
                yield self._handed_over(state)
            if _place(event) >= _place(state):
                held.pop(event.stream, None)
            yield self._handed_over(event)

    async def _receive(self, connection: ClientConnection, timeout_s: float | None) -> Event | None:
        """The next event; None where none comes in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    tree = json.loads(await connection.recv())
                    if "specversion" in tree:
                        return Event.from_json(tree)
        return None

    def _handed_over(self, event: Event) -> Event:
        if (place := _place(event)) > 0:
            self._since.pop(event.stream, None)  # the latest comes last
            self._since[event.stream] = place
        if event.data.get("reason") == "journal_lost":
            self._since_of_first = None  # it has been answered
        return event


def _place(event: Event) -> int:
    """Sequence after which to go on, once this event is known; 0 where it has none."""
    if event.kind == "stream.gap":
        return int(event.data["to_sequence"])
    return event.sequence or 0
