"""What the clients do that vosk-server publishes, against a monitor: nothing of them changes but the address.

https://github.com/alphacep/vosk-server, websocket/ and client-samples/: the order of messages is theirs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import soxr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from monitor.events import SAMPLE_RATE_HZ, Samples
from tests.e2e.test_audio import monitor_without_microphone, pcm
from tests.monitor.publish.test_asyncapi import rule_of
from tests.support.monitor_process import DEADLINE_S
from tests.support.speech import silence, spoken, write_wav

Answer = dict[str, Any]
TALK = np.concatenate([spoken("leave me alone", after_s=1.0), silence(0.5)])
END = '{"eof" : 1}'


def in_blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def at_rate(samples: Samples, rate_hz: int) -> Samples:
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ, rate_hz), np.float32)


async def one_for_one(client: ClientConnection, messages: list[bytes]) -> list[Answer]:
    """Send, wait for one answer, send the next; then the end, and one answer more."""
    answers = []
    for message in [*messages, END]:
        await client.send(message)
        answers.append(json.loads(await client.recv()))
    return answers


async def with_its_rate(client: ClientConnection, _: bytes) -> list[Answer]:
    """websocket/test.py and test_microphone.py: the rate first, then blocks of 0.2 s."""
    await client.send('{ "config" : { "sample_rate" : 8000 } }')
    return await one_for_one(client, in_blocks(pcm(at_rate(TALK, 8_000)), 3_200))


async def with_more_settings(client: ClientConnection, _: bytes) -> list[Answer]:
    """websocket/test_words.py: settings that only vosk-server knows, and a rate that is no integer."""
    await client.send(
        '{"config" : { "phrase_list" : ["zero one two"], "sample_rate" : 16000.0, "words" : 0,'
        ' "max_alternatives" : 0}}'
    )
    return await one_for_one(client, in_blocks(pcm(TALK), 8_000))


async def of_a_whole_file(client: ClientConnection, wav: bytes) -> list[Answer]:
    """websocket/test_srt.py, client-samples/python: a WAV file with its header, and no settings."""
    return await one_for_one(client, in_blocks(wav, 8_000))


async def of_whole_buffers(client: ClientConnection, wav: bytes) -> list[Answer]:
    """client-samples/java: the last buffer goes whole, with the rest of what was in it before."""
    *blocks, before, last = in_blocks(wav, 8_000)
    return await one_for_one(client, [*blocks, before, last + before[len(last) :]])


async def all_at_once(client: ClientConnection, wav: bytes) -> list[Answer]:
    """client-samples/node: everything, the end, and then what comes until the server closes."""
    for message in in_blocks(wav, 65_536):
        await client.send(message)
    await client.send(END)
    answers = [json.loads(message) async for message in client]
    assert client.close_code == 1000
    return [answer for answer in answers if "specversion" not in answer]


@pytest.mark.parametrize(
    "talk", [with_its_rate, with_more_settings, of_a_whole_file, of_whole_buffers, all_at_once]
)
def test_client_of_vosk_server_gets_its_words_and_the_emotion_beside_them(
    talk: Callable[[ClientConnection, bytes], Awaitable[list[Answer]]], tmp_path: Path
) -> None:
    wav = write_wav(tmp_path / "test.wav", TALK).read_bytes()

    async def main() -> list[Answer]:
        async with (
            asyncio.timeout(DEADLINE_S),
            monitor_without_microphone() as (_, url),
            connect(f"{url}/audio") as client,
        ):
            return await talk(client, wav)

    answers = asyncio.run(main())
    for answer in answers:
        kind = "audio.partial" if "partial" in answer else "audio.result"
        jsonschema.validate(answer, rule_of(kind))
    (told,) = (answer for answer in answers if answer.get("text"))
    assert told["text"] == "leave me alone"
    # As test_srt.py reads them.
    assert [word["word"] for word in told["result"]] == ["leave", "me", "alone"]
    assert 0 < told["result"][0]["start"] < told["result"][-1]["end"] < 3
    assert sum(told["emotion"]["posterior"].values()) == pytest.approx(1)
    assert "text" in answers[-1]


def test_page_that_sends_what_the_browser_gives_it_and_leaves_without_waiting() -> None:
    """client-samples/javascript: 8 kHz that it never speaks of, 128 samples at a time; the end, and gone."""
    messages = in_blocks(pcm(at_rate(TALK, 8_000)), 256)

    async def main() -> tuple[list[Answer], list[Answer], str]:
        answers: list[Answer] = []
        async with (
            asyncio.timeout(DEADLINE_S),
            monitor_without_microphone() as (monitor, url),
        ):
            async with connect(f"{url}/audio?sample_rate=8000") as client:

                async def listen() -> None:
                    answers.extend([json.loads(message) async for message in client])

                listening = asyncio.create_task(listen())
                for message in messages:
                    await client.send(message)
                await client.send(END)
            await listening
            utterances = await monitor.wait_for("emotion.utterance")
            await monitor.wait_for("monitor.stopped")
            return answers, utterances, monitor.log

    answers, (utterance,), log = asyncio.run(main())
    assert utterance["data"]["transcript"]["text"] == "leave me alone"
    assert all("partial" in answer or "text" in answer for answer in answers)
    assert "Traceback" not in log


@pytest.mark.parametrize("query", ["sample_rate=fast", "sample_rate=100", "rate=8000"])
def test_address_that_makes_no_sense_is_refused_with_what_is_known(query: str) -> None:
    async def main() -> str:
        async with monitor_without_microphone() as (_, url):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{url}/audio?{query}")
            assert refused.value.response.status_code == 400
            return bytes(refused.value.response.body or b"").decode()

    assert "sample" in asyncio.run(main())
