"""Events to an MQTT 5 broker, by an own reconnecting loop around aiomqtt.

Topics of each stream are below ``<prefix>/<node>/<stream>``: ``event/<kind>`` (QoS 1, not retained, with expiry),
``state`` and ``muted`` (retained). Of the machine: ``<prefix>/<node>/availability`` (``online``/``offline``, retained,
the will too), and commands on ``<prefix>/<node>/cmd``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final, Self
from urllib.parse import unquote

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from monitor.commands import CommandDesk, CommandError
from monitor.errors import PublishError
from monitor.events import DeviceMuted, MonitorStarted, WireEvent
from monitor.ports import BrokerHealth
from monitor.publish.broker import (
    PORTS,
    MqttSettings,
    address_of,
    read_password,
    tls_context,
)
from monitor.publish.home_assistant import STATUS, discovery, discovery_topic
from monitor.publish.journal import Journal
from monitor.publish.mqtt_client import NEVER, BrokerClient, Refused, explained, reason_of
from monitor.publish.outbox import Lost, Message
from monitor.publish.wire import body_without_transcript, gap, stream_of

logger = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_UTF8: Final = 1
_CANCEL_AGAIN_S: Final = 0.5


class MqttPublisher:
    """Delivers each stream's events in order, at least once, and waits out a broker that is away.

    Args:
        settings: Of the broker.
        node: Name of this machine.
        streams: Names of those that Home Assistant is told of.
        journal: Has the events, and what the broker has had.
        desk: Takes commands.

    Raises:
        UsageError: On creation, where the password or the authority's certificate cannot be read.
    """

    def __init__(
        self,
        settings: MqttSettings,
        node: str,
        streams: Sequence[str],
        journal: Journal,
        desk: CommandDesk,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._desk = desk
        self._node, self._streams = node, streams
        self._address = address_of(settings.url or "")
        self._password = read_password(settings, self._address)
        self._tls = tls_context(settings, self._address)
        self._name = f"mqtt://{self._address.hostname}:{self._port}/{settings.prefix}"
        self._availability = f"{settings.prefix}/{node}/availability"
        self._commands = f"{settings.prefix}/{node}/cmd"
        self._wakeup = asyncio.Event()
        self._in_flight: Message | Lost | None = None
        self._unacceptable: Message | Lost | None = None
        """The broker closed the connection over it."""
        self._muted: dict[str, bool] = {}
        """Whether each stream is muted by a command."""
        self._passed_over: set[tuple[str, str]] = set()
        """Kinds and reasons that were told."""
        self._wait_s = settings.reconnect_least_s
        """Before the next try to connect, at most."""
        self._said: set[str] = set()
        """Troubles that were told since it worked last."""
        self._connected = False
        self._works = False
        self._closing = False

    async def __aenter__(self) -> Self:
        self._journal.register(self._name)
        self._task = asyncio.create_task(self._run(), name="mqtt")
        self._task.add_done_callback(_log_failure)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closing = True
        self._wakeup.set()
        if self._connected or self.waiting:
            await asyncio.wait([self._task], timeout=self._settings.farewell_s)
        if self.waiting:
            later = "they follow after the next start" if self._journal.durable else "they are lost"
            logger.warning("MQTT: %d events could not be delivered; %s", self.waiting, later)
        while not self._task.done():
            # Once is not always enough: asyncio.wait_for of Python 3.11 can swallow it.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CANCEL_AGAIN_S)

    @property
    def waiting(self) -> int:
        """Events that the broker has not had yet."""
        return self._journal.waiting().get(self._name, 0)

    @property
    def health(self) -> BrokerHealth:
        """How the delivery goes at the moment."""
        broker = f"{self._address.hostname}:{self._port}"
        return BrokerHealth(broker, self._connected, self.waiting)

    async def check(self) -> None:
        """Connect and leave again; no topic changes.

        Raises:
            PublishError: Nothing answers there, or it does not let the monitor in.
        """
        try:
            async with self._client():
                pass
        except (aiomqtt.MqttError, OSError) as error:
            raise PublishError(
                f"{self._address.hostname}:{self._port} does not take the monitor in: {explained(error)}"
            ) from error

    def publish(self, event: WireEvent) -> None:
        """Wake up: the journal has an event more."""
        match event.happening:
            case MonitorStarted():
                self._muted[stream_of(event.source)] = False
            case DeviceMuted(by="command", active=muted):
                self._muted[stream_of(event.source)] = muted
        self._wakeup.set()

    async def _run(self) -> None:
        """Connect, converse, and connect again, until all is said or cancelled."""
        done = False
        while not done:
            try:
                async with self._client() as client:
                    self._connected = True
                    await self._converse(client)
                    done = True
            except* (aiomqtt.MqttError, OSError) as errors:
                if reason_of(errors.exceptions[0]) in NEVER:
                    self._unacceptable = self._in_flight
                trouble = explained(errors.exceptions[0])
                if trouble not in self._said:  # once, not with each try
                    logger.warning("MQTT: %s; trying again until it works", trouble)
                self._said.add(trouble)
                self._connected = self._works = False
            if not done:
                # Full jitter: many monitors do not come back at the same moment.
                await asyncio.sleep(random.uniform(0, self._wait_s))  # noqa: S311
                self._wait_s = min(2 * self._wait_s, self._settings.reconnect_most_s)

    def _note_that_it_works(self) -> None:
        """The broker takes what it is given, and not just connections: the next trouble is a new one."""
        if not self._works:
            logger.info("MQTT: connected to %s", self._address.hostname)
            self._works = True
        self._wait_s = self._settings.reconnect_least_s
        self._said.clear()

    async def _converse(self, client: BrokerClient) -> None:
        """Listen to commands while delivering; a lost connection ends both at once."""
        await client.subscribe(self._commands, qos=1)
        if self._settings.ha_discovery:
            await client.subscribe(f"{self._settings.ha_prefix}/{STATUS}", qos=1)
            await self._introduce(client)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(client))
            await self._deliver(client)
            listening.cancel()

    async def _listen(self, client: BrokerClient) -> None:
        async for message in client.messages:
            payload = bytes(message.payload) if isinstance(message.payload, bytes) else b""
            if message.topic.value != self._commands:
                if payload == b"online":
                    await self._introduce(client)
            elif not message.retain:
                # A retained command would be obeyed again with every connection.
                try:
                    self._desk.take(payload)
                except CommandError as error:
                    logger.warning("MQTT: command refused: %s", error)

    async def _introduce(self, client: BrokerClient) -> None:
        """Tell Home Assistant what this is."""
        settings = self._settings
        topic = discovery_topic(settings.ha_prefix, self._node)
        told = discovery(self._node, self._streams, settings.prefix, version("stser-monitor"))
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        try:
            await client.hand_over(topic, told, properties, retain=True)
        except Refused as refused:
            logger.warning("MQTT: the broker refuses %s: %s", topic, refused)

    async def _deliver(self, client: BrokerClient) -> None:
        """Hand over what the journal has; returns when that is all and the monitor ends."""
        await client.publish(self._availability, "online", qos=1, retain=True)
        muted: dict[str, bool] = {}
        try:
            while True:
                self._wakeup.clear()
                await self._show_muted(client, muted)
                behind = self._journal.behind(self._name)
                for source in behind:
                    await self._deliver_some(client, source)
                if behind:
                    continue
                self._note_that_it_works()
                if self._closing:
                    break
                await self._wakeup.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(aiomqtt.MqttError):
                await self._say_goodbye(client)
            raise
        await self._say_goodbye(client)

    async def _deliver_some(self, client: BrokerClient, source: str) -> None:
        """Hand over some of what a source has said."""
        for item in self._journal.after(source, self._journal.delivered_to(self._name, source)):
            self._in_flight = item
            try:
                if item == self._unacceptable:
                    raise Refused("the broker closed the connection over it")
                await self._send(client, item)
            except Refused as refused:
                await self._pass_over(client, item, str(refused))
            # Only when the broker has it: a crash repeats one event, and loses none.
            position = item.last if isinstance(item, Lost) else item.sequence
            self._journal.set_delivered(self._name, source, position)
            self._note_that_it_works()
        self._in_flight = None

    async def _show_muted(self, client: BrokerClient, shown: dict[str, bool]) -> None:
        """Retain who is muted, for those who come later; ``shown`` is what this broker has been told."""
        for stream, muted in list(self._muted.items()):
            if shown.get(stream) is not muted:
                topic = f"{self._settings.prefix}/{self._node}/{stream}/muted"
                await client.publish(topic, "ON" if muted else "OFF", qos=1, retain=True)
                shown[stream] = muted

    async def _pass_over(self, client: BrokerClient, item: Message | Lost, why: str) -> None:
        """Leave out what the broker will never take, rather than wait with all that follows; and say so."""
        kind = item.kind if isinstance(item, Message) else "stream.gap"
        if (kind, why) not in self._passed_over:
            self._passed_over.add((kind, why))
            logger.error("MQTT: %s is not delivered, now and later: %s", kind, why)
        if isinstance(item, Message):
            lost = Lost(item.source, item.sequence, item.sequence, 1)
            with contextlib.suppress(Refused):
                await self._send(client, lost, "refused")

    async def _say_goodbye(self, client: BrokerClient) -> None:
        """The will is for who vanishes: an orderly end takes it back and has to say so itself."""
        await client.publish(self._availability, "offline", qos=1, retain=True)

    async def _send(
        self, client: BrokerClient, item: Message | Lost, why_lost: str = "expired"
    ) -> None:
        """Hand one message to the broker; returns when it has it.

        Raises:
            Refused: It will never take it.
        """
        if isinstance(item, Lost):
            kind, body = "stream.gap", gap(item, why_lost, datetime.now(UTC))
        else:
            kind, body = item.kind, item.body
        if not self._settings.transcript:
            body = body_without_transcript(body)
        topic = f"{self._settings.prefix}/{self._node}/{stream_of(item.source)}"
        if kind == "emotion.state":
            await client.hand_over(f"{topic}/state", body, _properties(body), retain=True)
        expiring = _properties(body, self._settings.expiry_s)
        await client.hand_over(f"{topic}/event/{kind}", body, expiring)

    @property
    def _port(self) -> int:
        return self._address.port or PORTS[self._address.scheme]

    def _client(self) -> BrokerClient:
        address, settings = self._address, self._settings
        return BrokerClient(
            hostname=address.hostname or "",
            port=self._port,
            username=unquote(address.username) if address.username else settings.username,
            password=self._password,
            tls_context=self._tls,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(self._availability, "offline", qos=1, retain=True),
            timeout=settings.timeout_s,
        )


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("MQTT has ended, and events wait for the next start", exc_info=error)


def _properties(body: bytes, expiry_s: int | None = None) -> Properties:
    """Of a message: also the event's attributes, so that who passes it on need not read it.

    They are those of the CloudEvents MQTT binding 1.0.2, section 3.2.3.
    """
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = CONTENT_TYPE
    properties.PayloadFormatIndicator = _UTF8
    properties.UserProperty = [
        (name, value)
        for name, value in json.loads(body).items()
        if name not in {"data", "datacontenttype"}
    ]
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    return properties
