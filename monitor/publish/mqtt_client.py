"""An MQTT client that knows what the broker refused, and why it cannot be reached."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiomqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

_HEADER_BYTES: Final = 9
"""Of a PUBLISH packet at most, without topic and properties."""

# Reason codes of MQTT 5.
_BAD_LOGIN: Final = (134, 135)
"""Bad user name or password, not authorized."""
_NOT_NOW: Final = (128, 131, 151)
"""Unspecified, implementation specific, quota exceeded: a message may go through later."""
NEVER: Final = (130, 149)
"""Protocol error, packet too large: the broker closed the connection over a message that it will never take."""


class Refused(Exception):  # noqa: N818
    """The broker will never take a message."""


class BrokerClient(aiomqtt.Client):
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
            Refused: It will never take it.
            MqttError: It does not take it now.
        """
        size = _HEADER_BYTES + len(topic.encode()) + _packed_bytes(properties) + len(payload)
        if self._largest_bytes is not None and size > self._largest_bytes:
            raise Refused(f"{size} bytes, and the broker takes {self._largest_bytes}")
        async with self._turn:
            self._refused = None
            await self.publish(topic, payload, qos=1, retain=retain, properties=properties)
            if self._refused is None:
                return
            if self._refused.value in _NOT_NOW:
                raise aiomqtt.MqttError(f"the broker does not take messages: {self._refused}")
            raise Refused(str(self._refused))

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


def _packed_bytes(properties: Properties) -> int:
    return len(properties.pack())  # type: ignore[no-untyped-call]


def reason_of(error: BaseException) -> int | None:
    """The broker's reason code; None where it gave none."""
    for cause in (error, error.__cause__):
        if isinstance(cause, aiomqtt.MqttCodeError) and isinstance(cause.rc, ReasonCode):
            return int(cause.rc.value)
    return None


def explained(error: BaseException) -> str:
    """What went wrong with the broker, and where it is known the remedy."""
    text = str(error.__cause__ if isinstance(error.__cause__, aiomqtt.MqttError) else error)
    if reason_of(error) in _BAD_LOGIN:
        return (
            f"the broker refuses the name or the password ({text}). Check mqtt.username, and mqtt.password_file, the "
            "address or STSER_MQTT_PASSWORD"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text}. Name the authority that signed the broker's certificate with mqtt.tls_ca"
    return text
