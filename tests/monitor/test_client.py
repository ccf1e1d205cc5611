"""The client, with a real server: what it hands over, in which order, and what it does not put up with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from monitor import client
from monitor.client import ClientError, Event, MonitorClient
from monitor.events import Happening, SpeechBegan, WireEvent
from monitor.publish.journal import Journal, JournalSettings
from monitor.publish.websocket import WebSocketPublisher, WebSocketSettings
from tests.monitor.publish.test_websocket import subscribed
from tests.support.happenings import STATE, UTTERANCE, announce, encoded, in_memory
from tests.support.port import on_port
from tests.support.processes import free_port

DEADLINE_S = 20.0
TOKEN = 32 * "t"


class Served:
    """A journal and its port, which may go away and come back."""

    def __init__(self, journal: Journal, publisher: WebSocketPublisher) -> None:
        self._journal = journal
        self._publisher = publisher
        self.url = publisher.url

    def announce(self, *events: WireEvent) -> None:
        announce(self._journal, self._publisher, *events)


@asynccontextmanager
async def serving(port: int = 0, kept: int = 1_000, **settings: Any) -> AsyncIterator[Served]:
    journal = Journal(None, "node", JournalSettings(max_events=kept))
    async with (
        asyncio.timeout(DEADLINE_S),
        journal,
        on_port(WebSocketSettings(port=port, **settings), journal) as publisher,
    ):
        yield Served(journal, publisher)


async def take(client: MonitorClient, count: int) -> list[Event]:
    """The first events that the client hands over."""
    events: list[Event] = []
    async with aclosing(aiter(client)) as stream:  # type: ignore[type-var]
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    return events


def begun(count: int) -> list[Happening]:
    return [SpeechBegan(number, 0) for number in range(1, count + 1)]


def numbers(events: list[Event]) -> list[int | None]:
    return [event.sequence for event in events]


@pytest.mark.parametrize("ending", ["", "/", "/events"])
def test_client_hands_over_every_event_as_it_was_announced(ending: str) -> None:
    async def main() -> list[Event]:
        async with serving() as served:
            served.announce(*encoded(UTTERANCE, *begun(2)))
            return await take(MonitorClient(served.url.rstrip("/") + ending, since=0), 3)

    utterance, *begins = asyncio.run(main())
    assert (utterance.kind, utterance.source) == ("emotion.utterance", "/stser/node/mic")
    assert utterance.time.isoformat() == "2026-01-02T12:00:00.005000+00:00"
    assert utterance.data["transcript"]["text"] == "leave me"
    assert numbers([utterance, *begins]) == [1, 2, 3]


def test_types_and_transcript_choose_what_is_sent() -> None:
    async def main() -> list[Event]:
        async with serving() as served:
            served.announce(*encoded(*begun(2), UTTERANCE, *begun(2), UTTERANCE))
            client = MonitorClient(
                served.url, since=0, types=["emotion.utterance"], transcript=False
            )
            return await take(client, 2)

    events = asyncio.run(main())
    assert numbers(events) == [3, 6]
    assert [event.data["transcript"] for event in events] == [None, None]


@pytest.mark.parametrize("since", range(6))
def test_events_missed_come_once_and_in_order_though_the_state_is_told_first(since: int) -> None:
    """The third event is the current state, which the server says ahead of all that was missed."""

    async def main() -> list[Event]:
        async with serving() as served:
            served.announce(*encoded(*begun(2), STATE, *begun(3)))
            return await take(MonitorClient(served.url, since=since), 6 - since)

    assert numbers(asyncio.run(main())) == list(range(since + 1, 7))


def test_client_that_starts_anew_begins_with_the_current_state() -> None:
    async def main() -> list[Event]:
        async with serving() as served:
            served.announce(*encoded(*begun(2), STATE, *begun(3)))
            return await take(MonitorClient(served.url), 1)

    (event,) = asyncio.run(main())
    assert (event.kind, event.sequence) == ("emotion.state", 3)


def test_state_that_nothing_follows_is_handed_over_though_the_journal_has_lost_it() -> None:
    async def main() -> tuple[list[Event], Any]:
        async with serving(kept=2) as served:
            served.announce(*encoded(*begun(10), STATE, *begun(117)))  # 128 events: 126 expire
            client = MonitorClient(served.url, since=0)
            return await take(client, 4), client.since

    (state, gap, *rest), since = asyncio.run(main())
    assert (state.kind, state.sequence) == ("emotion.state", 11)
    assert (gap.kind, gap.sequence, gap.data["reason"]) == ("stream.gap", None, "expired")
    assert (gap.data["dropped"], numbers(rest), since) == (126, [127, 128], {"mic": 128})


def test_monitor_that_has_forgotten_its_numbers_is_followed_all_the_same() -> None:
    """A monitor without a journal numbers anew after a restart."""

    async def main() -> tuple[list[Event], Any]:
        async with serving() as served:
            events = encoded(STATE, *begun(3))
            served.announce(*events[:3])
            client = MonitorClient(served.url, since=50)
            stream = aiter(client)
            seen = [await anext(stream), await anext(stream)]
            served.announce(events[3])
            return [*seen, await anext(stream)], client.since

    (state, gap, news), since = asyncio.run(main())
    assert (state.kind, gap.data["reason"]) == ("emotion.state", "journal_lost")
    assert (news.sequence, since) == (4, {"mic": 4})


def test_client_connects_again_and_goes_on_after_the_last_event(tmp_path: Path) -> None:
    port = free_port()
    events = encoded(*begun(3), STATE, *begun(3))

    async def main() -> list[Event]:
        client = MonitorClient(f"ws://127.0.0.1:{port}", since=0, wait_least_s=0.01)
        seen: list[Event] = []
        stream = aiter(client)
        async with asyncio.timeout(DEADLINE_S):
            first = asyncio.ensure_future(anext(stream))  # nobody is there yet
            await asyncio.wait([first], timeout=0.05)
            assert not first.done()
            for part in (events[:2], events[2:4], events[4:]):
                path = tmp_path / "journal.sqlite3"
                async with (
                    Journal(path, "node", JournalSettings()) as journal,
                    on_port(WebSocketSettings(port=port), journal) as publisher,
                ):
                    announce(journal, publisher, *part)
                    for _ in part:
                        seen.append(await (first if not seen else anext(stream)))
        return seen

    assert numbers(asyncio.run(main())) == [1, 2, 3, 4, 5, 6, 7]


def test_client_of_several_streams_goes_on_after_the_last_event_of_each(tmp_path: Path) -> None:
    port = free_port()
    of_mic = encoded(*begun(2), STATE, *begun(3))
    of_door = encoded(*begun(1), STATE, *begun(4), stream="door")
    since = {"mic": 0, "door": 0}

    async def main() -> list[Event]:
        client = MonitorClient(f"ws://127.0.0.1:{port}", since=since, wait_least_s=0.01)
        seen: list[Event] = []
        stream = aiter(client)
        async with asyncio.timeout(DEADLINE_S):
            for part in (slice(0, 1), slice(1, 3), slice(3, 6)):
                events = [*of_door[part], *of_mic[part]]
                async with (
                    Journal(tmp_path / "journal", "node", JournalSettings()) as journal,
                    on_port(WebSocketSettings(port=port), journal) as publisher,
                ):
                    announce(journal, publisher, *events)
                    seen += [await anext(stream) for _ in events]
        assert client.since == {"mic": 6, "door": 6}
        return seen

    seen = asyncio.run(main())
    for name in ("mic", "door"):
        assert numbers([event for event in seen if event.stream == name]) == [1, 2, 3, 4, 5, 6]


def test_stream_that_begins_while_the_connection_is_away_is_told_whole(tmp_path: Path) -> None:
    port = free_port()
    of_mic, of_door = encoded(*begun(3)), encoded(*begun(2), STATE, *begun(1), stream="door")

    async def main() -> list[Event]:
        client = MonitorClient(f"ws://127.0.0.1:{port}", since=0, wait_least_s=0.01)
        stream = aiter(client)
        seen: list[Event] = []
        async with asyncio.timeout(DEADLINE_S):
            for part in (of_mic[:2], [*of_door, of_mic[2]]):
                async with Journal(tmp_path / "journal", "node", JournalSettings()) as journal:
                    for event in part:
                        journal.append(event)
                    async with on_port(WebSocketSettings(port=port), journal):
                        seen += [await anext(stream) for _ in part]
        return seen

    seen = asyncio.run(main())
    assert numbers([event for event in seen if event.stream == "mic"]) == [1, 2, 3]
    assert numbers([event for event in seen if event.stream == "door"]) == [1, 2, 3, 4]


def test_client_of_many_streams_connects_again_and_goes_on_after_those_it_heard_last() -> None:
    port, names = free_port(), [f"call-{number:027d}" for number in range(250)]
    of_first = encoded(*begun(3), stream=names[0])
    of_second = encoded(*begun(2), stream=names[1])

    async def main() -> list[Event]:
        stream = aiter(MonitorClient(f"ws://127.0.0.1:{port}", wait_least_s=0.01))
        first = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(DEADLINE_S), in_memory() as journal:
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                await subscribed(publisher)
                announce(journal, publisher, of_first[0], of_second[0])
                for name in names[2:]:
                    announce(journal, publisher, *encoded(*begun(1), stream=name))
                announce(journal, publisher, of_first[1])
                seen = [await first, *[await anext(stream) for _ in names]]
            journal.append(of_first[2])
            journal.append(of_second[1])
            async with on_port(WebSocketSettings(port=port), journal):
                return [*seen, await anext(stream), await anext(stream)]

    seen = [(event.stream, event.sequence) for event in asyncio.run(main())]
    assert seen[:251] == [*((name, 1) for name in names), (names[0], 2)]
    assert seen[251:] == [(names[0], 3), (names[1], 2)]


def test_client_that_starts_anew_is_told_nothing_older_over_an_interruption() -> None:
    port = free_port()
    *before, news = encoded(STATE, *begun(4))

    async def main() -> list[Event]:
        stream = aiter(MonitorClient(f"ws://127.0.0.1:{port}", wait_least_s=0.01))
        async with asyncio.timeout(DEADLINE_S), in_memory() as journal:
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                announce(journal, publisher, *before)
                state = await anext(stream)
            following = asyncio.ensure_future(anext(stream))
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                publisher.publish(before[0])  # its state is the current one still
                await subscribed(publisher)
                announce(journal, publisher, news)
                return [state, await following]

    assert numbers(asyncio.run(main())) == [1, 5]


def test_first_state_of_a_stream_that_had_none_is_gone_on_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_WELCOME_S", 0.0)  # it comes later than any welcome
    port = free_port()
    states = encoded(STATE, STATE, STATE)

    async def main() -> list[Event]:
        stream = aiter(
            MonitorClient(f"ws://127.0.0.1:{port}", types=["emotion.state"], wait_least_s=0.01)
        )
        first = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(DEADLINE_S), in_memory() as journal:
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                await subscribed(publisher)
                announce(journal, publisher, states[0])
                seen = [await first]
            following = asyncio.ensure_future(anext(stream))
            journal.append(states[1])
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                await subscribed(publisher)
                announce(journal, publisher, states[2])
                return [*seen, await following, await anext(stream)]

    assert numbers(asyncio.run(main())) == [1, 2, 3]


def test_streams_choose_whose_events_are_sent() -> None:
    async def main() -> list[Event]:
        async with serving() as served:
            for name in ("mic", "door"):
                served.announce(*encoded(*begun(2), stream=name))
            client = MonitorClient(served.url, since={"mic": 0, "door": 0}, streams=["door"])
            return await take(client, 2)

    assert [(event.stream, event.sequence) for event in asyncio.run(main())] == [
        ("door", 1),
        ("door", 2),
    ]


def test_refusal_that_would_repeat_ends_the_client_with_what_the_monitor_said() -> None:
    async def main() -> None:
        async with serving() as served:
            await take(MonitorClient(served.url, types=["emotion.weather"]), 1)

    with pytest.raises(ClientError, match=r"400: .*emotion\.weather"):
        asyncio.run(main())


@pytest.mark.parametrize("token", [None, "wrong"])
def test_client_without_the_token_is_told_so(token: str | None, tmp_path: Path) -> None:
    async def main() -> None:
        # The server waits so long for the token in a message.
        async with serving(token_file=token_file(tmp_path), send_timeout_s=0.1) as served:
            await take(MonitorClient(served.url, token=token), 1)

    with pytest.raises(ClientError, match="token"):
        asyncio.run(main())


def test_client_with_the_token_is_let_in(tmp_path: Path) -> None:
    async def main() -> list[Event]:
        async with serving(token_file=token_file(tmp_path)) as served:
            served.announce(*encoded(*begun(1)))
            return await take(MonitorClient(served.url, token=TOKEN, since=0), 1)

    assert numbers(asyncio.run(main())) == [1]


def token_file(folder: Path) -> Path:
    path = folder / "token"
    path.touch(0o600)
    path.write_text(TOKEN)
    return path


@pytest.mark.parametrize("url", ["", "127.0.0.1:8765", "mqtt://127.0.0.1", "ws:///events"])
def test_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="no address of a monitor"):
        MonitorClient(url)


def test_state_of_a_silent_stream_is_told_while_another_one_never_rests() -> None:
    """The door's state is new to a client that knows only the microphone, and nothing more comes of the door."""
    of_mic = encoded(*begun(200))
    (state,) = encoded(STATE, stream="door")

    async def main() -> list[Event]:
        async with serving() as served:
            served.announce(state, of_mic[0])
            client = MonitorClient(served.url, since={"mic": 1})
            stream = aiter(client)
            seen: list[Event] = []
            for event in of_mic[1:]:
                served.announce(event)
                seen.append(await anext(stream))
                if seen[-1].stream == "door":
                    return seen
                await asyncio.sleep(0.02)  # never as long as the client waits
        return seen

    *before, told = asyncio.run(main())
    assert (told.kind, told.stream) == ("emotion.state", "door")
    assert numbers(before) == list(range(2, len(before) + 2))
