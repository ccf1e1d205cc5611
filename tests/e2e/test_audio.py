"""Audio of clients: the protocol of vosk-server against the program as a user starts it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from monitor.events import SAMPLE_RATE_HZ, Samples
from tests.support.monitor_process import RunningMonitor, running_monitor
from tests.support.speech import silence, spoken

Answer = dict[str, Any]


def pcm(samples: Samples) -> bytes:
    return np.rint(samples * 32_767).astype("<i2").tobytes()


@asynccontextmanager
async def monitor_without_microphone(*flags: str) -> AsyncIterator[tuple[RunningMonitor, str]]:
    fixed = ("--device", "none", "--ws-port", "0", "--journal", "off", "--node", "node")
    async with running_monitor(*fixed, *flags) as monitor:
        yield monitor, f"ws://127.0.0.1:{await monitor.port()}"


async def in_lock_step(
    client: ClientConnection, samples: Samples, rate_hz: int = SAMPLE_RATE_HZ
) -> list[Answer]:
    """As vosk-server's own clients do: after each block of 0.2 s, wait for one answer."""
    block = 2 * rate_hz // 5
    data, answers = pcm(samples), []
    for at in range(0, len(data), block):
        await client.send(data[at : at + block])
        answers.append(json.loads(await client.recv()))
    await client.send('{"eof" : 1}')
    return [*answers, json.loads(await client.recv())]


async def rest_of(client: ClientConnection) -> list[Answer]:
    return [json.loads(message) async for message in client]


TALK = np.concatenate(
    [spoken("leave me alone", after_s=1.0), spoken("i am so happy today", after_s=1.0)]
)


def test_client_in_lock_step_gets_words_with_the_emotion_beside_them_and_then_the_events() -> None:
    async def main() -> tuple[list[Answer], list[Answer], int]:
        async with (
            monitor_without_microphone() as (_, url),
            connect(f"{url}/audio") as client,
        ):
            await client.send('{ "config" : { "sample_rate" : 16000 } }')
            answers = await in_lock_step(client, TALK)
            events = await rest_of(client)
            assert client.close_code is not None
            return answers, events, client.close_code

    answers, events, code = asyncio.run(main())
    texts = [answer for answer in answers if "text" in answer]
    assert texts[0]["text"] == "leave me alone"
    assert [word["word"] for word in texts[0]["result"]] == ["leave", "me", "alone"]
    assert texts[0]["result"][0].keys() == {"conf", "start", "end", "word"}
    assert "happy" in texts[1]["text"]
    assert texts[1]["emotion"]["posterior"].keys() == {"angry", "happy", "neutral", "sad"}
    assert "leave me" in {answer.get("partial") for answer in answers}
    assert texts[-1] == {"text": ""}  # all had been said before the end
    utterances = [e for e in events if e["type"] == "org.stser.emotion.utterance.v1"]
    assert [u["data"] for u in utterances] == [t["emotion"] for t in texts if "emotion" in t]
    assert {event["source"] for event in events} == {"/stser/node/audio-1"}
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert (events[-1]["type"], code) == ("org.stser.monitor.stopped.v1", 1000)


def test_utterance_that_the_end_cuts_off_is_in_the_last_answer() -> None:
    async def main() -> Answer:
        async with monitor_without_microphone() as (_, url), connect(f"{url}/audio") as client:
            return (await in_lock_step(client, spoken("leave me alone", after_s=0)))[-1]

    last = asyncio.run(main())
    assert last["text"].startswith("leave me")
    assert last["emotion"]["final"] is True


def test_events_come_as_they_happen_where_they_are_asked_for_and_to_subscribers_too() -> None:
    async def main() -> tuple[list[Answer], list[Answer]]:
        async with (
            monitor_without_microphone() as (_, url),
            connect(f"{url}/events?stream=kitchen") as subscriber,
            connect(f"{url}/audio?stream=kitchen") as client,
        ):
            await client.send('{"config":{"sample_rate":16000,"events":true}}')
            await client.send(pcm(TALK))
            await client.send('{"eof":1}')
            told = await rest_of(client)
            heard = [json.loads(await subscriber.recv()) for _ in told if "specversion" in _]
            return told, heard

    told, heard = asyncio.run(main())
    events = [message for message in told if "specversion" in message]
    assert events == heard
    first_text = next(i for i, message in enumerate(told) if "text" in message)
    started = next(i for i, m in enumerate(told) if m.get("type", "").endswith("speech.started.v1"))
    assert started < first_text
    assert any(e["type"] == "org.stser.emotion.provisional.v1" for e in events)
    assert told[-1] == {"text": ""}


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_any_sample_rate_is_heard(rate_hz: int) -> None:
    samples = soxr.resample(spoken("leave me alone", after_s=1.0), SAMPLE_RATE_HZ, rate_hz)

    async def main() -> list[Answer]:
        async with monitor_without_microphone() as (_, url), connect(f"{url}/audio") as client:
            await client.send(json.dumps({"config": {"sample_rate": rate_hz}}))
            return await in_lock_step(client, np.clip(samples, -1, 1), rate_hz)

    texts = [answer for answer in asyncio.run(main()) if "emotion" in answer]
    assert len(texts) == 1
    assert texts[0]["emotion"]["modalities"][0] == "speech"


def test_streams_of_clients_hurt_no_other_and_each_has_its_own_words() -> None:
    async def main() -> list[list[Answer]]:
        async with monitor_without_microphone() as (_, url):
            texts = ("leave me alone", "i am so happy today", "that is wonderful news")

            async def talk(text: str) -> list[Answer]:
                async with connect(f"{url}/audio") as client:
                    return await in_lock_step(client, spoken(text, after_s=1.0))

            async def misbehave() -> list[Answer]:
                async with connect(f"{url}/audio") as client:
                    await client.send(pcm(spoken("leave me alone"))[:-1])
                    with pytest.raises(ConnectionClosed) as closed:
                        await client.recv()
                    assert closed.value.rcvd is not None
                    assert closed.value.rcvd.code == 1007
                    assert "two bytes a sample" in closed.value.rcvd.reason
                    return []

            return await asyncio.gather(*map(talk, texts), misbehave())

    first, second, third, _ = asyncio.run(main())
    assert any(answer.get("text") == "leave me alone" for answer in first)
    assert any("happy" in answer.get("text", "") for answer in second)
    assert any("news" in answer.get("text", "") for answer in third)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("hello", 1007, "JSON with config, eof or reset"),
        ('{"mute":1}', 1007, "JSON with config, eof or reset"),
        ('{"config":{"sample_rate":"high"}}', 1007, "sample_rate"),
        ('{"config":{"sample_rate":4000}}', 1007, "8000"),
        ('{"config":{"sample_rate":"%s"}}' % (100 * "é"), 1007, "sample_rate"),
        ('{"config":7}', 1007, "JSON object"),
        (b"x" * ((1 << 20) + 2), 1009, ""),
    ],
)
def test_message_that_cannot_be_used_ends_the_stream_with_the_reason(
    message: str | bytes, code: int, reason: str
) -> None:
    async def main() -> None:
        async with (
            monitor_without_microphone("--no-asr") as (_, url),
            connect(f"{url}/audio") as client,
        ):
            await client.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
            assert reason in closed.value.rcvd.reason

    asyncio.run(main())


def test_silent_client_is_let_go_and_its_last_words_are_judged(tmp_path: Any) -> None:
    settings = tmp_path / "monitor.toml"
    settings.write_text("[audio]\nidle_timeout_s = 0.3\n")

    async def main() -> list[Answer]:
        flags = ("--no-asr", "--config", str(settings))
        async with (
            monitor_without_microphone(*flags) as (monitor, url),
            connect(f"{url}/audio") as client,
        ):
            await client.send(pcm(spoken("leave me alone", after_s=0)))
            await client.recv()
            with pytest.raises(ConnectionClosed, match=r"nothing came for 0\.3 s"):
                await client.recv()
            return await monitor.wait_for("emotion.utterance")

    (utterance,) = asyncio.run(main())
    assert utterance["source"] == "/stser/node/audio-1"


@pytest.mark.parametrize(
    ("query", "status"), [("?stream=a/b", 400), ("?name=a", 400), ("?stream=kitchen", 409)]
)
def test_name_that_cannot_be_had_is_refused(query: str, status: int) -> None:
    async def main() -> None:
        async with (
            monitor_without_microphone("--no-asr") as (_, url),
            connect(f"{url}/audio?stream=kitchen") as client,
        ):
            await client.send(pcm(silence(0.1)))
            await client.recv()
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{url}/audio{query}")
            assert refused.value.response.status_code == status

    asyncio.run(main())


def test_clients_beyond_the_limit_are_refused_until_one_leaves(tmp_path: Any) -> None:
    settings = tmp_path / "monitor.toml"
    settings.write_text("[audio]\nmax_streams = 1\n")

    async def main() -> None:
        async with monitor_without_microphone("--no-asr", "--config", str(settings)) as (_, url):
            async with connect(f"{url}/audio") as first:
                await first.send(pcm(silence(0.1)))
                await first.recv()
                with pytest.raises(InvalidStatus) as refused:
                    await connect(f"{url}/audio")
                assert refused.value.response.status_code == 503
                await first.send('{"eof":1}')
                await rest_of(first)
            async with connect(f"{url}/audio") as second:
                await second.send(pcm(silence(0.1)))
                assert json.loads(await second.recv()) == {"partial": ""}

    asyncio.run(main())


def test_audio_that_comes_behind_a_wrong_token_is_not_heard(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(32 * "t")

    async def main() -> tuple[int, list[bytes]]:
        flags = ("--no-asr", "--ws-token-file", str(token))
        async with monitor_without_microphone(*flags) as (monitor, url):
            async with connect(f"{url}/audio?stream=stranger") as client:
                for message in ("wrong", "x", pcm(TALK), '{"eof":1}'):
                    await client.send(message)
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
            assert closed.value.rcvd is not None
            assert await monitor.end() == 0
        return closed.value.rcvd.code, monitor.lines

    assert asyncio.run(main()) == (1008, [])


def test_words_are_kept_from_clients_where_they_are_kept_out_of_events() -> None:
    async def main() -> list[Answer]:
        async with (
            monitor_without_microphone("--no-transcript") as (_, url),
            connect(f"{url}/audio") as client,
        ):
            return await in_lock_step(client, TALK)

    answers = asyncio.run(main())
    assert not {word for answer in answers for word in answer.get("partial", "").split()}
    assert {answer["text"] for answer in answers if "text" in answer} == {""}


def test_monitor_that_stops_says_so_to_clients_and_publishes_their_last_words() -> None:
    async def main() -> tuple[int, str, list[Answer]]:
        async with (
            monitor_without_microphone("--no-asr") as (monitor, url),
            connect(f"{url}/audio") as client,
        ):
            await client.send(pcm(spoken("leave me alone", after_s=0)))
            await client.recv()
            code = await monitor.end()
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            return code, closed.value.rcvd.reason, monitor.of("emotion.utterance")

    code, reason, utterances = asyncio.run(main())
    assert (code, reason, len(utterances)) == (0, "the monitor stops", 1)
