"""A real mosquitto that is slow, full, or refuses what it is sent: nothing else waits, and what is missing is said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from monitor.events import UtteranceEmotion, WireEvent
from monitor.publish.mqtt import MqttPublisher
from tests.monitor.publish.test_mqtt import (
    AVAILABILITY,
    DEADLINE_S,
    listening,
    publishing,
    relay_to,
    until,
)
from tests.support.broker import Mosquitto, running_mosquitto
from tests.support.happenings import EVERY, announce, encoded, numbered

EVENTS = [event for event in encoded(*EVERY) if event.sequence]
TOO_LONG = 900
"""Bytes: more than every event but an utterance has, as a packet."""


@contextmanager
def broker_with(folder: Path, *settings: str) -> Iterator[Mosquitto]:
    with running_mosquitto(folder, *settings) as broker:
        yield broker


async def delivered(broker: Mosquitto, events: Sequence[WireEvent]) -> list[dict[str, Any]]:
    """What a subscriber has of events, up to the farewell."""
    async with listening(broker) as client:
        async with publishing(broker.url, farewell_s=DEADLINE_S) as (journal, publisher):
            announce(journal, publisher, *events)
        told = await until(client, AVAILABILITY, b"offline")
        return [json.loads(m.payload) for m in told if "/event/" in m.topic.value]  # type: ignore[arg-type]


def place(event: dict[str, Any]) -> list[int]:
    """Sequences that an event stands for."""
    if "sequence" in event:
        return [int(event["sequence"])]
    data = event["data"]
    return list(range(int(data["from_sequence"]), int(data["to_sequence"]) + 1))


def check_that_utterances_are_told_as_refused(told: list[dict[str, Any]]) -> None:
    gaps = [event["data"] for event in told if event["type"] == "org.stser.stream.gap.v1"]
    utterances = [e.sequence for e in EVENTS if isinstance(e.happening, UtteranceEmotion)]
    assert [int(gap["from_sequence"]) for gap in gaps] == utterances
    assert {gap["reason"] for gap in gaps} == {"refused"}
    assert [at for event in told for at in place(event)] == [e.sequence for e in EVENTS]


def test_slow_broker_gets_everything_once_and_in_order(mosquitto: Mosquitto) -> None:
    events = numbered(20)

    async def main() -> list[Any]:
        async with listening(mosquitto) as client, relay_to(mosquitto, 0.05) as relay:
            address = f"mqtt://127.0.0.1:{relay.port}"
            async with publishing(address, farewell_s=DEADLINE_S) as (journal, publisher):
                announce(journal, publisher, *events)
            told = await until(client, AVAILABILITY, b"offline")
            return [message.payload for message in told if "/event/" in message.topic.value]

    assert asyncio.run(main()) == [event.body for event in events]


def test_kind_that_the_broker_forbids_is_told_as_a_gap_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite stser/#\ntopic deny stser/node/mic/event/emotion.utterance\n")
    with broker_with(tmp_path, f"acl_file {rules}") as broker:
        told = asyncio.run(delivered(broker, EVENTS))
    check_that_utterances_are_told_as_refused(told)
    assert caplog.messages == [
        "MQTT: emotion.utterance is not delivered, now and later: Not authorized"
    ]


def test_event_that_is_longer_than_the_broker_takes_is_told_as_a_gap(tmp_path: Path) -> None:
    with broker_with(tmp_path, f"max_packet_size {TOO_LONG}") as broker:
        told = asyncio.run(delivered(broker, EVENTS))
    check_that_utterances_are_told_as_refused(told)


def test_broker_that_hangs_up_over_an_event_gets_the_others(tmp_path: Path) -> None:
    """As mosquitto does for ``message_size_limit``, without a word about it beforehand."""
    with broker_with(tmp_path, f"message_size_limit {TOO_LONG}") as broker:

        async def main() -> list[dict[str, Any]]:
            async with listening(broker, "stser/node/mic/event/#") as client:
                async with publishing(broker.url, farewell_s=DEADLINE_S) as (journal, publisher):
                    announce(journal, publisher, *EVENTS)
                told: list[dict[str, Any]] = []
                async for message in client.messages:
                    told.append(json.loads(message.payload))  # type: ignore[arg-type]
                    if place(told[-1]) == [EVENTS[-1].sequence]:
                        return told
            raise AssertionError

        told = asyncio.run(main())
    check_that_utterances_are_told_as_refused(told)


def test_broker_that_runs_out_of_memory_gets_everything_when_it_has_some(tmp_path: Path) -> None:
    events = numbered(50)

    async def main(broker: Mosquitto) -> MqttPublisher:
        async with publishing(broker.url, farewell_s=DEADLINE_S) as (journal, publisher):
            announce(journal, publisher, *events)
            async with asyncio.timeout(DEADLINE_S):
                # It takes no connection, or hangs up: either way it has had nothing.
                with pytest.raises(aiomqtt.MqttError):
                    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
                        await client.publish("other", b"x" * 200_000, qos=1, timeout=1)
            assert publisher.waiting == len(events)
            broker.configure()
            await asyncio.to_thread(broker.restart)
        return publisher

    with broker_with(tmp_path, "memory_limit 20000") as broker:
        assert asyncio.run(main(broker)).waiting == 0


async def take_connections_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker whose quota is exceeded: it lets in, and acknowledges with reason 151."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            kind, length = (await reader.readexactly(1))[0] >> 4, 0
            for shift in range(0, 28, 7):
                (byte,) = await reader.readexactly(1)
                length |= (byte & 127) << shift
                if not byte & 128:
                    break
            body = await reader.readexactly(length)
            if kind == 1:
                writer.write(bytes((0x20, 3, 0, 0, 0)))
            elif kind == 8:
                writer.write(bytes((0x90, 4, *body[:2], 0, 1)))
            elif kind == 3:
                at = 2 + int.from_bytes(body[:2])
                refused = 0x97 if b"/event/" in body[:at] else 0
                writer.write(bytes((0x40, 3, *body[at : at + 2], refused)))
    writer.close()


def test_broker_that_takes_connections_and_no_message_is_tried_ever_more_seldom_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    most = 30

    async def main() -> int:
        connections, too_many = 0, asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            if connections == most:
                too_many.set()
            await take_connections_only(reader, writer)

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            settings = {"reconnect_least_s": 0.01, "reconnect_most_s": 60.0, "farewell_s": 0.05}
            async with publishing(url, **settings) as (journal, publisher):
                announce(journal, publisher, *numbered(3))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(too_many.wait(), 0.8)
        return connections

    assert 2 <= asyncio.run(main()) < most
    trouble, left = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "does not take messages" in trouble.message
    assert "could not be delivered" in left.message


def test_queue_that_is_full_of_what_an_absent_subscriber_missed_holds_nothing_up(
    tmp_path: Path,
) -> None:
    events = numbered(60)

    async def main(broker: Mosquitto) -> tuple[MqttPublisher, list[int]]:
        def absent() -> aiomqtt.Client:
            return aiomqtt.Client(
                "127.0.0.1",
                broker.port,
                identifier="absent",
                clean_session=False,
                protocol=aiomqtt.ProtocolVersion.V311,
            )

        async with asyncio.timeout(DEADLINE_S):
            async with absent() as client:
                await client.subscribe("stser/node/mic/event/#", qos=1)
            async with publishing(broker.url, farewell_s=DEADLINE_S) as (journal, publisher):
                announce(journal, publisher, *events)
            seen = []
            async with absent() as client:
                await client.publish("stser/node/mic/event/last", "{}", qos=1)
                async for message in client.messages:
                    if message.topic.value.endswith("/last"):
                        break
                    seen.append(int(json.loads(message.payload)["sequence"]))  # type: ignore[arg-type]
            return publisher, seen

    with broker_with(tmp_path, "max_queued_messages 10", "max_inflight_messages 5") as broker:
        publisher, seen = asyncio.run(main(broker))
    assert publisher.waiting == 0
    assert 0 < len(seen) < len(events)  # what is missing shows in the sequence
    assert seen == sorted(seen)


def test_broker_that_cannot_write_its_disk_gets_everything_all_the_same(tmp_path: Path) -> None:
    unwritable = tmp_path / "file"
    unwritable.touch()
    settings = (
        "persistence true",
        f"persistence_location {unwritable}/",
        "autosave_on_changes true",
        "autosave_interval 1",
    )
    with broker_with(tmp_path, *settings) as broker:
        told = asyncio.run(delivered(broker, EVENTS))
    assert [at for event in told for at in place(event)] == [event.sequence for event in EVENTS]
