"""Events on a terminal: lines that scroll away, and below them the present, drawn anew with each event.

The present of one stream is a picture of several lines; of several streams, each has a line of its own.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, TextIO

from rich.console import Console as Screen
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.text import Text

from monitor.events import (
    MonitorStarted,
    MonitorStopped,
    ProvisionalEmotion,
    SpeechBegan,
    SpeechEnded,
    StateChanged,
    UtteranceEmotion,
    WireEvent,
)
from monitor.publish.console import Console, Entry
from monitor.publish.lines import Lines
from monitor.publish.outbox import Lost
from monitor.publish.wire import stream_of
from stser_core.labels import EMOTIONS

_STYLES: Final = {
    "angry": "red",
    "happy": "yellow",
    "neutral": "white",
    "sad": "blue",
    "uncertain": "dim",
}
_BAR: Final = 30
_SMALL_BAR: Final = 4
_NAME: Final = 12
_QUIETEST_DBFS: Final = -90.0


@dataclass(slots=True)
class _Present:
    """What is in sight of one stream."""

    state: StateChanged | None = None
    heard: UtteranceEmotion | None = None
    so_far: Mapping[str, float] | None = None
    speaking: bool = False
    spoken: bool = False
    """Whether anybody has."""
    ended: bool = False

    def take(self, event: WireEvent) -> None:
        match event.happening:
            case UtteranceEmotion():
                self.heard, self.so_far, self.spoken = event.happening, None, True
            case ProvisionalEmotion(so_far=so_far):
                self.so_far, self.spoken = so_far.verdict.posterior.as_dict(), True
            case StateChanged():
                self.state = event.happening
            case SpeechBegan():
                self.speaking = self.spoken = True
            case SpeechEnded():
                self.speaking = False
            case MonitorStopped():
                self.speaking, self.ended = False, True

    @property
    def label(self) -> str | None:
        """None before the first verdict."""
        if self.state is not None:
            return self.state.label
        return None if self.heard is None else "uncertain"

    @property
    def judged(self) -> bool:
        """Whether there is a verdict, or what it is so far."""
        return self.heard is not None or self.so_far is not None

    @property
    def posterior(self) -> Mapping[str, float]:
        return {} if self.heard is None else self.heard.verdict.posterior.as_dict()


class Terminal:
    """Writes what :class:`Console` writes, and keeps bars, level and state in sight below it.

    Nothing is drawn between events, so that a quiet room costs nothing.

    Args:
        stream: An open terminal, which stays open.
        transcript: Whether the words are shown.
        patient: CloudEvents sources of streams that wait for a terminal that stands still.
        width: Columns; None for those of the terminal.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        transcript: bool = True,
        patient: Collection[str] = (),
        width: int | None = None,
    ) -> None:
        self._console = Console(
            stream, colour=True, transcript=transcript, patient=patient, told=self._gap
        )
        self.lines = self._console.lines
        sheet = io.TextIOWrapper(
            _Sheet(self.lines), self._console.encoding, "replace", write_through=True
        )
        self._screen = Screen(file=sheet, highlight=False, force_terminal=True, width=width)
        self._live = Live(
            console=self._screen,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stack = ExitStack()
        self._streams: dict[str, _Present] = {}
        """By name, those that go on; the last one stays when it has ended."""

    async def __aenter__(self) -> Self:
        await self.lines.__aenter__()
        self._stack.enter_context(self._live)
        self._stack.enter_context(_logs_above(self._screen))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._stack.close()
        await self.lines.__aexit__(*exc_info)

    def publish(self, event: WireEvent) -> None:
        """Write the line of an event, if it has one, and draw the present."""
        self._take(event)
        entry = self._console.entry(event)
        if entry is None:
            if self.lines.full:
                return  # a picture is no line: nothing is lost without it
        elif not self.lines.takes(event):
            return
        else:
            folded = Text.from_ansi(_folded(entry, self._screen.width))
            self._screen.print(folded, soft_wrap=True)
        self._live.update(self._present(), refresh=True)

    def _gap(self, lost: Lost) -> None:
        """Say above the picture what was left out."""
        self._screen.print(Text(self._console.left_out(lost)), soft_wrap=True)

    def _take(self, event: WireEvent) -> None:
        name = stream_of(event.source)
        if isinstance(event.happening, MonitorStarted):
            self._streams.pop(name, None)
        self._streams.setdefault(name, _Present()).take(event)
        going_on = {n: present for n, present in self._streams.items() if not present.ended}
        self._streams = going_on or {name: self._streams[name]}

    def _present(self) -> Text:
        if len(self._streams) > 1:
            lines = [_line(name, present) for name, present in self._streams.items()]
        else:
            lines = [
                line
                for name, present in self._streams.items()
                for line in _picture(present, name if self._console.several else "")
            ]
        picture = Text("\n").join(lines)
        picture.no_wrap, picture.overflow = True, "crop"
        # Back to the first column: the "^C" that the terminal echoes at the cursor must not begin a line.
        picture.end = "\r"
        return picture


class _Sheet(io.BufferedIOBase):
    """What Rich takes for the terminal."""

    name = "terminal"

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        written = bytes(data)
        self._lines.write(written)
        return len(written)


def _folded(entry: Entry, width: int) -> str:
    """An entry on as few lines as there is room for; what was said begins one where it does not fit in whole."""
    rows = [""]
    for passage in (*zip(entry.measured, strict=True), entry.said):
        fits = _columns(rows[-1] + "".join(passage)) <= width
        for number, piece in enumerate(passage):
            broken = _columns(rows[-1] + piece) > width if number else not fits
            if broken and rows[-1]:
                rows.append(" " * entry.indent + piece.lstrip())
            else:
                rows[-1] += piece
    return "\n".join(rows)


def _columns(text: str) -> int:
    return Text.from_ansi(text).cell_len


def _picture(present: _Present, name: str) -> list[Text]:
    """State, a bar for each emotion, and the level: each from when it is known."""
    label = _label(present) if present.label else Text()
    lines = [Text(f"{name} " if name else "") + label + _speaking(present)]
    if present.judged:
        so_far = present.so_far or {}
        lines += [
            _bar(name, present.posterior.get(name), so_far.get(name)) for name in map(str, EMOTIONS)
        ]
    if present.heard is not None:
        segment = present.heard.segment
        lines.append(_level(segment.level_dbfs, segment.noise_floor_dbfs))
    return lines


def _line(name: str, present: _Present) -> Text:
    """The same on one line, which still fits into 80 columns."""
    short = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    line = Text(f"{short:{_NAME}} ")
    if not present.judged:
        return line + _speaking(present)
    line.append(f"{'●' if present.speaking else '○'} ").append_text(_label(present))
    so_far = present.so_far or {}
    for emotion in map(str, EMOTIONS):
        cells = _cells(present.posterior.get(emotion, 0.0), so_far.get(emotion), _SMALL_BAR)
        line.append(f" {emotion[:3]} {cells}", _STYLES[emotion])
    if present.heard is not None:
        line.append(f" {present.heard.segment.level_dbfs:4.0f} dBFS", "dim")
    return line


def _speaking(present: _Present) -> Text:
    if present.speaking:
        return Text("● someone is speaking")
    return Text("○ silence" if present.spoken else "○ nobody has spoken yet")


def _label(present: _Present) -> Text:
    label = present.label or ""
    return Text(f"{label:10}", f"bold {_STYLES[label]}" if label else "")


def _bar(name: str, share: float | None, so_far: float | None) -> Text:
    style = _STYLES[name]
    percent = "" if share is None else f" {share:4.0%}"
    return Text.assemble(
        (f"  {name:8}", style), (_cells(share or 0.0, so_far, _BAR), style), percent
    )


def _cells(share: float, so_far: float | None, count: int) -> str:
    """A share as a solid bar; what it is so far, while someone speaks, as a thin mark on it."""
    cells = ["█"] * round(share * count) + ["·"] * (count - round(share * count))
    if so_far is not None:
        cells[min(count - 1, int(so_far * count))] = "│"
    return "".join(cells)


def _level(level_dbfs: float, floor_dbfs: float) -> Text:
    level, floor = (
        round(_BAR * min(1.0, max(0.0, 1 - dbfs / _QUIETEST_DBFS)))
        for dbfs in (level_dbfs, floor_dbfs)
    )
    bar = "░" * floor + "▓" * max(0, level - floor)
    return Text.assemble(
        ("  level   ", "dim"), (f"{bar:·<{_BAR}}", "green"), f" {level_dbfs:.0f} dBFS"
    )


@contextmanager
def _logs_above(screen: Screen) -> Iterator[None]:
    """Lines of the log go above what is drawn, where they would otherwise be written into it."""
    moved = [
        (handler, handler.setStream(FileProxy(screen, handler.stream)))
        for handler in logging.getLogger().handlers
        if type(handler) is logging.StreamHandler and handler.stream.isatty()
    ]
    try:
        yield
    finally:
        for handler, stream in moved:
            if stream is not None:
                handler.setStream(stream)
