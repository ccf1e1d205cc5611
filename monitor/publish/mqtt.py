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
import os
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from monitor.commands import CommandDesk, CommandError
from monitor.errors import PublishError
from monitor.events import WireEvent
from monitor.publish.home_assistant import STATUS, discovery, discovery_topic
from monitor.publish.journal import Journal
from monitor.publish.outbox import Lost, Message
from monitor.publish.wire import gap, stream_of

logger = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_UTF8: Final = 1
_CANCEL_AGAIN_S: Final = 0.5
_REFUSED_LOGIN: Final = (134, 135)
"""Bad user name or password, not authorized: reason codes of MQTT 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """The broker."""

    url: str | None = None
    """``mqtt://[user:password@]host[:port]`` or ``mqtts://`` for TLS; without it, no MQTT."""
    username: str | None = None
    """Name to log in with, where ``url`` has none."""
    password_file: Path | None = None
    """File with the password; else it is taken from ``url`` or from the environment, ``STSER_MQTT_PASSWORD``."""
    tls_ca: Path | None = None
    """File with the authority that signed the broker's certificate (PEM); else the system's."""
    prefix: str = "stser"
    """First part of every topic."""
    ha_discovery: bool = False
    """True introduces the monitor to Home Assistant."""
    ha_prefix: str = "homeassistant"
    """Where Home Assistant looks for devices."""
    expiry_s: int = 3_600
    """The broker forgets an event that nobody fetched for so long."""
    timeout_s: float = 10.0
    """A broker that answers nothing for so long is left and connected to again."""
    reconnect_least_s: float = 0.5
    """First wait before connecting again; it doubles each time."""
    reconnect_most_s: float = 30.0
    """Longest wait before connecting again."""
    farewell_s: float = 5.0
    """On the way out, time for the outbox to drain."""

    def __post_init__(self) -> None:
        for name in ("prefix", "ha_prefix"):
            value = getattr(self, name)
            if not value or set(value) & set("#+\x00"):
                raise ValueError(f"mqtt.{name} ({value!r}) must not be empty or hold '#' or '+'.")
        for name in ("expiry_s", "timeout_s", "reconnect_least_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"mqtt.{name} ({getattr(self, name):g}) must be more than 0.")
        if self.reconnect_most_s < self.reconnect_least_s:
            raise ValueError(
                f"mqtt.reconnect_most_s ({self.reconnect_most_s:g}) must not be below "
                f"mqtt.reconnect_least_s ({self.reconnect_least_s:g})."
            )


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
        self._address = _address(settings.url or "")
        self._password = _read_password(settings, self._address)
        self._tls = _tls_context(settings, self._address)
        self._name = f"mqtt://{self._address.hostname}:{self._port}/{settings.prefix}"
        self._availability = f"{settings.prefix}/{node}/availability"
        self._commands = f"{settings.prefix}/{node}/cmd"
        self._wakeup = asyncio.Event()
        self._connected = False
        self._closing = False

    async def __aenter__(self) -> Self:
        self._journal.register(self._name)
        self._task = asyncio.create_task(self._run(), name="mqtt")
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
                trouble = _explained(errors.exceptions[0])
                if trouble not in said:  # once, not with each try
                    logger.warning("MQTT: %s; trying again until it works", trouble)
                said.add(trouble)
                self._connected = False
            if not done:
                # Full jitter: many monitors do not come back at the same moment.
                await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311
                wait_s = min(2 * wait_s, self._settings.reconnect_most_s)

    async def _converse(self, client: aiomqtt.Client) -> None:
        """Listen to commands while delivering; a lost connection ends both at once."""
        await client.subscribe(self._commands, qos=1)
        if self._settings.ha_discovery:
            await client.subscribe(f"{self._settings.ha_prefix}/{STATUS}", qos=1)
            await self._introduce(client)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(client))
            await self._deliver(client)
            listening.cancel()

    async def _listen(self, client: aiomqtt.Client) -> None:
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

    async def _introduce(self, client: aiomqtt.Client) -> None:
        """Tell Home Assistant what this is."""
        settings = self._settings
        await client.publish(
            discovery_topic(settings.ha_prefix, self._node),
            discovery(self._node, self._streams, settings.prefix, version("stser-monitor")),
            qos=1,
            retain=True,
        )

    async def _deliver(self, client: aiomqtt.Client) -> None:
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

    async def _deliver_some(self, client: aiomqtt.Client, source: str) -> bool:
        """Hand over some of what a source has said; False where the broker has it all."""
        items = self._journal.after(source, self._journal.delivered_to(self._name, source))
        for item in items:
            await self._send(client, item)
            # Only when the broker has it: a crash repeats one event, and loses none.
            position = item.last if isinstance(item, Lost) else item.sequence
            self._journal.set_delivered(self._name, source, position)
        return bool(items)

    async def _say_goodbye(self, client: aiomqtt.Client) -> None:
        """The will is for who vanishes: an orderly end takes it back and has to say so itself."""
        await client.publish(self._availability, "offline", qos=1, retain=True)

    async def _send(self, client: aiomqtt.Client, item: Message | Lost) -> None:
        """Hand one message to the broker; returns when it has it."""
        if isinstance(item, Lost):
            kind, body = "stream.gap", gap(item, "expired", datetime.now(UTC))
        else:
            kind, body = item.kind, item.body
        topic = f"{self._settings.prefix}/{self._node}/{stream_of(item.source)}"
        if kind == "emotion.state":
            await client.publish(
                f"{topic}/state",
                body,
                qos=1,
                retain=True,
                properties=_properties(body),
            )
        await client.publish(
            f"{topic}/event/{kind}",
            body,
            qos=1,
            properties=_properties(body, self._settings.expiry_s),
        )

    @property
    def _port(self) -> int:
        return self._address.port or _PORTS[self._address.scheme]

    def _client(self) -> aiomqtt.Client:
        address, settings = self._address, self._settings
        return aiomqtt.Client(
            hostname=address.hostname or "",
            port=self._port,
            username=unquote(address.username) if address.username else settings.username,
            password=self._password,
            tls_context=self._tls,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(self._availability, "offline", qos=1, retain=True),
            timeout=settings.timeout_s,
        )


def _read_password(settings: MqttSettings, address: SplitResult) -> str | None:
    """From the file, the address or the environment, in this order.

    Raises:
        PublishError: The file cannot be read.
    """
    if settings.password_file is not None:
        try:
            return settings.password_file.read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PublishError(
                f"mqtt.password_file ({settings.password_file}): cannot be read ({error})."
            ) from error
    if address.password:
        return unquote(address.password)
    return os.environ.get("STSER_MQTT_PASSWORD")


def _tls_context(settings: MqttSettings, address: SplitResult) -> ssl.SSLContext | None:
    """TLS for ``mqtts://``.

    Raises:
        PublishError: The authority's certificate cannot be used.
    """
    if address.scheme != "mqtts":
        return None
    try:
        return ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise PublishError(
            f"mqtt.tls_ca ({settings.tls_ca}): no certificate that can be used ({error}). Name a PEM file."
        ) from error


def _explained(error: BaseException) -> str:
    """What went wrong with the broker, and where it is known the remedy."""
    text = str(error)
    reason = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
    if isinstance(reason, ReasonCode) and reason.value in _REFUSED_LOGIN:
        return (
            f"the broker refuses the name or the password ({text}). Check mqtt.username, and mqtt.password_file, the "
            "address or STSER_MQTT_PASSWORD"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text}. Name the authority that signed the broker's certificate with mqtt.tls_ca"
    return text


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


def _address(url: str) -> SplitResult:
    """The parts of a broker's URL; error texts never show the password.

    Raises:
        PublishError: It is not ``mqtt://`` or ``mqtts://`` with a host, or its port is no port.
    """
    rule = "Write mqtt://[user:password@]host[:port], or mqtts:// for TLS."
    try:
        address = urlsplit(url)
        _ = address.port
    except ValueError:
        raise PublishError(f"--mqtt-url: the port is not a number up to 65535. {rule}") from None
    if address.scheme not in _PORTS or not address.hostname:
        raise PublishError(f"--mqtt-url: not the address of a broker. {rule}")
    return address
