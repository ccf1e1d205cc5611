"""Events for people: one line an utterance, with colour on a terminal; the stream's name where there are several."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Final, Self, TextIO

from monitor.events import SAMPLE_RATE_HZ, StateChanged, UtteranceEmotion, WireEvent
from monitor.publish.jsonl import open_for_events
from monitor.publish.wire import stream_of

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
    """Writes what people want to see: utterances and changes of state.

    Args:
        output: A file to append to, opened on entry; or an open stream, which stays open.
        colour: None for colour where the stream is a terminal.
        transcript: Whether the words are shown.

    Raises:
        UsageError: On entry, where the file cannot be written.
    """

    def __init__(
        self, output: Path | TextIO, *, colour: bool | None = None, transcript: bool = True
    ) -> None:
        self._output = output
        self._stream: TextIO | None = None
        self._colour = colour
        self._transcript = transcript
        self._streams: set[str] = set()

    async def __aenter__(self) -> Self:
        if isinstance(self._output, Path):
            self._stream = io.TextIOWrapper(open_for_events(self._output), encoding="utf-8")
        else:
            self._stream = self._output
        if self._colour is None:
            self._colour = self._stream.isatty()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and isinstance(self._output, Path):
            stream.close()

    def publish(self, event: WireEvent) -> None:
        """Write a line for an utterance or a change of state; pass over the rest."""
        stream = stream_of(event.source)
        self._streams.add(stream)
        named = f"{stream:12} " if len(self._streams) > 1 else ""
        match event.happening:
            case UtteranceEmotion():
                self._write(named + self._utterance(event.happening))
            case StateChanged(label=label, confidence=confidence):
                now = self._coloured(label, f"now {label}")
                self._write(f"{named}{'':9}{now} ({confidence:.0%})")

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            logger.warning("events are no longer written: %s", error)
            self._stream = None

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
    minutes, seconds = divmod(sample // SAMPLE_RATE_HZ, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return clock.rjust(8)
