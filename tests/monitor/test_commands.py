"""What counts as a command, and who obeys."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.commands import Command, CommandDesk, CommandError, Mark, Mute, Reset, Unmute, parse


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ('{"type":"mute"}', Mute()),
        (b'{"type":"unmute"}', Unmute()),
        ('{"type":"mark","text":"the guests arrive"}', Mark("the guests arrive")),
        ('{"type":"reset","by":"me"}', Reset()),
    ],
)
def test_commands_are_json_objects_with_a_type(message: str | bytes, command: Command) -> None:
    assert parse(message) == command


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("mute", "not_json"),
        ('["mute"]', "not_json"),
        (b"\xff\xfe", "not_json"),
        ("[" * 100_000, "not_json"),
        ("{}", "unknown_command"),
        ('{"type":["mute"]}', "unknown_command"),
        ('{"type":"MUTE"}', "unknown_command"),
        ('{"type":"mark"}', "bad_command"),
        ('{"type":"mark","text":""}', "bad_command"),
        ('{"type":"mark","text":7}', "bad_command"),
        ('{"type":"mark","text":"' + 201 * "x" + '"}', "bad_command"),
    ],
)
def test_anything_else_is_refused_with_its_code(message: str | bytes, code: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse(message)
    assert (refused.value.code, refused.value.retryable) == (code, False)


@given(st.text() | st.binary())
def test_no_message_does_anything_but_parse_or_be_refused(message: str | bytes) -> None:
    with contextlib.suppress(CommandError):
        assert isinstance(parse(message), Command)


def test_desk_is_open_only_while_somebody_obeys() -> None:
    obeyed: list[Command] = []
    desk = CommandDesk()
    with pytest.raises(CommandError) as refused:
        desk.take('{"type":"mute"}')
    assert (refused.value.code, refused.value.retryable) == ("not_listening", True)
    desk.open(obeyed.append)
    desk.take('{"type":"mute"}')
    desk.close()
    with pytest.raises(CommandError):
        desk.take('{"type":"unmute"}')
    assert obeyed == [Mute()]
