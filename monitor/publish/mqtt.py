"""Events to an MQTT 5 broker, by an own reconnecting loop around aiomqtt.

Topics of each stream are below ``<prefix>/<node>/<stream>``: ``event/<kind>`` (QoS 1, not retained, with expiry) and
``state`` (retained). Of the machine: ``<prefix>/<node>/availability`` (``online``/``offline``, retained, the will too),
and commands on ``<prefix>/<node>/cmd``.
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
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from monitor.commands import CommandDesk, CommandError
from monitor.errors import PublishError
from monitor.events import WireEvent
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
from monitor.publish.outbox import Lost, Message
from monitor.publish.wire import body_without_transcript, gap, stream_of

logger = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_UTF8: Final = 1
_CANCEL_AGAIN_S: Final = 0.5
_HEADER_BYTES: Final = 9
"""Of a PUBLISH packet at most, without topic and properties."""

# Reason codes of MQTT 5.
_BAD_LOGIN: Final = (134, 135)
"""Bad user name or password, not authorized."""
_NOT_NOW: Final = (128, 131, 151)
"""Unspecified, implementation specific, quota exceeded: a message may go through later."""
_NEVER: Final = (130, 149)
"""Protocol error, packet too large: the broker closed the connection over a message that it will never take."""


class _Refused(Exception):  # noqa: N818
    """The broker will never take a message."""


class _Client(aiomqtt.Client):
    """Knows also what the broker refused and how much it takes, which aiomqtt does not tell."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._turn = asyncio.Lock()
        self._refused: ReasonCode | None = None
        self._largest_bytes: int | None = None

    async def hand_over(
        self, topic: str, payload: bytes, properties: Properties, *, retain: bool = False
    ) -> None:
        """Publish; returns when the broker has it.

        Raises:
            _Refused: It will never take it.
            MqttError: It does not take it now.
        """
        size = _HEADER_BYTES + len(topic.encode()) + _packed_bytes(properties) + len(payload)
        if self._largest_bytes is not None and size > self._largest_bytes:
            raise _Refused(f"{size} bytes, and the broker takes {self._largest_bytes}")
        async with self._turn:
            self._refused = None
            await self.publish(topic, payload, qos=1, retain=retain, properties=properties)
            if self._refused is None:
                return
            if self._refused.value in _NOT_NOW:
                raise aiomqtt.MqttError(f"the broker does not take messages: {self._refused}")
            raise _Refused(str(self._refused))

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        self._largest_bytes = getattr(properties, "MaximumPacketSize", None)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any
    ) -> None:
        if reason_code.is_failure:
            self._refused = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)


class MqttPublisher:
    """Delivers each stream's events in order, at least once, and waits out a broker that is away.

    Args:
        settings: Of the broker.
        node: Name of this machine.
        streams: Names of those that Home Assistant is told of.
        journal: Has the events, and what the broker has had.
        desk: Takes commands.

    Raises:
        PublishError: On creation, where the address is not one of a broker.
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
        self._passed_over: set[tuple[str, str]] = set()
        """Kinds and reasons that were told."""
        self._connected = False
        self._closing = False

    async def __aenter__(self) -> Self:
        self._journal.register(self._name)
        self._task = asyncio.create_task(self._run(), name="mqtt")
        self._task.add_done_callback(_log_failure)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
                f"{self._address.hostname}:{self._port} does not take the monitor in: {_explained(error)}"
            ) from error

    def publish(self, event: WireEvent) -> None:
        """Wake up: the journal has an event more."""
        self._wakeup.set()

    async def _run(self) -> None:
        """Connect, converse, and connect again, until all is said or cancelled."""
        wait_s = self._settings.reconnect_least_s
        said: set[str] = set()
        done = False
        while not done:
            try:
                async with self._client() as client:
                    logger.info("MQTT: connected to %s", self._address.hostname)
                    wait_s = self._settings.reconnect_least_s
                    said.clear()
                    self._connected = True
                    await self._converse(client)
                    done = True
            except* (aiomqtt.MqttError, OSError) as errors:
                if _reason(errors.exceptions[0]) in _NEVER:
                    self._unacceptable = self._in_flight
                trouble = _explained(errors.exceptions[0])
                if trouble not in said:  # once, not with each try
                    logger.warning("MQTT: %s; trying again until it works", trouble)
                said.add(trouble)
                self._connected = False
            if not done:
                # Full jitter: many monitors do not come back at the same moment.
                await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311
                wait_s = min(2 * wait_s, self._settings.reconnect_most_s)

    async def _converse(self, client: _Client) -> None:
        """Listen to commands while delivering; a lost connection ends both at once."""
        await client.subscribe(self._commands, qos=1)
        if self._settings.ha_discovery:
            await client.subscribe(f"{self._settings.ha_prefix}/{STATUS}", qos=1)
            await self._introduce(client)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(client))
            await self._deliver(client)
            listening.cancel()

    async def _listen(self, client: _Client) -> None:
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

    async def _introduce(self, client: _Client) -> None:
        """Tell Home Assistant what this is."""
        settings = self._settings
        topic = discovery_topic(settings.ha_prefix, self._node)
        told = discovery(self._node, self._streams, settings.prefix, version("stser-monitor"))
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        try:
            await client.hand_over(topic, told, properties, retain=True)
        except _Refused as refused:
            logger.warning("MQTT: the broker refuses %s: %s", topic, refused)

    async def _deliver(self, client: _Client) -> None:
        """Hand over what the journal has; returns when that is all and the monitor ends."""
        await client.publish(self._availability, "online", qos=1, retain=True)
        try:
            while True:
                self._wakeup.clear()
                if [s for s in self._journal.sources if await self._deliver_some(client, s)]:
                    continue
                if self._closing:
                    break
                await self._wakeup.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(aiomqtt.MqttError):
                await self._say_goodbye(client)
            raise
        await self._say_goodbye(client)

    async def _deliver_some(self, client: _Client, source: str) -> bool:
        """Hand over some of what a source has said; False where the broker has it all."""
        items = self._journal.after(source, self._journal.delivered_to(self._name, source))
        for item in items:
            self._in_flight = item
            try:
                if item == self._unacceptable:
                    raise _Refused("the broker closed the connection over it")
                await self._send(client, item)
            except _Refused as refused:
                await self._pass_over(client, item, str(refused))
            # Only when the broker has it: a crash repeats one event, and loses none.
            position = item.last if isinstance(item, Lost) else item.sequence
            self._journal.set_delivered(self._name, source, position)
        self._in_flight = None
        return bool(items)

    async def _pass_over(self, client: _Client, item: Message | Lost, why: str) -> None:
        """Leave out what the broker will never take, rather than wait with all that follows; and say so."""
        kind = item.kind if isinstance(item, Message) else "stream.gap"
        if (kind, why) not in self._passed_over:
            self._passed_over.add((kind, why))
            logger.error("MQTT: %s is not delivered, now and later: %s", kind, why)
        if isinstance(item, Message):
            lost = Lost(item.source, item.sequence, item.sequence, 1)
            with contextlib.suppress(_Refused):
                await self._send(client, lost, "refused")

    async def _say_goodbye(self, client: _Client) -> None:
        """The will is for who vanishes: an orderly end takes it back and has to say so itself."""
        await client.publish(self._availability, "offline", qos=1, retain=True)

    async def _send(self, client: _Client, item: Message | Lost, why_lost: str = "expired") -> None:
        """Hand one message to the broker; returns when it has it.

        Raises:
            _Refused: It will never take it.
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

    def _client(self) -> _Client:
        address, settings = self._address, self._settings
        return _Client(
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


def _reason(error: BaseException) -> int | None:
    """The broker's reason code; None where it gave none."""
    for cause in (error, error.__cause__):
        if isinstance(cause, aiomqtt.MqttCodeError) and isinstance(cause.rc, ReasonCode):
            return int(cause.rc.value)
    return None


def _explained(error: BaseException) -> str:
    """What went wrong with the broker, and where it is known the remedy."""
    text = str(error.__cause__ if isinstance(error.__cause__, aiomqtt.MqttError) else error)
    if _reason(error) in _BAD_LOGIN:
        return (
            f"the broker refuses the name or the password ({text}). Check mqtt.username, and mqtt.password_file, the "
            "address or STSER_MQTT_PASSWORD"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text}. Name the authority that signed the broker's certificate with mqtt.tls_ca"
    return text


def _packed_bytes(properties: Properties) -> int:
    return len(properties.pack())  # type: ignore[no-untyped-call]


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
