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
    SpeechEnded,
    Transcript,
    UtteranceEmotion,
    WireEvent,
    Word,
)
from monitor.publish import lines
from monitor.publish.terminal import Terminal
from monitor.publish.wire import WireEncoder
from stser_core.posterior import EmotionPosterior
from tests.support.happenings import EVERY, NOON, STARTED, STATE, UTTERANCE, encoded
from tests.support.lines import written
from tests.support.monitor_process import environment_of, program

GUEST = (("guest", SpeechBegan(1, 0)), ("guest", UTTERANCE), ("guest", MonitorStopped(0, 1, {})))
CONVERSATION = Path(__file__).parents[3] / "monitor/demo/conversation.flac"


def shown(*happenings: Happening, transcript: bool = True) -> str:
    """What is in sight after the last of the events."""
    events = encoded(*happenings)
    return asyncio.run(last_drawn(events, transcript=transcript, width=120))


def saying(*words: str) -> UtteranceEmotion:
    return replace(UTTERANCE, transcript=Transcript(tuple(Word(w, 0.0, 0.1, 0.9) for w in words)))


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
    assert "%" not in shown(provisional)
    newest = shown(provisional, UTTERANCE).rpartition("silence")[2]
    assert "│" not in newest
    assert "█" in newest


def shown_together(*told: tuple[str, Happening], width: int = 80) -> list[str]:
    """What the last event of several streams has written and drawn, line by line."""
    encoders = {name: WireEncoder("node", name, clock=lambda: NOON) for name, _ in told}
    events = [encoders[name].encode(happening) for name, happening in told]
    drawn = asyncio.run(last_drawn(events, width=width))
    return Text.from_ansi(drawn.removesuffix("\r")).plain.splitlines()


def test_each_of_several_streams_has_a_line_of_80_columns_with_its_state_and_who_speaks() -> None:
    hall, kitchen = shown_together(
        ("hall", UTTERANCE),
        ("hall", STATE),
        ("a-kitchen-with-a-long-name", SpeechBegan(1, 0)),
    )[-2:]
    assert hall.startswith(
        "hall         ○ angry      ang ███· hap ···· neu █··· sad ····  -23 dBFS"
    )
    assert kitchen == "a-kitchen-w… ● someone is speaking"
    assert max(map(len, (hall, kitchen))) <= 80


def test_stream_that_has_ended_leaves_the_picture_to_the_other_with_its_name() -> None:
    state, angry, *_ = shown_together(("hall", STATE), ("hall", UTTERANCE), *GUEST)
    assert state == "hall angry     ○ silence"
    assert "█" * 21 + "·" * 9 in angry


def test_last_stream_that_has_ended_goes_when_another_begins() -> None:
    assert shown_together(*GUEST, ("hall", STARTED)) == ["hall ○ nobody has spoken yet"]
    assert shown_together(*GUEST, ("guest", STARTED)) == ["○ nobody has spoken yet"]


def test_before_the_first_verdict_only_who_speaks_is_said() -> None:
    for told, said in (
        ((STARTED,), "○ nobody has spoken yet"),
        ((STARTED, SpeechBegan(1, 0)), "● someone is speaking"),
        ((STARTED, SpeechBegan(1, 0), SpeechEnded(1, 0, 1)), "○ silence"),
    ):
        hall = [("hall", happening) for happening in told]
        assert shown_together(*hall) == [said]
        assert shown_together(("guest", UTTERANCE), *hall)[-1] == f"hall         {said}"


def test_first_verdict_may_be_uncertain() -> None:
    assert (
        "uncertain ○"
        in Text.from_ansi(
            shown(replace(UTTERANCE, abstained=("clipped",))).removesuffix("\r")
        ).plain
    )


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("before", [(), (("guest", STARTED),)], ids=["alone", "two streams"])
def test_words_that_there_is_no_room_for_go_below_with_an_indent(
    width: int, before: tuple[tuple[str, Happening], ...]
) -> None:
    words = [f"word{number}" for number in range(30)]
    lines = shown_together(*before, ("hall", saying(*words)), width=width)
    indent = " " * (22 if before else 9)
    below = [line.removeprefix(indent) for line in lines[1:] if line.startswith(indent)]
    assert " ".join(below).removeprefix("416 ms ") == f"“{' '.join(words)}”"
    assert any(line.startswith("“word0") for line in below)
    assert max(map(len, lines)) <= width


def test_words_that_there_is_room_for_stay_beside_the_label() -> None:
    assert "416 ms  “leave me”" in shown_together(("hall", UTTERANCE), width=86)[0]
    assert "leave" not in shown_together(("hall", UTTERANCE), width=85)[0]


def test_few_words_of_one_of_several_streams_take_no_third_line_on_80_columns() -> None:
    lines = shown_together(("guest", STARTED), ("hall", UTTERANCE))
    assert lines[1] == " " * 22 + "416 ms  “leave me”"


def test_no_share_is_parted_from_its_emotion_on_a_narrow_terminal() -> None:
    lines = shown_together(("guest", STARTED), ("hall", UTTERANCE), width=50)
    assert lines[:4] == [
        "hall             0:08 angry     ███████···",
        " " * 22 + "ang  70% hap  10% neu  15%",
        " " * 22 + "sad   5%   416 ms",
        " " * 22 + "“leave me”",
    ]


@pytest.mark.parametrize("width", [50, 80])
def test_what_is_typed_into_the_picture_begins_no_line(width: int) -> None:
    assert asyncio.run(last_drawn(encoded(UTTERANCE), width=width)).endswith("\r")


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


def test_what_a_terminal_that_stood_still_lost_is_said_above_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, lost, no_line, after = encoded(UTTERANCE, UTTERANCE, SpeechBegan(2, 0), UTTERANCE)

    async def main() -> str:
        output = io.BytesIO()
        stream = io.TextIOWrapper(output, "utf-8")
        async with Terminal(stream, width=120) as terminal:
            for event, room in ((before, 9), (lost, 0), (no_line, 0), (after, 9)):
                monkeypatch.setattr(lines, "MOST_WAITING", room)
                await written(terminal.lines)
                start = output.tell()
                terminal.publish(event)
            await written(terminal.lines)
            return output.getvalue()[start:].decode()

    drawn = asyncio.run(main())
    assert "mic: 1 lines were left out here" in drawn
    assert drawn.index("\x1b[2K") < drawn.index("left out") < drawn.index("○ silence")


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
