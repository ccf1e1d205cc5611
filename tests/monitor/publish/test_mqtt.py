"""Delivery to a real mosquitto that is there, away, frozen, killed and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from monitor.commands import Command, CommandDesk, Mark, Reset
from monitor.errors import UsageError
from monitor.events import DeviceMuted, SpeechBegan, StateChanged
from monitor.ports import BrokerHealth
from monitor.publish.broker import MqttSettings
from monitor.publish.journal import Journal, JournalSettings
from monitor.publish.mqtt import CONTENT_TYPE, MqttPublisher
from tests.support.broker import Mosquitto
from tests.support.happenings import (
    EVERY,
    STARTED,
    STATE,
    announce,
    encoded,
    in_memory,
    numbered,
)

DEADLINE_S = 30.0
QUICK: dict[str, Any] = {"reconnect_least_s": 0.05, "reconnect_most_s": 0.2, "timeout_s": 1.0}


def publisher_to(
    url: str, journal: Journal, desk: CommandDesk | None = None, **settings: Any
) -> MqttPublisher:
    given = MqttSettings(url=url, **{**QUICK, **settings})
    return MqttPublisher(given, "node", ("mic",), journal, desk or CommandDesk())


@asynccontextmanager
async def publishing(
    url: str, journal: Journal | None = None, desk: CommandDesk | None = None, **settings: Any
) -> AsyncIterator[tuple[Journal, MqttPublisher]]:
    journal = journal or in_memory()
    async with (
        asyncio.timeout(DEADLINE_S),
        journal,
        publisher_to(url, journal, desk, **settings) as publisher,
    ):
        yield journal, publisher


@asynccontextmanager
async def listening(broker: Mosquitto, topic: str = "stser/#") -> AsyncIterator[aiomqtt.Client]:
    async with (
        asyncio.timeout(DEADLINE_S),
        aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client,
    ):
        await client.subscribe(topic, qos=1)
        yield client


async def messages(client: aiomqtt.Client, count: int) -> list[aiomqtt.Message]:
    source = aiter(client.messages)
    return [await anext(source) for _ in range(count)]


async def until(client: aiomqtt.Client, topic: str, payload: bytes) -> list[aiomqtt.Message]:
    """Messages up to and without the awaited one."""
    seen = []
    async for message in client.messages:
        if message.topic.value == topic and message.payload == payload:
            break
        seen.append(message)
    return seen


class Relay:
    """Passes bytes on to the broker until it is cut, as a network cable is.

    Args:
        broker_port: Of the broker.
        delay_s: For each piece on its way.
    """

    def __init__(self, broker_port: int, delay_s: float = 0.0) -> None:
        self._broker_port = broker_port
        self._delay_s = delay_s
        self._sockets: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        self._sockets += [writer, to_broker]
        for source, sink in ((reader, to_broker), (from_broker, writer)):
            self._pumps.append(asyncio.create_task(self._pump(source, sink)))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(4_096):
                await asyncio.sleep(self._delay_s)
                sink.write(data)

    def cut(self) -> None:
        for writer in self._sockets:
            writer.transport.abort()


@asynccontextmanager
async def relay_to(broker: Mosquitto, delay_s: float = 0.0) -> AsyncIterator[Relay]:
    relay = Relay(broker.port, delay_s)
    async with await asyncio.start_server(relay.serve, "127.0.0.1", 0) as server:
        relay.port = server.sockets[0].getsockname()[1]
        yield relay
        server.close()
        relay.cut()
        await asyncio.gather(*relay._pumps)


AVAILABILITY = "stser/node/availability"


def test_events_arrive_in_order_with_their_bytes_between_online_and_offline(
    mosquitto: Mosquitto,
) -> None:
    events = encoded(*EVERY)

    async def main() -> list[aiomqtt.Message]:
        async with listening(mosquitto) as client:
            async with publishing(mosquitto.url) as (journal, publisher):
                announce(journal, publisher, *events)
            return await until(client, AVAILABILITY, b"offline")

    online, *rest = asyncio.run(main())
    assert (online.topic.value, online.payload) == (AVAILABILITY, b"online")
    of_events = [message for message in rest if "/event/" in message.topic.value]
    kept = [event for event in events if event.sequence]  # not what is said in passing
    assert [message.payload for message in of_events] == [event.body for event in kept]
    for message, event in zip(of_events, kept, strict=True):
        assert message.topic.value == f"stser/node/mic/event/{event.kind}"
        assert (message.qos, message.retain) == (1, False)
        assert message.properties is not None
        assert message.properties.ContentType == CONTENT_TYPE
        assert message.properties.PayloadFormatIndicator == 1
        assert 0 < message.properties.MessageExpiryInterval <= 3_600
        told = json.loads(event.body)
        del told["data"], told["datacontenttype"]
        assert dict(message.properties.UserProperty) == told


def test_state_and_availability_wait_for_who_subscribes_later(mosquitto: Mosquitto) -> None:
    calm = StateChanged("neutral", 0, 1.0, {"angry": 0, "happy": 0, "neutral": 1, "sad": 0})
    first, second = encoded(calm, STATE)

    async def main() -> dict[str, Any]:
        async with publishing(mosquitto.url) as (journal, publisher):
            announce(journal, publisher, first, second)
        async with listening(mosquitto) as client:
            return {message.topic.value: message.payload for message in await messages(client, 2)}

    assert asyncio.run(main()) == {AVAILABILITY: b"offline", "stser/node/mic/state": second.body}


def test_who_subscribes_later_learns_whether_a_command_has_muted_the_stream(
    mosquitto: Mosquitto,
) -> None:
    by_device = DeviceMuted("mic", True, 1, 0)
    commands = [DeviceMuted("mic", active, 1, 0, by="command") for active in (False, True)]
    started, *others = encoded(STARTED, by_device, *commands)

    async def main() -> tuple[list[Any], list[aiomqtt.Message]]:
        topic = "stser/node/mic/muted"
        async with (
            listening(mosquitto, topic) as early,
            publishing(mosquitto.url) as (journal, publisher),
        ):
            announce(journal, publisher, started)
            told = await messages(early, 1)
            announce(journal, publisher, *others)
            told += await messages(early, 1)
            async with listening(mosquitto, topic) as late:
                return [message.payload for message in told], await messages(late, 1)

    told, (kept,) = asyncio.run(main())
    assert told == [b"OFF", b"ON"]  # what the device is silent about is no mute
    assert (kept.payload, kept.retain) == (b"ON", True)


def test_monitor_that_vanishes_is_announced_by_its_will(mosquitto: Mosquitto) -> None:
    """The broker's own port is what vanishes here: a relay is cut in the middle."""

    async def main() -> list[Any]:
        async with (
            listening(mosquitto, AVAILABILITY) as client,
            relay_to(mosquitto) as relay,
            publishing(f"mqtt://127.0.0.1:{relay.port}"),
        ):
            online = await messages(client, 1)
            relay.cut()
            return [m.payload for m in [*online, *await messages(client, 1)]]

    assert asyncio.run(main()) == [b"online", b"offline"]


def test_broker_that_comes_late_gets_everything_from_the_start(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()

    async def main() -> MqttPublisher:
        asked = asyncio.Event()

        def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            writer.close()

        async with publishing(mosquitto.url, farewell_s=DEADLINE_S) as (journal, publisher):
            announce(journal, publisher, *numbered(20))
            async with await asyncio.start_server(hang_up, "127.0.0.1", mosquitto.port):
                await asked.wait()
            await asyncio.to_thread(mosquitto.start)
        return publisher

    with caplog.at_level(logging.INFO):
        publisher = asyncio.run(main())
    assert publisher.waiting == 0
    # Somebody who hangs up, and at times nobody before: each is one warning, not one for each try.
    said = [message for message in caplog.messages if "trying again" in message]
    assert said
    assert len(said) == len(set(said))


def test_health_says_what_waits_while_the_broker_is_away_and_that_it_has_come(
    mosquitto: Mosquitto,
) -> None:
    mosquitto.stop()

    async def main() -> list[BrokerHealth]:
        async with publishing(mosquitto.url, farewell_s=DEADLINE_S) as (journal, publisher):
            announce(journal, publisher, *numbered(3))
            away = publisher.health
            await asyncio.to_thread(mosquitto.start)
            async with listening(mosquitto) as client:
                await until(client, "stser/node/availability", b"online")
            here = publisher.health
        return [away, replace(here, waiting=publisher.health.waiting)]

    address = f"127.0.0.1:{mosquitto.port}"
    assert asyncio.run(main()) == [
        BrokerHealth(address, connected=False, waiting=3),
        BrokerHealth(address, connected=True, waiting=0),
    ]


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_broker_lost_in_the_middle_takes_all_that_was_said_once_it_is_back(
    mosquitto: Mosquitto, fault: str
) -> None:
    before, after = numbered(40)[:20], numbered(40)[20:]

    async def main() -> MqttPublisher:
        async with publishing(mosquitto.url, farewell_s=DEADLINE_S) as (journal, publisher):
            async with listening(mosquitto, "stser/node/mic/event/#") as client:
                announce(journal, publisher, *before)
                await messages(client, len(before))
            getattr(mosquitto, fault)()
            announce(journal, publisher, *after)
            await asyncio.to_thread(mosquitto.start if fault == "kill" else mosquitto.restart)
        return publisher

    assert asyncio.run(main()).waiting == 0


def test_what_the_broker_has_not_had_follows_after_the_next_start(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    events = numbered(40)

    def journal() -> Journal:
        return Journal(tmp_path / "journal", "node", JournalSettings())

    async def main() -> list[Any]:
        # The first run delivers some; the second finds no broker; the third delivers the rest.
        async with listening(mosquitto, "stser/node/mic/event/#") as client:
            async with publishing(mosquitto.url, journal()) as (kept, publisher):
                announce(kept, publisher, *events[:10])
            first = await messages(client, 10)
        mosquitto.stop()
        async with publishing(mosquitto.url, journal(), farewell_s=0.05) as (kept, publisher):
            announce(kept, publisher, *events[10:30])
        await asyncio.to_thread(mosquitto.start)
        async with listening(mosquitto, "stser/node/mic/event/#") as client:
            async with publishing(mosquitto.url, journal()) as (kept, publisher):
                announce(kept, publisher, *events[30:])
            return [m.payload for m in [*first, *await messages(client, 30)]]

    assert asyncio.run(main()) == [event.body for event in events]


def test_broker_that_is_new_gets_what_happens_and_not_the_whole_history(
    mosquitto: Mosquitto,
) -> None:
    events = numbered(10)

    async def main() -> list[Any]:
        async with in_memory() as journal, listening(mosquitto, "stser/node/mic/event/#") as client:
            for event in events[:7]:
                journal.append(event)
            async with publisher_to(mosquitto.url, journal) as publisher:
                announce(journal, publisher, *events[7:])
            return [message.payload for message in await messages(client, 3)]

    assert asyncio.run(main()) == [event.body for event in events[7:]]


def test_delivery_costs_the_same_however_many_streams_there_have_been(
    mosquitto: Mosquitto,
) -> None:
    first, *events = numbered(4)

    async def main() -> list[str]:
        asked: list[str] = []
        async with in_memory() as journal, listening(mosquitto, "stser/node/mic/event/#") as client:
            for number in range(1_000):
                journal.append(encoded(SpeechBegan(1, 0), stream=f"call-{number}")[0])
            async with publisher_to(mosquitto.url, journal) as publisher:
                announce(journal, publisher, first)
                await messages(client, 1)
                journal._storage.database.set_trace_callback(asked.append)
                announce(journal, publisher, *events)
                await messages(client, len(events))
                assert publisher.waiting <= 1
        return asked

    # Kept, read, noted as delivered, with their transactions.
    assert len(asyncio.run(main())) < 10 * len(events)


def test_events_that_expired_before_the_broker_came_are_reported_as_a_gap(
    mosquitto: Mosquitto,
) -> None:
    events = numbered(64)

    async def main() -> list[aiomqtt.Message]:
        journal = Journal(None, "node", JournalSettings(max_events=3))
        publisher = publisher_to(mosquitto.url, journal)
        async with journal, listening(mosquitto, "stser/node/mic/event/#") as client, publisher:
            # All in one go: nothing can be sent in between.
            announce(journal, publisher, *events)
            return await messages(client, 4)

    gap, *rest = asyncio.run(main())
    assert gap.topic.value == "stser/node/mic/event/stream.gap"
    assert isinstance(gap.payload, bytes)
    assert json.loads(gap.payload)["data"] == {
        "from_sequence": "00000000000000000001",
        "to_sequence": "00000000000000000061",
        "dropped": 61,
        "reason": "expired",
    }
    assert [message.payload for message in rest] == [event.body for event in events[61:]]


def test_commands_come_by_topic_and_a_retained_one_is_not_obeyed(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    obeyed: list[Command] = []
    desk, marked = CommandDesk(), asyncio.Event()

    def obey(command: Command) -> None:
        obeyed.append(command)
        if isinstance(command, Mark):
            marked.set()

    desk.open(obey)

    async def main() -> None:
        async with listening(mosquitto, AVAILABILITY) as client:
            await client.publish("stser/node/cmd", '{"type":"mute"}', qos=1, retain=True)
            async with publishing(mosquitto.url, desk=desk):
                await messages(client, 1)
                await client.publish("stser/node/cmd", "dance", qos=1)
                await client.publish("stser/node/cmd", '{"type":"reset"}', qos=1)
                await client.publish("stser/node/cmd", '{"type":"mark","text":"now"}', qos=1)
                await marked.wait()

    asyncio.run(main())
    assert obeyed == [Reset(), Mark("now")]
    assert "command refused" in caplog.text


def test_home_assistant_is_told_what_this_is_and_again_after_its_restart(
    mosquitto: Mosquitto,
) -> None:
    topic = "homeassistant/device/node/config"

    async def main() -> list[aiomqtt.Message]:
        async with (
            listening(mosquitto, topic) as client,
            publishing(mosquitto.url, ha_discovery=True),
        ):
            first = await messages(client, 1)
            await client.publish("homeassistant/status", "online", qos=1)
            return [*first, *await messages(client, 1)]

    first, second = asyncio.run(main())
    assert first.payload == second.payload
    assert isinstance(first.payload, bytes)
    tree = json.loads(first.payload)
    assert tree["availability_topic"] == AVAILABILITY
    assert set(tree["components"]) == {"emotion", "state", "confidence", "speech", "mute"}


def test_without_discovery_home_assistant_hears_nothing(mosquitto: Mosquitto) -> None:
    async def main() -> list[str]:
        async with listening(mosquitto, "#") as client:
            async with publishing(mosquitto.url):
                online = await messages(client, 1)
            seen = [*online, *await until(client, AVAILABILITY, b"offline")]
            return [message.topic.value for message in seen]

    assert asyncio.run(main()) == [AVAILABILITY]


def test_broker_lost_while_nothing_happens_is_noticed_at_once(mosquitto: Mosquitto) -> None:
    async def main() -> list[Any]:
        async with publishing(mosquitto.url):
            async with listening(mosquitto, AVAILABILITY) as client:
                await messages(client, 1)
            await asyncio.to_thread(mosquitto.restart)
            # The new broker remembers nothing: whoever is online has said so again.
            async with listening(mosquitto, AVAILABILITY) as client:
                return [message.payload for message in await messages(client, 1)]

    assert asyncio.run(main()) == [b"online"]


def test_password_comes_from_a_file_or_the_environment_and_not_from_the_process_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STSER_MQTT_PASSWORD", "from the environment")
    assert publisher_to("mqtt://host", in_memory())._password == "from the environment"
    (tmp_path / "password").write_text("from a file\n")
    settings = {"username": "robot", "password_file": tmp_path / "password"}
    assert publisher_to("mqtt://host", in_memory(), **settings)._password == "from a file"
    with pytest.raises(UsageError, match=r"mqtt\.password_file .*missing"):
        publisher_to("mqtt://host", in_memory(), password_file=tmp_path / "missing")


def test_monitor_ends_in_time_without_a_broker_and_says_what_was_not_delivered(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()

    async def main() -> None:
        async with publishing(mosquitto.url, farewell_s=0.1) as (journal, publisher):
            announce(journal, publisher, *numbered(3))

    asyncio.run(main())
    assert "MQTT: 3 events could not be delivered; they are lost" in caplog.messages


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost", "http://localhost", "mqtt://", "mqtt://host:port", "mqtt://host:70000"),
        *("mqtt://broker..local", f"mqtt://{64 * 'a'}"),
    ],
)
def test_address_of_no_broker_is_refused_with_the_rule(url: str) -> None:
    with pytest.raises(ValueError, match=r"mqtt\.url: .*Write mqtt://"):
        publisher_to(url, in_memory())


def test_password_is_in_no_error_text() -> None:
    with pytest.raises(ValueError, match=r"mqtt\.url: ") as refused:
        publisher_to("mqtt://user:secret@host:port", in_memory())
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("prefix", "a/#"), ("prefix", ""), ("expiry_s", 0), ("reconnect_most_s", 0.01)],
)
def test_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"mqtt\.{name}"):
        MqttSettings(**{name: value})
