"""Which MQTT broker, and how to get in: address, name and password, TLS."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from monitor.errors import UsageError

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
"""Unless the address says otherwise."""


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
    transcript: bool = True
    """False leaves the words out of all that the broker gets."""

    def __post_init__(self) -> None:
        if self.url is not None:
            address_of(self.url)
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


def address_of(url: str) -> SplitResult:
    """The parts of a broker's URL; error texts never show the password.

    Raises:
        ValueError: It is not ``mqtt://`` or ``mqtts://`` with a host, or its host or port is none.
    """
    rule = "Write mqtt://[user:password@]host[:port], or mqtts:// for TLS."
    try:
        address = urlsplit(url)
        _ = address.port
    except ValueError:
        raise ValueError(f"mqtt.url: the port is not a number up to 65535. {rule}") from None
    if address.scheme not in PORTS or not address.hostname:
        raise ValueError(f"mqtt.url: not the address of a broker. {rule}")
    try:
        address.hostname.encode("idna")
    except UnicodeError as error:
        raise ValueError(
            f"mqtt.url: {address.hostname!r} is no name of a host ({error}). {rule}"
        ) from error
    return address


def read_password(settings: MqttSettings, address: SplitResult) -> str | None:
    """From the file, the address or the environment, in this order.

    Raises:
        UsageError: The file cannot be read.
    """
    if settings.password_file is not None:
        try:
            return settings.password_file.read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"mqtt.password_file ({settings.password_file}): cannot be read ({error})."
            ) from error
    if address.password:
        return unquote(address.password)
    return os.environ.get("STSER_MQTT_PASSWORD")


def tls_context(settings: MqttSettings, address: SplitResult) -> ssl.SSLContext | None:
    """TLS for ``mqtts://``.

    Raises:
        UsageError: The authority's certificate cannot be used.
    """
    if address.scheme != "mqtts":
        return None
    try:
        return ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"mqtt.tls_ca ({settings.tls_ca}): no certificate that can be used ({error}). Name a PEM file."
        ) from error
