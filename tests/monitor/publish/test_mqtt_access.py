"""Getting in at a real mosquitto that asks for TLS, a name and a password."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from monitor.errors import PublishError
from tests.monitor.publish.test_mqtt import (
    AVAILABILITY,
    DEADLINE_S,
    messages,
    publisher_to,
    publishing,
)
from tests.support.broker import Mosquitto, running_mosquitto
from tests.support.certificates import Certificates, signed
from tests.support.happenings import announce, in_memory, numbered
from tests.support.monitor_process import environment_of, program

SECRET = "correct horse#battery/staple"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return signed(tmp_path)


@pytest.fixture
def tls_broker(certificates: Certificates, tmp_path: Path) -> Iterator[Mosquitto]:
    lines = f"certfile {certificates.certificate}", f"keyfile {certificates.key}"
    with running_mosquitto(tmp_path, *lines) as broker:
        yield broker


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Lets in the robot, and whoever listens."""
    maker = shutil.which("mosquitto_passwd")
    if maker is None:
        pytest.skip("mosquitto_passwd is not installed: there is no broker that asks for passwords")
    passwords = tmp_path / "passwords"
    for create, name, secret in (("-c", "robot", SECRET), ("", "listener", "listener")):
        flags = ["-b", *([create] if create else [])]
        subprocess.run([maker, *flags, str(passwords), name, secret], check=True)
    lines = "allow_anonymous false", f"password_file {passwords}"
    with running_mosquitto(tmp_path, *lines) as broker:
        yield broker


def listener(broker: Mosquitto, **options: Any) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5, **options)


def test_events_travel_over_tls_to_a_broker_whose_authority_is_named(
    tls_broker: Mosquitto, certificates: Certificates
) -> None:
    events = numbered(5)
    trusted = ssl.create_default_context(cafile=certificates.authority)

    async def main() -> list[Any]:
        address = f"mqtts://127.0.0.1:{tls_broker.port}"
        async with asyncio.timeout(DEADLINE_S), listener(tls_broker, tls_context=trusted) as client:
            await client.subscribe("stser/node/mic/event/#", qos=1)
            async with publishing(address, tls_ca=certificates.authority) as (journal, publisher):
                announce(journal, publisher, *events)
                return [message.payload for message in await messages(client, len(events))]

    assert asyncio.run(main()) == [event.body for event in events]


# paho leaves the socket of a failed handshake to the garbage collector, which runs here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_broker_of_an_unknown_authority_is_not_trusted_and_the_remedy_is_said(
    tls_broker: Mosquitto,
) -> None:
    async def main() -> None:
        await publisher_to(f"mqtts://127.0.0.1:{tls_broker.port}", in_memory()).check()

    with pytest.raises(PublishError, match=r"CERTIFICATE_VERIFY_FAILED.*mqtt\.tls_ca"):
        asyncio.run(main())
    gc.collect()


@pytest.mark.parametrize("place", ["address", "file", "environment"])
def test_password_lets_the_monitor_in_wherever_it_comes_from(
    guarded_broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    address: str = guarded_broker.url
    settings: dict[str, Any] = {"username": "robot"}
    match place:
        case "address":
            address = (
                f"mqtt://robot:correct%20horse%23battery%2Fstaple@127.0.0.1:{guarded_broker.port}"
            )
            settings = {}
        case "file":
            (tmp_path / "secret").write_text(f"{SECRET}\n")
            settings["password_file"] = tmp_path / "secret"
        case "environment":
            monkeypatch.setenv("STSER_MQTT_PASSWORD", SECRET)

    async def main() -> None:
        await publisher_to(address, in_memory(), **settings).check()

    asyncio.run(main())


def test_wrong_password_is_said_once_with_where_to_look_and_without_the_password(
    guarded_broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"mqtt://robot:wrong-secret@127.0.0.1:{guarded_broker.port}"

    async def main() -> None:
        async with publishing(address, farewell_s=0.1) as (journal, publisher):
            announce(journal, publisher, *numbered(1))
            third, connect = asyncio.Event(), publisher._client
            tries = 0

            def counted() -> aiomqtt.Client:
                nonlocal tries
                tries += 1
                if tries == 3:
                    third.set()
                return connect()

            publisher._client = counted  # type: ignore[method-assign]
            await third.wait()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
    (said,) = (
        message for message in caplog.messages if "refuses the name or the password" in message
    )
    assert "mqtt.password_file" in said
    assert "STSER_MQTT_PASSWORD" in said
    assert "wrong-secret" not in caplog.text


def test_password_is_neither_in_the_process_list_nor_in_what_the_program_writes(
    guarded_broker: Mosquitto,
) -> None:
    command = [*program(), "--mqtt-url", f"mqtt://robot@127.0.0.1:{guarded_broker.port}"]
    flags = ["--node", "robot", "--input", "-", "--no-ws", "--no-asr", "--log-format", "json"]

    async def main() -> tuple[bytes, bytes, bytes]:
        as_listener = listener(guarded_broker, username="listener", password="listener")
        async with asyncio.timeout(DEADLINE_S), as_listener as client:
            await client.subscribe(AVAILABILITY.replace("node", "robot"), qos=1)
            process = await asyncio.create_subprocess_exec(
                *command,
                *flags,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment_of({"STSER_MQTT_PASSWORD": SECRET}),
            )
            (online,) = await messages(client, 1)
            assert online.payload == b"online"
            listed = await asyncio.to_thread(Path(f"/proc/{process.pid}/cmdline").read_bytes)
            return (listed, *await process.communicate(b""))

    for written in asyncio.run(main()):
        assert written
        assert SECRET.encode() not in written
