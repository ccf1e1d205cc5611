"""Events on a terminal, as a terminal would show them."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import pty
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from monitor.events import (
    Happening,
    MonitorStopped,
    ProvisionalEmotion,
    SpeechBegan,
    Transcript,
    WireEvent,
    Word,
)
from monitor.publish.terminal import Terminal
from monitor.publish.wire import WireEncoder
from stser_core.posterior import EmotionPosterior
from tests.support.happenings import EVERY, NOON, STATE, UTTERANCE, encoded
from tests.support.lines import written
from tests.support.monitor_process import environment_of, program

CONVERSATION = Path(__file__).parents[3] / "monitor/demo/conversation.flac"


def shown(*happenings: Happening, transcript: bool = True) -> str:
    """What is in sight after the last of the events."""
    events = encoded(*happenings)
    return asyncio.run(last_drawn(events, transcript=transcript, width=120))


async def last_drawn(events: list[WireEvent], **options: Any) -> str:
    """What is drawn with the last of the events."""
    written_bytes = io.BytesIO()
    stream = io.TextIOWrapper(written_bytes, "utf-8")
    async with Terminal(stream, **options) as terminal:
        for event in events:
            await written(terminal.lines)
            start = written_bytes.tell()
            terminal.publish(event)
        await written(terminal.lines)
        return written_bytes.getvalue()[start:].decode()


def test_state_and_bars_of_the_last_utterance_are_in_sight() -> None:
    seen = shown(UTTERANCE, STATE)
    assert "angry" in seen
    assert "█" * 21 + "·" * 9 in seen
    assert " 70%" in seen
    assert "-23 dBFS" in seen


def test_who_speaks_is_said_until_speech_has_ended() -> None:
    assert "● someone is speaking" in shown(SpeechBegan(1, 0))
    assert "○ silence" in shown(*EVERY)


def test_what_is_provisional_is_a_mark_on_the_bar_until_the_final_verdict() -> None:
    verdict = replace(UTTERANCE.verdict, posterior=EmotionPosterior((0.0, 1.0, 0.0, 0.0)))
    provisional = ProvisionalEmotion(replace(UTTERANCE, verdict=verdict))
    assert "·" * 29 + "│" in shown(provisional).replace("█", "·")
    newest = shown(provisional, UTTERANCE).rpartition("silence")[2]
    assert "│" not in newest
    assert "█" in newest


def shown_together(*told: tuple[str, Happening]) -> list[str]:
    """Lines in sight after the last event of several streams."""
    encoders = {name: WireEncoder("node", name, clock=lambda: NOON) for name, _ in told}
    events = [encoders[name].encode(happening) for name, happening in told]
    return Text.from_ansi(asyncio.run(last_drawn(events, width=80))).plain.splitlines()


def test_each_of_several_streams_has_a_line_of_80_columns_with_its_state_and_who_speaks() -> None:
    hall, kitchen = shown_together(
        ("hall", UTTERANCE),
        ("hall", STATE),
        ("a-kitchen-with-a-long-name", SpeechBegan(1, 0)),
    )[-2:]
    assert hall.startswith(
        "hall         ○ angry      ang ███· hap ···· neu █··· sad ····  -23 dBFS"
    )
    assert kitchen.startswith("a-kitchen-w… ● uncertain ")
    assert max(map(len, (hall, kitchen))) <= 80


def test_stream_that_has_ended_leaves_the_picture_to_the_others() -> None:
    seen = "\n".join(
        shown_together(
            ("hall", UTTERANCE), ("guest", UTTERANCE), ("guest", MonitorStopped(0, 1, {}))
        )
    )
    assert "guest" not in seen
    assert "█" * 21 + "·" * 9 in seen


def test_words_can_be_kept_back() -> None:
    assert "leave me" in shown(UTTERANCE)
    assert "leave" not in shown(UTTERANCE, transcript=False)


def test_control_characters_and_markup_in_a_transcript_are_shown_as_they_are() -> None:
    hostile = Transcript((Word("\x1b]0;owned\x07[red]", 8.2, 8.4, 0.9),))
    assert "\\x1b]0;owned\\x07[red]" in shown(replace(UTTERANCE, transcript=hostile))


def test_log_goes_above_the_picture_and_back_to_its_stream_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    log, stream = Tty(), io.TextIOWrapper(io.BytesIO(), "utf-8")
    handler = logging.StreamHandler(log)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])

    async def main() -> None:
        async with Terminal(stream, width=120):
            logging.getLogger("monitor").warning("the microphone is gone")
        logging.getLogger("monitor").warning("afterwards")

    asyncio.run(main())
    stream.seek(0)
    assert "the microphone is gone" in stream.read()
    assert log.getvalue() == "afterwards\n"


def test_terminal_that_is_gone_does_not_stop_the_monitor() -> None:
    ours, theirs = pty.openpty()
    os.close(ours)

    async def main() -> None:
        async with Terminal(gone, width=120) as terminal:
            for event in encoded(UTTERANCE, STATE):
                terminal.publish(event)

    with os.fdopen(theirs, "w", encoding="utf-8") as gone:
        asyncio.run(main())


def test_program_draws_on_a_terminal_and_leaves_it_as_it_was() -> None:
    ours, theirs = pty.openpty()
    command = [*program(), "--input", str(CONVERSATION), "--no-ws"]
    environment = environment_of({"TERM": "xterm", "COLUMNS": "100", "LINES": "40"})
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    seen = b""
    with process, os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while block := terminal.read(65_536):
                seen += block
        except OSError:
            pass  # what Linux says when the program has closed its end
        assert process.wait(timeout=30) == 0
    text = seen.decode()
    assert "i am so happy today" in text
    assert "█" in text
    assert "○ silence" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor stays hidden"
