"""``ws /events``: what happens, and what a subscriber has missed. Commands come the other way.

Each subscriber has an outbox of its own, for what it could not be given at once. One that does not keep up loses
whole events, oldest first, and is told which (``stream.gap.v1``). So a stuck client costs at most its outbox, and no
other client waits for it.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from monitor.commands import CommandDesk, CommandError
from monitor.events import WireEvent
from monitor.publish.admission import Admission, Refusal
from monitor.publish.connection import Client, Dropped, text_frame
from monitor.publish.journal import Journal
from monitor.publish.outbox import Lost, Message, Outbox
from monitor.publish.subscription import Subscription
from monitor.publish.wire import body_without_transcript, gap, stream_of, to_json

LEVEL_EVERY_S: Final = 0.2
"""Told as often as a meter has to move."""


@dataclass(eq=False, slots=True)
class Subscriber:
    """One client of ``/events``."""

    client: Client
    subscription: Subscription
    outbox: Outbox
    news: asyncio.Event = field(default_factory=asyncio.Event)
    live: bool = False
    """True where it has had the past, and gets what happens."""
    idle: bool = False
    """True where it has had all until now, too: nothing waits for it or is being sent."""
    closed: bool = False
    """True where nothing more will come: it left, or the monitor ends."""

    def take(self, frame: bytes) -> bool:
        """Give it a frame at once; False where something before it waits, here or in the connection."""
        return self.idle and self.client.write(frame)

    def put(self, message: Message) -> None:
        self.outbox.put(message)
        self._wake()

    def close(self) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self.idle = False
        self.news.set()


class EventsEndpoint:
    """Serves subscribers until they leave or the monitor ends.

    Args:
        journal: Has what they missed.
        desk: Takes their commands.
        main: CloudEvents source of the stream that ``since`` means where it names none.
        max_clients: Subscribers at once.
        queue_events: Events that wait for a subscriber before the oldest are dropped.
        max_message_bytes: Longest command.
        transcript: False keeps the words from all of them.
        levels: How loud each stream is at the moment.
    """

    def __init__(
        self,
        journal: Journal,
        desk: CommandDesk,
        *,
        main: str,
        max_clients: int,
        queue_events: int,
        max_message_bytes: int,
        transcript: bool,
        levels: Callable[[], Iterable[WireEvent]],
    ) -> None:
        self._journal = journal
        self._desk = desk
        self._main = main
        self._max_clients = max_clients
        self._queue_events = queue_events
        self._max_message_bytes = max_message_bytes
        self._transcript = transcript
        self._levels = levels
        self._closed = False
        self.subscribers: set[Subscriber] = set()

    def publish(self, event: WireEvent) -> None:
        """Hand an event to every subscriber that asked for it."""
        kind, stream, message = event.kind, stream_of(event.source), Message.of(event)
        wanting = [s for s in self.subscribers if s.live and s.subscription.wants(kind, stream)]
        _deliver(message, [s for s in wanting if s.subscription.transcript])
        without_words = [s for s in wanting if not s.subscription.transcript]
        if without_words:
            _deliver(_without_transcript(message), without_words)

    def close(self) -> None:
        """Nothing more will come: subscribers get what waits for them, and a farewell."""
        self._closed = True
        for subscriber in self.subscribers:
            subscriber.close()

    async def meter(self) -> None:
        """Tell how loud each stream is, without an end, to who asked for it and has had all else."""
        while True:
            await asyncio.sleep(LEVEL_EVERY_S)
            metered = [s for s in self.subscribers if "audio.level" in s.subscription.kinds]
            for level in self._levels() if metered else ():
                frame, stream = text_frame(level.body), stream_of(level.source)
                for subscriber in metered:
                    if subscriber.subscription.wants_stream(stream):
                        subscriber.take(frame)

    def refusal(self, query: str) -> Refusal | None:
        """Why a client that asks for this is not served now; None where it is."""
        try:
            Subscription.from_query(query)
        except ValueError as error:
            return Refusal(http.HTTPStatus.BAD_REQUEST, str(error))
        if len(self.subscribers) >= self._max_clients:
            limit = f"{self._max_clients} clients are the limit"
            return Refusal(http.HTTPStatus.SERVICE_UNAVAILABLE, limit)
        return None

    async def serve(
        self, client: Client, admission: Admission, states: Mapping[str, WireEvent]
    ) -> None:
        """Serve one subscriber.

        Args:
            client: Its connection.
            admission: Checks its token.
            states: The newest state of each source.
        """
        try:
            async with (
                self._admitted(client, admission) as subscriber,
                asyncio.TaskGroup() as tasks,
            ):
                receiving = tasks.create_task(self._receive(subscriber))
                for state in list(states.values()):
                    if subscriber.subscription.wants(state.kind, stream_of(state.source)):
                        await client.send(state.body)
                await self._send_past(subscriber)
                await _send_events(subscriber)
                receiving.cancel()
            await client.connection.close(CloseCode.GOING_AWAY, "the monitor has stopped")
        except* (ConnectionClosed, Dropped):
            pass

    @asynccontextmanager
    async def _admitted(self, client: Client, admission: Admission) -> AsyncIterator[Subscriber]:
        """A client that has shown its token, where there still is a place for it."""
        await admission.check_token(client)
        if (refusal := self.refusal(client.query)) is not None:
            await client.connection.close(CloseCode.TRY_AGAIN_LATER, refusal.text)
            raise Dropped
        subscription = Subscription.from_query(client.query)
        if not self._transcript:
            subscription = replace(subscription, transcript=False)
        subscriber = Subscriber(
            client, subscription, Outbox(self._queue_events), closed=self._closed
        )
        self.subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self.subscribers.discard(subscriber)

    async def _send_past(self, subscriber: Subscriber) -> None:
        """What the subscriber has missed; it is live when there is no more."""
        journal, subscription = self._journal, subscriber.subscription
        known = {
            self._main if name is None else self._sibling(name): sequence
            for name, sequence in subscription.since.items()
        }
        # Of a stream that is not named it has had all up to the latest event that is.
        positions = {
            source: journal.at_that_time(source, known) for source in self._wanted(subscription)
        }
        for source, sequence in known.items():
            if not subscription.wants_stream(stream_of(source)):
                continue
            newest = journal.newest(source)
            positions[source] = min(sequence, newest)
            if 0 < newest < sequence:
                lost = Lost(source, 1, newest, newest)
                await subscriber.client.send(_gap(lost, "journal_lost"))
        # Everything is in the journal before it is published: nothing falls between the two.
        while [
            source
            for source in dict.fromkeys((*positions, *self._wanted(subscription)))
            if await self._send_missed(subscriber, positions, source)
        ]:
            pass
        subscriber.live = True

    def _wanted(self, subscription: Subscription) -> list[str]:
        """Sources of the streams that were asked for."""
        return [s for s in self._journal.sources if subscription.wants_stream(stream_of(s))]

    def _sibling(self, stream: str) -> str:
        return f"{self._main.rpartition('/')[0]}/{stream}"

    async def _send_missed(
        self, subscriber: Subscriber, positions: dict[str, int], source: str
    ) -> bool:
        """Send some of what was missed of a source, and note how far; False where there was nothing."""
        subscription = subscriber.subscription
        if source not in positions:  # nothing of it was kept when the subscriber came
            positions[source] = self._journal.before_kept(source)
        missed = self._journal.after(source, positions[source])
        for item in missed:
            positions[source] = item.last if isinstance(item, Lost) else item.sequence
            if isinstance(item, Lost):
                await subscriber.client.send(_gap(item, "expired"))
            elif subscription.wants(item.kind, stream_of(source)):
                told = item if subscription.transcript else _without_transcript(item)
                await subscriber.client.send(told.body)
        if missed:
            await asyncio.sleep(0)  # nothing is sent where the subscriber wants none of it
        return bool(missed)

    async def _receive(self, subscriber: Subscriber) -> None:
        """Have every command obeyed, or say why not; ends when the client has left."""
        connection = subscriber.client.connection
        async for message in connection:
            if len(message) > self._max_message_bytes:
                await connection.close(
                    CloseCode.MESSAGE_TOO_BIG,
                    f"commands have at most {self._max_message_bytes} bytes",
                )
                break
            try:
                # A binary frame is no command, whatever it holds.
                self._desk.take(message if isinstance(message, str) else b"")
            except CommandError as error:
                answer = {
                    "type": "error",
                    "code": error.code,
                    "message": str(error),
                    "retryable": error.retryable,
                }
                await subscriber.client.send(to_json(answer))
        subscriber.close()


def _deliver(message: Message, subscribers: Iterable[Subscriber]) -> None:
    """At once, in one frame for all, to those who have had everything before; to the others by their outboxes."""
    frame = text_frame(message.body)
    for subscriber in subscribers:
        if not subscriber.take(frame):
            subscriber.put(message)


async def _send_events(subscriber: Subscriber) -> None:
    """Send what comes into the outbox until the subscriber is closed and the outbox is empty."""
    while True:
        while (item := subscriber.outbox.first()) is not None:
            subscriber.outbox.delivered(item)
            body = item.body if isinstance(item, Message) else _gap(item, "slow_client")
            await subscriber.client.send(body)
        if subscriber.closed:
            return
        subscriber.idle = True
        subscriber.news.clear()
        await subscriber.news.wait()


def _without_transcript(message: Message) -> Message:
    return replace(message, body=body_without_transcript(message.body))


def _gap(lost: Lost, reason: str) -> bytes:
    return gap(lost, reason, datetime.now(UTC))
