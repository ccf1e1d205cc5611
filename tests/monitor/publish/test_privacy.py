"""Words on one channel and not on another, through a real socket, a real broker and a real file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from monitor.publish.jsonl import JsonLines
from monitor.publish.websocket import WebSocketSettings
from tests.monitor.publish.test_mqtt import listening, messages, publisher_to
from tests.monitor.publish.test_websocket import DEADLINE_S, received, subscribe, subscribed
from tests.support.broker import Mosquitto
from tests.support.happenings import EVERY, announce, encoded, in_memory
from tests.support.monitor_process import run_monitor
from tests.support.port import on_port
from tests.support.speech import spoken, write_wav

EVENTS = [event for event in encoded(*EVERY) if event.sequence]
WHOLE = [event.body for event in EVENTS]
CHANNELS = ("output", "websocket", "mqtt")
WORDS = (b"leave", b'"me"')


async def told(
    mosquitto: Mosquitto, path: Path, query: str = "", **transcript: bool
) -> dict[str, list[bytes]]:
    """What subscribers have of the same events, which are also written to a file."""
    journal = in_memory()
    settings = WebSocketSettings(port=0, transcript=transcript["websocket"])
    async with (
        asyncio.timeout(DEADLINE_S),
        journal,
        on_port(settings, journal) as port,
        listening(mosquitto, "stser/node/mic/event/#") as client,
        publisher_to(mosquitto.url, journal, transcript=transcript["mqtt"]) as broker,
        JsonLines(path, transcript=transcript["output"]) as output,
    ):
        async with subscribe(port, query) as subscriber:
            await subscribed(port)
            for event in EVENTS:
                announce(journal, port, event)
                broker.publish(event)
                output.publish(event)
            seen = await received(subscriber, len(EVENTS))
        by_broker = [m.payload for m in await messages(client, len(EVENTS))]
        # What a client missed is told with no more than what it was told live.
        async with subscribe(port, "?since=0") as late:
            past = await received(late, len(EVENTS))
    if not query:
        assert past == seen
    return {"websocket": seen, "mqtt": by_broker}  # type: ignore[dict-item]


def by_channel(mosquitto: Mosquitto, path: Path, query: str = "", **transcript: bool) -> Any:
    """The same, with what was written to the file."""
    seen = asyncio.run(told(mosquitto, path, query, **transcript))
    return seen | {"output": path.read_bytes().splitlines()}


@pytest.mark.parametrize("silent", CHANNELS)
def test_words_are_kept_from_one_channel_and_the_others_have_the_very_bytes(
    silent: str, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with_words = {channel: channel != silent for channel in CHANNELS}
    seen = by_channel(mosquitto, tmp_path / "events", **with_words)
    for channel in CHANNELS:
        if channel == silent:
            assert not any(word in body for body in seen[channel] for word in WORDS)
            assert seen[channel] != WHOLE
        else:
            assert seen[channel] == WHOLE


def test_channels_without_words_have_the_same_bytes_as_who_asks_for_none(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    nowhere = dict.fromkeys(CHANNELS, False)
    seen = by_channel(mosquitto, tmp_path / "events", **nowhere)
    assert seen["output"] == seen["websocket"] == seen["mqtt"]
    everywhere = dict.fromkeys(CHANNELS, True)
    asked = by_channel(mosquitto, tmp_path / "asked", "?transcript=0", **everywhere)
    assert asked["websocket"] == seen["websocket"]
    # And all but the words is there.
    for whole, bare in zip(map(json.loads, WHOLE), map(json.loads, seen["mqtt"]), strict=True):
        assert without_words(whole) == bare


def without_words(event: Any) -> Any:
    data = event["data"]
    if "transcript" in data:
        data |= {"transcript": None, "salience": data["salience"] | {"words": []}}
    return event


@pytest.mark.parametrize("flags", [[], ["--format", "emotionml"], ["--format", "human"]])
def test_program_writes_no_words_where_the_settings_keep_them_from_its_output(
    flags: list[str], tmp_path: Path
) -> None:
    talk = write_wav(tmp_path / "talk.wav", spoken("leave me alone"))
    settings = tmp_path / "monitor.toml"
    settings.write_text("[output]\ntranscript = false\n")
    done = run_monitor("--input", talk, "--no-ws", "--config", settings, *flags)
    assert (done.code, b"leave" in done.output) == (0, False)
    assert done.output
