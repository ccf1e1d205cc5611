"""Delivery to a real mosquitto that is there, away, frozen, killed and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest

from monitor.errors import PublishError
from monitor.events import StateChanged
from monitor.publish.mqtt import CONTENT_TYPE, MqttPublisher, MqttSettings
from tests.support.broker import Mosquitto
from tests.support.happenings import EVERY, STATE, encoded, numbered

DEADLINE_S = 30.0
QUICK: dict[str, Any] = {"reconnect_least_s": 0.05, "reconnect_most_s": 0.2, "timeout_s": 1.0}


def publisher_to(url: str, **settings: Any) -> MqttPublisher:
    return MqttPublisher(MqttSettings(url=url, **{**QUICK, **settings}), "node", "mic")


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
    """Passes bytes on to the broker until it is cut, as a network cable is."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
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
                sink.write(data)

    def cut(self) -> None:
        for writer in self._sockets:
            writer.transport.abort()


@asynccontextmanager
async def relay_to(broker: Mosquitto) -> AsyncIterator[Relay]:
    relay = Relay(broker.port)
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
            async with publisher_to(mosquitto.url) as publisher:
                for event in events:
                    publisher.publish(event)
            return await until(client, AVAILABILITY, b"offline")

    online, *rest = asyncio.run(main())
    assert (online.topic.value, online.payload) == (AVAILABILITY, b"online")
    of_events = [message for message in rest if "/event/" in message.topic.value]
    assert [message.payload for message in of_events] == [event.body for event in events]
    for message, event in zip(of_events, events, strict=True):
        assert message.topic.value == f"stser/node/mic/event/{event.kind}"
        assert (message.qos, message.retain) == (1, False)
        assert message.properties is not None
        assert message.properties.ContentType == CONTENT_TYPE
        assert message.properties.PayloadFormatIndicator == 1
        assert 0 < message.properties.MessageExpiryInterval <= 3_600


def test_state_and_availability_wait_for_who_subscribes_later(mosquitto: Mosquitto) -> None:
    calm = StateChanged("neutral", 0, 1.0, {"angry": 0, "happy": 0, "neutral": 1, "sad": 0})
    first, second = encoded(calm, STATE)

    async def main() -> dict[str, Any]:
        async with publisher_to(mosquitto.url) as publisher:
            publisher.publish(first)
            publisher.publish(second)
        async with listening(mosquitto) as client:
            return {message.topic.value: message.payload for message in await messages(client, 2)}

    assert asyncio.run(main()) == {AVAILABILITY: b"offline", "stser/node/mic/state": second.body}


def test_monitor_that_vanishes_is_announced_by_its_will(mosquitto: Mosquitto) -> None:
    """The broker's own port is what vanishes here: a relay is cut in the middle."""

    async def main() -> list[Any]:
        async with (
            listening(mosquitto, AVAILABILITY) as client,
            relay_to(mosquitto) as relay,
            publisher_to(f"mqtt://127.0.0.1:{relay.port}"),
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

        publisher = publisher_to(mosquitto.url, farewell_s=DEADLINE_S)
        async with publisher:
            for event in numbered(20):
                publisher.publish(event)
            async with await asyncio.start_server(hang_up, "127.0.0.1", mosquitto.port):
                await asked.wait()
            await asyncio.to_thread(mosquitto.start)
        return publisher

    with caplog.at_level(logging.INFO):
        publisher = asyncio.run(main())
    assert (len(publisher._outbox), publisher.dropped) == (0, 0)
    # A broker that is away is one warning, not one for each try.
    assert sum("trying again" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_broker_lost_in_the_middle_takes_all_that_was_said_once_it_is_back(
    mosquitto: Mosquitto, fault: str
) -> None:
    before, after = numbered(40)[:20], numbered(40)[20:]

    async def main() -> MqttPublisher:
        publisher = publisher_to(mosquitto.url, farewell_s=DEADLINE_S)
        async with publisher:
            async with listening(mosquitto, "stser/node/mic/event/#") as client:
                for event in before:
                    publisher.publish(event)
                await messages(client, len(before))
            getattr(mosquitto, fault)()
            for event in after:
                publisher.publish(event)
            await asyncio.to_thread(mosquitto.start if fault == "kill" else mosquitto.restart)
        return publisher

    publisher = asyncio.run(main())
    assert (len(publisher._outbox), publisher.dropped) == (0, 0)


def test_outbox_that_is_full_drops_the_oldest_and_the_topic_says_so(mosquitto: Mosquitto) -> None:
    events = numbered(10)
    mosquitto.stop()

    async def main() -> tuple[int, list[aiomqtt.Message]]:
        publisher = publisher_to(mosquitto.url, outbox_events=3, reconnect_least_s=0.2)
        for event in events:
            publisher.publish(event)
        await asyncio.to_thread(mosquitto.start)
        async with listening(mosquitto, "stser/node/mic/event/#") as client, publisher:
            return publisher.dropped, await messages(client, 4)

    dropped, (gap, *rest) = asyncio.run(main())
    assert dropped == 7
    assert gap.topic.value == "stser/node/mic/event/stream.gap"
    assert isinstance(gap.payload, bytes)
    assert json.loads(gap.payload)["data"] == {
        "from_sequence": "00000000000000000001",
        "to_sequence": "00000000000000000007",
        "dropped": 7,
        "reason": "broker_away",
    }
    assert [message.payload for message in rest] == [event.body for event in events[7:]]


def test_monitor_ends_in_time_without_a_broker_and_says_what_was_not_delivered(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()

    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S), publisher_to(mosquitto.url, farewell_s=0.1) as p:
            for event in numbered(3):
                p.publish(event)

    asyncio.run(main())
    assert "MQTT: 3 events could not be delivered" in caplog.messages


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "http://localhost", "mqtt://", "mqtt://host:port", "mqtt://host:70000"],
)
def test_address_of_no_broker_is_refused_with_the_rule(url: str) -> None:
    with pytest.raises(PublishError, match=r"--mqtt-url: .*Write mqtt://"):
        publisher_to(url)


def test_password_is_in_no_error_text() -> None:
    with pytest.raises(PublishError) as refused:
        publisher_to("mqtt://user:secret@host:port")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("prefix", "a/#"), ("prefix", ""), ("outbox_events", 0), ("reconnect_most_s", 0.01)],
)
def test_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"mqtt\.{name}"):
        MqttSettings(**{name: value})
