"""Events on a terminal: lines that scroll away, and below them the present, drawn anew with each event."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console as Screen
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.text import Text

from monitor.events import (
    MonitorStopped,
    ProvisionalEmotion,
    SpeechBegan,
    SpeechEnded,
    StateChanged,
    UtteranceEmotion,
    WireEvent,
)
from monitor.publish.console import Console
from stser_core.labels import EMOTIONS

logger = logging.getLogger(__name__)

_STYLES: Final = {
    "angry": "red",
    "happy": "yellow",
    "neutral": "white",
    "sad": "blue",
    "uncertain": "dim",
}
_BAR: Final = 30
_QUIETEST_DBFS: Final = -90.0


class Terminal:
    """Writes what :class:`Console` writes, and keeps bars, level and state in sight below it.

    Nothing is drawn between events, so that a quiet room costs nothing.

    Args:
        stream: An open terminal, which stays open.
        transcript: Whether the words are shown.
        width: Columns; None for those of the terminal.
    """

    def __init__(
        self, stream: TextIO, *, transcript: bool = True, width: int | None = None
    ) -> None:
        self._screen = Screen(file=stream, highlight=False, force_terminal=True, width=width)
        self._live = Live(
            console=self._screen,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._written = io.StringIO()
        self._lines = Console(self._written, colour=True, transcript=transcript)
        self._stack = ExitStack()
        self._gone = False
        self._state: StateChanged | None = None
        self._heard: UtteranceEmotion | None = None
        self._so_far: Mapping[str, float] | None = None
        self._speaking = False

    async def __aenter__(self) -> Self:
        await self._lines.__aenter__()
        self._stack.enter_context(self._live)
        self._stack.enter_context(_logs_above(self._screen))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._stack.close()
        except OSError as failed:
            logger.warning("the terminal is gone: %s", failed)

    def publish(self, event: WireEvent) -> None:
        """Write the line of an event, if it has one, and draw the present."""
        if self._gone:
            return
        match event.happening:
            case UtteranceEmotion():
                self._heard, self._so_far = event.happening, None
            case ProvisionalEmotion(so_far=so_far):
                self._so_far = so_far.verdict.posterior.as_dict()
            case StateChanged():
                self._state = event.happening
            case SpeechBegan():
                self._speaking = True
            case SpeechEnded() | MonitorStopped():
                self._speaking = False
        self._lines.publish(event)
        line = self._written.getvalue().removesuffix("\n")
        self._written.seek(0)
        self._written.truncate()
        try:
            if line:
                self._screen.print(Text.from_ansi(line), soft_wrap=True)
            self._live.update(self._present(), refresh=True)
        except OSError as error:
            logger.warning("events are no longer written: %s", error)
            self._gone = True

    def _present(self) -> Text:
        label = self._state.label if self._state is not None else "uncertain"
        speaking = "● someone is speaking" if self._speaking else "○ silence"
        lines = [Text.assemble((f"{label:10}", f"bold {_STYLES[label]}"), speaking)]
        posterior: Mapping[str, float] = {}
        if self._heard is not None:
            posterior = self._heard.verdict.posterior.as_dict()
        so_far = self._so_far or {}
        lines += [
            _bar(name, posterior.get(name, 0.0), so_far.get(name)) for name in map(str, EMOTIONS)
        ]
        if self._heard is not None:
            segment = self._heard.segment
            lines.append(_level(segment.level_dbfs, segment.noise_floor_dbfs))
        picture = Text("\n").join(lines)
        picture.no_wrap, picture.overflow = True, "crop"
        return picture


def _bar(name: str, share: float, so_far: float | None) -> Text:
    """A share as a solid bar; what it is so far, while someone speaks, as a thin mark on it."""
    cells = ["█"] * round(share * _BAR) + ["·"] * (_BAR - round(share * _BAR))
    if so_far is not None:
        cells[min(_BAR - 1, int(so_far * _BAR))] = "│"
    return Text.assemble(
        (f"  {name:8}", _STYLES[name]), ("".join(cells), _STYLES[name]), f" {share:4.0%}"
    )


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
