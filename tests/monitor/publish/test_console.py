"""Events as people read them."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

from monitor.events import Happening, Transcript, Word
from monitor.publish.console import Console
from monitor.publish.wire import WireEncoder
from tests.support.happenings import EVERY, NOON, STATE, UTTERANCE, encoded


def page(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding)


def content(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def printed(
    *happenings: Happening, colour: bool = False, transcript: bool = True, encoding: str = "utf-8"
) -> str:
    stream = page(encoding)

    async def main() -> None:
        async with Console(stream, colour=colour, transcript=transcript) as console:
            for event in encoded(*happenings):
                console.publish(event)

    asyncio.run(main())
    return content(stream)


def test_an_utterance_is_one_line_with_time_label_shares_delay_and_words() -> None:
    line = printed(UTTERANCE)
    assert line.startswith("    0:08 angry     ███████··· ang  70%")
    assert "416 ms" in line
    assert "“leave me”" in line
    assert line.count("\n") == 1


def test_many_words_are_one_line_too_where_no_terminal_reads_it() -> None:
    words = Transcript(tuple(Word(f"word{n}", 0.0, 0.1, 0.9) for n in range(60)))
    line = printed(replace(UTTERANCE, transcript=words))
    assert f"416 ms  “{words.text}”\n" in line
    assert line.count("\n") == 1


def test_only_utterances_and_states_are_shown() -> None:
    assert len(printed(*EVERY).splitlines()) == 3
    assert "now angry" in printed(STATE)


def test_lines_of_several_streams_say_which_stream_they_are_of() -> None:
    stream = page()

    async def main() -> None:
        async with Console(stream, colour=False) as console:
            for name in ("hall", "kitchen", "hall"):
                encoder = WireEncoder("node", name, clock=lambda: NOON)
                console.publish(encoder.encode(UTTERANCE))

    asyncio.run(main())
    starts = [line.split()[0] for line in content(stream).splitlines()]
    assert starts == ["0:08", "kitchen", "hall"]


def test_reasons_stand_beside_an_uncertain_label() -> None:
    assert "[too_short]" in printed(replace(UTTERANCE, abstained=("too_short",)))


def test_colour_is_for_terminals_only() -> None:
    assert "\x1b[31m" in printed(UTTERANCE, colour=True)
    assert "\x1b" not in printed(UTTERANCE)


def test_what_the_encoding_lacks_is_a_question_mark() -> None:
    assert printed(UTTERANCE, encoding="latin-1").startswith("    0:08 angry     ???????··· ang")


def test_words_can_be_kept_back() -> None:
    assert "leave" not in printed(UTTERANCE, transcript=False)


def test_control_characters_in_a_transcript_do_not_reach_the_terminal() -> None:
    hostile = Transcript((Word("\x1b]0;owned\x07", 8.2, 8.4, 0.9),))
    assert "\\x1b]0;owned\\x07" in printed(replace(UTTERANCE, transcript=hostile))


def test_a_file_is_appended_to_without_colour(tmp_path: Path) -> None:
    path = tmp_path / "talk.txt"

    async def main() -> None:
        async with Console(path) as console:
            console.publish(encoded(UTTERANCE)[0])

    asyncio.run(main())
    asyncio.run(main())
    assert len(path.read_text("utf-8").splitlines()) == 2
    assert "\x1b" not in path.read_text("utf-8")
