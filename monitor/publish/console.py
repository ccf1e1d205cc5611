"""Events for people: one line an utterance, with colour on a terminal."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from monitor.errors import UsageError
from monitor.events import SAMPLE_RATE_HZ, StateChanged, UtteranceEmotion, WireEvent

logger = logging.getLogger(__name__)

_COLOURS: Final = {
    "angry": "\x1b[31m",
    "happy": "\x1b[33m",
    "neutral": "\x1b[37m",
    "sad": "\x1b[34m",
    "uncertain": "\x1b[2m",
}
_PLAIN: Final = "\x1b[0m"
_BAR: Final = 10


class Console:
    """Writes what people want to see: utterances and changes of state."""

    def __init__(
        self, output: TextIO, *, colour: bool | None = None, transcript: bool = True
    ) -> None:
        self._output: TextIO | None = output
        self._colour = output.isatty() if colour is None else colour
        self._transcript = transcript

    @classmethod
    def to_file(cls, path: Path, *, transcript: bool = True) -> Self:
        """Append to a file, without colour.

        Raises:
            UsageError: The file cannot be written.
        """
        try:
            return cls(path.open("a", encoding="utf-8"), colour=False, transcript=transcript)
        except OSError as error:
            raise UsageError(f"--events {path}: cannot be written ({error.strerror}).") from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def publish(self, event: WireEvent) -> None:
        """Write a line for an utterance or a change of state; pass over the rest."""
        match event.happening:
            case UtteranceEmotion():
                self._write(self._utterance(event.happening))
            case StateChanged(label=label, confidence=confidence):
                self._write(f"{'':9}{self._coloured(label, f'now {label}')} ({confidence:.0%})")

    def _write(self, line: str) -> None:
        if self._output is None:
            return
        try:
            self._output.write(line + "\n")
            self._output.flush()
        except OSError as error:
            logger.warning("events are no longer written: %s", error)
            self._output = None

    def _utterance(self, utterance: UtteranceEmotion) -> str:
        posterior = utterance.verdict.posterior
        filled = round(posterior.confidence * _BAR)
        bar = "█" * filled + "·" * (_BAR - filled)
        shares = " ".join(f"{n[:3]} {p:4.0%}" for n, p in posterior.as_dict().items())
        why = f" [{', '.join(utterance.abstained)}]" if utterance.abstained else ""
        words = ""
        if utterance.transcript is not None and self._transcript:
            words = f"  “{printable(utterance.transcript.text)}”"
        label = self._coloured(utterance.label, f"{utterance.label:9} {bar}")
        start = _clock(utterance.segment.start)
        return f"{start} {label} {shares}  {utterance.latency.total:4.0f} ms{words}{why}"

    def _coloured(self, label: str, text: str) -> str:
        return f"{_COLOURS[label]}{text}{_PLAIN}" if self._colour else text


def printable(text: str) -> str:
    """Text in which control characters cannot reach the terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _clock(sample: int) -> str:
    """``h:mm:ss`` of stream time, without the hours while there are none."""
    seconds = sample // SAMPLE_RATE_HZ
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}".rjust(8)
