"""The port for pages and programs, with real clients: quick, slow, stuck and hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from monitor.commands import Command, CommandDesk, Mark, Mute
from monitor.errors import PublishError
from monitor.events import Happening, MonitorStopped, SpeechBegan, StateChanged, WireEvent
from monitor.publish.events_endpoint import Subscriber
from monitor.publish.journal import Journal, JournalSettings
from monitor.publish.pages import load_pages
from monitor.publish.websocket import WebSocketPublisher, WebSocketSettings
from monitor.publish.wire import KINDS, ON_REQUEST, WireEncoder
from tests.support.happenings import (
    EVERY,
    LEVEL,
    STARTED,
    STATE,
    UTTERANCE,
    announce,
    encoded,
    in_memory,
    numbered,
)
from tests.support.port import on_port

DEADLINE_S = 20.0


@asynccontextmanager
async def serving(
    desk: CommandDesk | None = None, **settings: Any
) -> AsyncIterator[WebSocketPublisher]:
    async with (
        asyncio.timeout(DEADLINE_S),
        in_memory() as journal,
        on_port(WebSocketSettings(port=0, **settings), journal, desk) as publisher,
    ):
        yield publisher


def port_of(publisher: WebSocketPublisher) -> int:
    return int(publisher.url.rstrip("/").rpartition(":")[2])


def subscribe(publisher: WebSocketPublisher, query: str = "", **options: Any) -> connect:
    return connect(
        f"ws://127.0.0.1:{port_of(publisher)}/events{query}", compression=None, **options
    )


async def subscribed(publisher: WebSocketPublisher, count: int = 1) -> None:
    """Wait until the server counts so many clients: what is published now reaches them."""
    while (await page(publisher, "/healthz"))[2]["clients"] != count:
        pass


def fetch(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


async def page(
    publisher: WebSocketPublisher, path: str, method: str = "GET", **headers: str
) -> tuple[int, Any, Any]:
    status, sent, body = await asyncio.to_thread(fetch, port_of(publisher), path, method, **headers)
    is_json = body and sent["Content-Type"] == "application/json"
    return status, sent, json.loads(body) if is_json else body


async def received(connection: ClientConnection, count: int) -> list[bytes]:
    return [str(await connection.recv()).encode() for _ in range(count)]


# --- events ------------------------------------------------------------------------------------


def test_every_client_gets_the_very_bytes_in_order() -> None:
    events = encoded(*EVERY)

    async def main() -> list[list[bytes]]:
        async with serving() as publisher, subscribe(publisher) as a, subscribe(publisher) as b:
            await subscribed(publisher, 2)
            for event in events:
                publisher.publish(event)
            return [await received(client, len(events)) for client in (a, b)]

    assert asyncio.run(main()) == [[event.body for event in events]] * 2


def test_subprotocol_is_taken_by_who_offers_it_and_not_asked_of_others() -> None:
    async def main() -> None:
        async with serving() as publisher:
            async with subscribe(publisher, subprotocols=["cloudevents.json"]) as client:
                assert client.subprotocol == "cloudevents.json"
            async with subscribe(publisher) as client:
                assert client.subprotocol is None

    asyncio.run(main())


def test_who_connects_later_gets_the_current_state_first() -> None:
    calm = StateChanged("neutral", 0, 1.0, {"angry": 0, "happy": 0, "neutral": 1, "sad": 0})
    first, second = encoded(calm, STATE)

    async def main() -> None:
        async with serving() as publisher:
            publisher.publish(first)
            publisher.publish(second)
            async with subscribe(publisher) as client:
                assert await received(client, 1) == [second.body]
            async with subscribe(publisher, "?types=emotion.utterance") as client:
                await subscribed(publisher)
                (uttered,) = encoded(UTTERANCE)
                publisher.publish(uttered)
                assert await received(client, 1) == [uttered.body]

    asyncio.run(main())


@pytest.mark.parametrize("over", [STARTED, MonitorStopped(0, 0, {})])
def test_state_of_a_stream_that_has_ended_or_begins_anew_is_told_to_nobody(over: Happening) -> None:
    state, end, news = encoded(STATE, over, UTTERANCE)

    async def main() -> None:
        async with serving() as publisher:
            publisher.publish(state)
            publisher.publish(end)
            async with subscribe(publisher) as client:
                await subscribed(publisher)
                publisher.publish(news)
                assert await received(client, 1) == [news.body]

    asyncio.run(main())


def test_subscriber_gets_the_types_it_asked_for_and_no_words_if_it_wants_none() -> None:
    events = encoded(*EVERY)

    async def main() -> list[dict[str, Any]]:
        async with (
            serving() as publisher,
            subscribe(publisher, "?types=emotion.utterance&transcript=0") as client,
        ):
            await subscribed(publisher)
            for event in events:
                publisher.publish(event)
            return [json.loads(body) for body in await received(client, 2)]

    first, second = asyncio.run(main())
    assert {first["type"], second["type"]} == {"org.stser.emotion.utterance.v1"}
    assert first["data"]["transcript"] is None
    assert first["sequence"] == "00000000000000000004"


def test_query_that_makes_no_sense_is_refused_with_what_is_known() -> None:
    async def main() -> str:
        async with serving() as publisher:
            with pytest.raises(InvalidStatus) as refused:
                await subscribe(publisher, "?types=emotion.smell")
        assert refused.value.response.status_code == 400
        return refused.value.response.body.decode()

    assert all(kind in asyncio.run(main()) for kind in KINDS)


def test_level_is_told_once_for_all_who_ask_for_it() -> None:
    encoder = WireEncoder("node", "mic")

    async def main() -> list[list[bytes]]:
        async with (
            serving() as publisher,
            subscribe(publisher, "?types=audio.level") as a,
            subscribe(publisher, "?types=audio.level&stream=mic") as b,
            subscribe(publisher, "?types=audio.level&stream=door"),
        ):
            await subscribed(publisher, 3)
            publisher._events._levels = lambda: [encoder.encode(LEVEL)]
            return [await received(client, 2) for client in (a, b)]

    told, as_told = asyncio.run(main())
    assert told == as_told


def test_commands_are_obeyed_in_order_and_get_no_answer() -> None:
    obeyed: list[Command] = []
    desk = CommandDesk()
    desk.open(obeyed.append)

    async def main() -> None:
        async with serving(desk) as publisher, subscribe(publisher) as client:
            await client.send('{"type":"mute"}')
            await client.send('{"type":"mark","text":"now"}')
            await client.send('{"type":"dance"}')  # the answer shows that the others were read
            await client.recv()

    asyncio.run(main())
    assert obeyed == [Mute(), Mark("now")]


def test_what_is_no_command_is_answered_and_the_connection_stays() -> None:
    async def main() -> None:
        async with serving() as publisher, subscribe(publisher) as client:
            for sent, code in [
                ('{"type":"dance"}', "unknown_command"),
                ("hello", "not_json"),
                (b'{"type":"mute"}', "not_json"),
                ("[" * 2_000, "not_json"),
                ('{"type":"mark"}', "bad_command"),
                ('{"type":"mute"}', "not_listening"),
            ]:
                await client.send(sent)
                answer = json.loads(await client.recv())
                assert (answer["type"], answer["code"]) == ("error", code)
                assert answer["retryable"] is (code == "not_listening")
            (event,) = numbered(1)
            publisher.publish(event)
            assert await received(client, 1) == [event.body]

    asyncio.run(main())


def test_message_beyond_the_limit_ends_the_connection_of_its_sender_only() -> None:
    async def main() -> None:
        async with (
            serving(max_message_bytes=100) as publisher,
            subscribe(publisher) as flooding,
            subscribe(publisher) as other,
        ):
            await flooding.send("x" * 101)
            with pytest.raises(ConnectionClosed):
                await flooding.recv()
            await subscribed(publisher, 1)
            (event,) = numbered(1)
            publisher.publish(event)
            assert await received(other, 1) == [event.body]

    asyncio.run(main())


# --- resuming ----------------------------------------------------------------------------------


@asynccontextmanager
async def journalled(
    journal: Journal, **settings: Any
) -> AsyncIterator[tuple[Journal, WebSocketPublisher]]:
    async with (
        asyncio.timeout(DEADLINE_S),
        journal,
        on_port(WebSocketSettings(port=0, **settings), journal) as publisher,
    ):
        yield journal, publisher


def test_who_comes_back_gets_what_it_missed_and_then_what_happens() -> None:
    events = numbered(300)

    async def main() -> list[bytes]:
        async with journalled(in_memory()) as (journal, publisher):
            announce(journal, publisher, *events[:250])
            async with subscribe(publisher, f"?since={events[9].sequence:020d}") as client:
                seen = await received(client, 240)
                announce(journal, publisher, *events[250:])
                return seen + await received(client, 50)

    assert asyncio.run(main()) == [event.body for event in events[10:]]


def test_events_while_the_past_is_sent_come_once_and_in_order() -> None:
    events = numbered(200)

    async def main() -> list[bytes]:
        async with journalled(in_memory()) as (journal, publisher):
            announce(journal, publisher, *events[:100])
            async with subscribe(publisher, "?since=0") as client:
                seen = []
                for event in events[100:]:
                    announce(journal, publisher, event)
                    seen += await received(client, 1)
                return seen + await received(client, 100)

    assert asyncio.run(main()) == [event.body for event in events]


def test_current_state_comes_before_what_was_missed() -> None:
    started, state, *others = encoded(STARTED, STATE, *EVERY[1:3])

    async def main() -> list[bytes]:
        async with journalled(in_memory()) as (journal, publisher):
            announce(journal, publisher, started, state, *others)
            async with subscribe(publisher, "?since=2") as client:
                return await received(client, 3)

    assert asyncio.run(main()) == [event.body for event in (state, *others)]


def test_stream_that_began_while_a_subscriber_was_away_is_told_from_its_start() -> None:
    of_mic = numbered(3)
    of_door = encoded(*EVERY[:3], stream="door")

    async def main() -> list[bytes]:
        async with journalled(in_memory()) as (journal, publisher):
            announce(journal, publisher, *of_mic[:2], *of_door, of_mic[2])
            async with subscribe(publisher, "?since=mic:2") as client:
                return await received(client, 4)

    told = asyncio.run(main())
    assert sorted(told) == sorted(event.body for event in (*of_door, of_mic[2]))


def test_stream_that_a_client_knows_and_of_which_nothing_is_kept_is_reported_as_a_gap() -> None:
    journal = Journal(None, "node", JournalSettings(max_events=10))

    async def main() -> dict[str, Any]:
        async with journalled(journal) as (_, publisher):
            announce(journal, publisher, *encoded(*EVERY[:3], stream="door"), *numbered(64))
            assert journal.sources == ("/stser/node/mic",)
            async with subscribe(publisher, "?since=64,door:1") as client:
                (told,) = await received(client, 1)
        gap: dict[str, Any] = json.loads(told)
        return gap

    gap = asyncio.run(main())
    assert gap["source"] == "/stser/node/door"
    assert [int(gap["data"][end]) for end in ("from_sequence", "to_sequence")] == [2, 3]


def test_what_the_journal_no_longer_has_is_reported_as_a_gap() -> None:
    events = numbered(64)
    journal = Journal(None, "node", JournalSettings(max_events=10))

    async def main() -> list[dict[str, Any]]:
        async with journalled(journal) as (_, publisher):
            announce(journal, publisher, *events)
            async with subscribe(publisher, "?since=5") as client:
                return [json.loads(body) for body in await received(client, 11)]

    gap, *rest = asyncio.run(main())
    assert gap["type"] == "org.stser.stream.gap.v1"
    assert (int(gap["data"]["from_sequence"]), int(gap["data"]["to_sequence"])) == (6, 54)
    assert (gap["data"]["dropped"], gap["data"]["reason"]) == (49, "expired")
    assert [int(event["sequence"]) for event in rest] == list(range(55, 65))


def test_sequence_from_before_the_journal_was_removed_is_answered_with_a_gap() -> None:
    events = numbered(3)

    async def main() -> list[dict[str, Any]]:
        async with journalled(in_memory()) as (journal, publisher):
            announce(journal, publisher, *events[:2])
            async with subscribe(publisher, "?since=99999999999999999999") as client:
                (gap,) = await received(client, 1)
                await subscribed(publisher)
                announce(journal, publisher, events[2])
                return [json.loads(body) for body in (gap, *await received(client, 1))]

    gap, event = asyncio.run(main())
    assert (gap["data"]["reason"], gap["data"]["dropped"]) == ("journal_lost", 2)
    assert event["sequence"] == "00000000000000000003"


def test_past_is_filtered_as_the_present_is() -> None:
    events = encoded(*EVERY)

    async def main() -> dict[str, Any]:
        async with journalled(in_memory()) as (journal, publisher):
            announce(journal, publisher, *events)
            query = "?since=0&types=emotion.utterance&transcript=0"
            async with subscribe(publisher, query) as client:
                return json.loads((await received(client, 1))[0])

    event = asyncio.run(main())
    assert event["type"] == "org.stser.emotion.utterance.v1"
    assert event["data"]["transcript"] is None


@pytest.mark.parametrize("had", [5, 999])
def test_subscriber_is_told_of_no_loss_in_a_stream_that_it_did_not_ask_for(had: int) -> None:
    of_door = encoded(*[SpeechBegan(1, 0)] * 64, stream="door")
    (of_mic,) = numbered(1)
    journal = Journal(None, "node", JournalSettings(max_events=10))

    async def main() -> list[bytes]:
        async with journalled(journal) as (_, publisher):
            announce(journal, publisher, *of_door, of_mic)
            async with subscribe(publisher, f"?stream=mic&since=0,door:{had}") as client:
                return await received(client, 1)

    assert asyncio.run(main()) == [of_mic.body]


def test_past_of_which_a_subscriber_wants_nothing_does_not_hold_up_the_others() -> None:
    async def turns(subscribers: set[Subscriber]) -> int:
        """Of the event loop, while a subscriber is told the past."""
        count = 0
        while not any(subscriber.live for subscriber in subscribers):
            count += len(subscribers)
            await asyncio.sleep(0)
        return count

    async def main() -> int:
        async with journalled(in_memory()) as (journal, publisher):
            for event in numbered(1_000):
                journal.append(event)
            counting = asyncio.create_task(turns(publisher._events.subscribers))
            async with subscribe(publisher, "?types=mark&since=0"):
                return await counting

    assert asyncio.run(main()) >= 9


# --- slow and stuck clients --------------------------------------------------------------------


def stuck_client(port: int) -> socket.socket:
    """A client that shakes hands and then reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", port))
    client.sendall(
        b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    assert client.recv(12) == b"HTTP/1.1 101"
    return client


def long_ones(count: int) -> list[WireEvent]:
    """Events of 50 KB: what the operating system buffers for a client is soon full."""
    return [
        replace(event, body=b'{"sequence":"%020d","rest":"%s"}' % (event.sequence, b"x" * 50_000))
        for event in numbered(count)
    ]


def test_slow_client_is_told_what_it_missed_and_gets_the_newest() -> None:
    *events, last = long_ones(401)

    async def main() -> list[dict[str, Any]]:
        async with (
            serving(queue_events=5) as publisher,
            subscribe(publisher, max_queue=1) as client,
        ):
            await subscribed(publisher)
            # All in one go: the client has no chance to read in between.
            for event in events:
                publisher.publish(event)
            seen: list[dict[str, Any]] = []
            while not seen or seen[-1].get("sequence") != f"{events[-1].sequence:020d}":
                seen += [json.loads(body) for body in await received(client, 1)]
            publisher.publish(last)
            return seen + [json.loads(body) for body in await received(client, 1)]

    seen = asyncio.run(main())
    (at,) = (i for i, event in enumerate(seen) if event.get("type") == "org.stser.stream.gap.v1")
    gap = seen[at]["data"]
    told = [int(event["sequence"]) for event in seen[:at] + seen[at + 1 :]]
    missed = list(range(int(gap["from_sequence"]), int(gap["to_sequence"]) + 1))
    assert told[:at] + missed + told[at:] == list(range(1, 402))
    assert (gap["dropped"], gap["reason"]) == (len(missed), "slow_client")
    assert told[at:] == [396, 397, 398, 399, 400, 401]


def test_what_the_system_keeps_for_a_client_that_reads_nothing_is_bounded() -> None:
    async def main() -> int:
        async with serving(queue_events=1, send_timeout_s=DEADLINE_S) as publisher:
            with await asyncio.to_thread(stuck_client, port_of(publisher)):
                await subscribed(publisher)
                (client,) = publisher._events.subscribers
                for number, event in enumerate(long_ones(100), 1):
                    publisher.publish(event)
                    if len(client.outbox):
                        return number
        raise AssertionError("5 MB were buffered for it")

    assert asyncio.run(main()) * 50_000 < 1_000_000


def test_client_that_takes_nothing_is_dropped_and_the_others_notice_nothing() -> None:
    long = long_ones(200)

    async def main() -> None:
        async with (
            serving(send_timeout_s=0.2, queue_events=300) as publisher,
            subscribe(publisher) as reading,
        ):
            with await asyncio.to_thread(stuck_client, port_of(publisher)):
                await subscribed(publisher, 2)
                for event in long:
                    publisher.publish(event)
                assert len(await received(reading, len(long))) == len(long)
                await subscribed(publisher, 1)

    asyncio.run(main())


def test_end_of_the_monitor_reaches_clients_after_the_last_event_despite_a_stuck_one() -> None:
    (event,) = numbered(1)

    async def main() -> tuple[list[bytes], int | None]:
        publisher = on_port(WebSocketSettings(port=0), in_memory())
        async with asyncio.timeout(DEADLINE_S), publisher._journal, publisher:
            client = await subscribe(publisher)
            stuck = await asyncio.to_thread(stuck_client, port_of(publisher))
            await subscribed(publisher, 2)
            publisher.publish(event)
            reading = asyncio.create_task(all_of(client))
        stuck.close()
        return await reading, client.close_code

    async def all_of(client: ClientConnection) -> list[bytes]:
        return [str(message).encode() async for message in client]

    assert asyncio.run(main()) == ([event.body], 1001)


# --- who is let in -----------------------------------------------------------------------------


def test_one_client_more_than_the_limit_is_refused_until_another_leaves() -> None:
    async def main() -> None:
        async with serving(max_clients=1) as publisher:
            async with subscribe(publisher):
                await subscribed(publisher)
                with pytest.raises(InvalidStatus) as refused:
                    await subscribe(publisher)
                assert refused.value.response.status_code == 503
            await subscribed(publisher, 0)
            async with subscribe(publisher):
                pass

    asyncio.run(main())


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:{port}", True),
        ("https://robots.example", True),
        ("http://evil.example", False),
        ("null", False),
        ("http://127.0.0.1:1", False),
    ],
)
def test_only_pages_of_the_monitor_and_of_listed_origins_may_subscribe(
    origin: str | None, allowed: bool
) -> None:
    async def main() -> int:
        async with serving(allow_origins=("https://robots.example",)) as publisher:
            given = origin and origin.format(port=port_of(publisher))
            try:
                async with subscribe(publisher, origin=given):
                    return 101
            except InvalidStatus as refused:
                return refused.response.status_code

    assert asyncio.run(main()) == (101 if allowed else 403)


@pytest.mark.parametrize("path", ["/", "/events", "/healthz"])
def test_name_re_bound_to_this_machine_is_refused(path: str) -> None:
    async def main() -> int:
        async with serving() as publisher:
            return (await page(publisher, path, Host="evil.example"))[0]

    assert asyncio.run(main()) == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_address_that_others_can_reach_is_refused_with_the_remedy(host: str) -> None:
    with pytest.raises(ValueError, match=r"not a loopback address.*--ws-token-file"):
        WebSocketSettings(host=host)
    WebSocketSettings(host=host, enabled=False)


def test_host_that_is_no_name_is_refused_in_one_line(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)

    async def main() -> None:
        async with on_port(WebSocketSettings(host="a..b", token_file=token), in_memory()):
            pass

    with pytest.raises(PublishError, match=r"cannot listen on a\.\.b:8765 \(encoding .*--no-ws"):
        asyncio.run(main())


# --- pages -------------------------------------------------------------------------------------


def test_dashboard_comes_whole_and_lets_nothing_from_elsewhere_in() -> None:
    async def main() -> None:
        async with serving() as publisher:
            for path in load_pages():
                status, headers, body = await page(publisher, path)
                assert (status, headers["X-Content-Type-Options"]) == (200, "nosniff")
                assert "default-src 'none'" in headers["Content-Security-Policy"]
                assert body
            _, headers, body = await page(publisher, "/")
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert b"<title>STSER Monitor</title>" in body
            assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")

    asyncio.run(main())


def test_schema_of_every_kind_is_served_where_the_events_say() -> None:
    async def main() -> None:
        async with serving() as publisher:
            for kind in (*KINDS, *ON_REQUEST):
                status, headers, body = await page(publisher, f"/schemas/{kind}.v1.json")
                assert (status, headers["Content-Type"]) == (200, "application/schema+json")
                assert kind in json.loads(body)["title"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing", "GET", 404),
        ("/../monitor.toml", "GET", 404),
        ("/%2e%2e/settings.py", "GET", 404),
        ("/schemas/", "GET", 404),
        ("/events", "GET", 426),
        ("/", "HEAD", 200),
    ],
)
def test_what_is_not_served_has_its_status(path: str, method: str, status: int) -> None:
    async def main() -> tuple[int, Any, Any]:
        async with serving() as publisher:
            return await page(publisher, path, method)

    assert asyncio.run(main())[0] == status


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 70_000), ("max_clients", 0), ("queue_events", 0), ("send_timeout_s", 0.0)],
)
def test_setting_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"websocket\.{name}"):
        WebSocketSettings(**{name: value})  # type: ignore[arg-type]


def test_errors_that_only_the_other_side_can_cause_fill_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # websockets says these for a request with something behind it and for half a request (make fuzz).
    connections = logging.getLogger("monitor.publish.websocket.connections")
    connections.error("unexpected internal error")
    connections.error("opening handshake failed")
    connections.error("connection handler failed")
    assert caplog.messages == ["connection handler failed"]


def test_stream_of_which_nothing_was_kept_and_that_goes_on_during_the_past_is_told_from_there() -> (
    None
):
    now = 1e9
    *expired, news = encoded(*[SpeechBegan(1, 0)] * 6, stream="door")
    past = numbered(3_000)  # more than the connection holds while nobody reads

    async def main() -> list[str]:
        nonlocal now
        journal = Journal(None, "node", JournalSettings(max_age_h=1.0), lambda: now, lambda: now)
        async with (
            asyncio.timeout(DEADLINE_S),
            journal,
            on_port(WebSocketSettings(port=0), journal) as publisher,
        ):
            announce(journal, publisher, *expired)
            now += 3_601
            announce(journal, publisher, *past)
            assert journal.sources == (past[0].source,)
            async with subscribe(publisher, "?since=0", max_queue=1) as client:
                await client.recv()
                announce(journal, publisher, news)
                told = [json.loads(await client.recv()) for _ in past]
        return [event["type"] for event in told if event["source"] == news.source]

    assert asyncio.run(main()) == ["org.stser.speech.started.v1"]
