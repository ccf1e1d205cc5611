"""What consumers may tell the monitor: mute, unmute, mark, reset. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LONGEST_MARK: Final = 200
"""Characters of a marker's text."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Hear nothing until :class:`Unmute`."""

    stream: str | None = None
    """Name of the one that is meant; None for all. Likewise below."""


@dataclass(frozen=True, slots=True)
class Unmute:
    """Listen again."""

    stream: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Announce a marker at the present moment of the stream."""

    text: str
    stream: str | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Forget the voices and the room: adaptation and state start anew."""

    stream: str | None = None


Command = Mute | Unmute | Mark | Reset


class CommandError(Exception):
    """A command that cannot be obeyed; said to its sender.

    Attributes:
        code: For programs: ``not_json``, ``unknown_command``, ``bad_command``, ``unknown_stream`` or ``not_listening``.
        retryable: Whether the same command may work later.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class CommandDesk:
    """Takes commands from all channels to the one who obeys them."""

    def __init__(self) -> None:
        self._obey: Callable[[Command], None] | None = None

    def open(self, obey: Callable[[Command], None]) -> None:
        """From now on commands are obeyed."""
        self._obey = obey

    def close(self) -> None:
        """From now on commands are refused."""
        self._obey = None

    def take(self, message: str | bytes) -> None:
        """Read a command and have it obeyed.

        Raises:
            CommandError: It is no command, is for a stream that is not there, or nobody obeys at the moment.
        """
        command = parse(message)
        if self._obey is None:
            raise CommandError("not_listening", "the monitor does not listen now", retryable=True)
        self._obey(command)


def parse(message: str | bytes) -> Command:
    """Read ``{"type":"mute"}`` and its like.

    Raises:
        CommandError: With what was wrong and what is known.
    """
    try:
        tree = json.loads(message)
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        raise CommandError("not_json", "a command must be a JSON object in a text frame")
    kind = tree.get("type")
    known: dict[str, type[Mute | Unmute | Reset]] = {
        "mute": Mute,
        "unmute": Unmute,
        "reset": Reset,
    }
    stream = tree.get("stream")
    if stream is not None and not isinstance(stream, str):
        raise CommandError("bad_command", "stream must be a stream's name")
    if kind == "mark":
        return Mark(_text(tree.get("text")), stream)
    if not isinstance(kind, str) or kind not in known:
        raise CommandError("unknown_command", "known are mute, unmute, mark and reset")
    return known[kind](stream)


def _text(text: object) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= LONGEST_MARK:
        raise CommandError("bad_command", f"mark needs a text of 1 to {LONGEST_MARK} characters")
    return text
