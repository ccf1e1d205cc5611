"""Events for people: one line an utterance, with colour on a terminal; the stream's name where there are several."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self, TextIO

from monitor.events import SAMPLE_RATE_HZ, StateChanged, UtteranceEmotion, WireEvent
from monitor.publish.lines import Lines
from monitor.publish.outbox import Lost
from monitor.publish.wire import stream_of

_COLOURS: Final = {
    "angry": "\x1b[31m",
    "happy": "\x1b[33m",
    "neutral": "\x1b[37m",
    "sad": "\x1b[34m",
    "uncertain": "\x1b[2m",
}
_PLAIN: Final = "\x1b[0m"
_BAR: Final = 10
_CLOCK: Final = 9


class Entry(NamedTuple):
    """What is said of an event, in pieces that are not to be broken, each with the spaces before it."""

    measured: tuple[str, ...]
    said: tuple[str, ...]
    """Words, and why an utterance is uncertain."""
    indent: int
    """Columns, of further lines where there is no room for one."""

    def __str__(self) -> str:
        return "".join((*self.measured, *self.said))


class Console:
    """Writes what people want to see: utterances and changes of state.

    Args:
        output: A file to append to, opened on entry; or an open stream, which stays open.
        colour: None for colour where the stream is a terminal.
        transcript: Whether the words are shown.
        patient: CloudEvents sources of streams that wait for a slow reader.
        told: What to write where something was left out; None for :meth:`left_out` on a line of its own.

    Raises:
        UsageError: On entry, where the file cannot be written.
    """

    def __init__(
        self,
        output: Path | TextIO,
        *,
        colour: bool | None = None,
        transcript: bool = True,
        patient: Collection[str] = (),
        told: Callable[[Lost], bytes | None] | None = None,
    ) -> None:
        target, self.encoding = (
            (output, "utf-8") if isinstance(output, Path) else (output.buffer, output.encoding)
        )
        self.lines = Lines(target, patient=patient, told=told or self._gap)
        if colour is None:
            colour = not isinstance(output, Path) and output.isatty()
        self._colour = colour
        self._transcript = transcript
        self._streams: set[str] = set()

    async def __aenter__(self) -> Self:
        await self.lines.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.lines.__aexit__(*exc_info)

    def publish(self, event: WireEvent) -> None:
        """Have a line written for an utterance or a change of state; pass over the rest."""
        entry = self.entry(event)
        if entry is not None and self.lines.takes(event):
            self.lines.write(self._encoded(str(entry)))

    def entry(self, event: WireEvent) -> Entry | None:
        """What is said of an event; None for nothing."""
        stream = stream_of(event.source)
        self._streams.add(stream)
        named = f"{stream:12} " if self.several else ""
        indent = len(named) + _CLOCK
        match event.happening:
            case UtteranceEmotion():
                shares, said = self._shares(event.happening), self._said(event.happening)
                return Entry((named + self._label(event.happening), *shares), said, indent)
            case StateChanged(label=label, confidence=confidence):
                now = self._coloured(label, f"now {label}")
                return Entry((f"{named}{'':{_CLOCK}}{now}", f" ({confidence:.0%})"), (), indent)
        return None

    @property
    def several(self) -> bool:
        """Whether more streams than one have been heard of."""
        return len(self._streams) > 1

    def left_out(self, lost: Lost) -> str:
        """What tells that lines were left out, without a line feed."""
        return f"{stream_of(lost.source)}: {lost.count} lines were left out here"

    def _gap(self, lost: Lost) -> bytes:
        return self._encoded(self.left_out(lost))

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self.encoding, "replace")

    def _label(self, utterance: UtteranceEmotion) -> str:
        filled = round(utterance.verdict.posterior.confidence * _BAR)
        bar = "█" * filled + "·" * (_BAR - filled)
        label = self._coloured(utterance.label, f"{utterance.label:9} {bar}")
        return f"{_clock(utterance.segment.start)} {label}"

    def _shares(self, utterance: UtteranceEmotion) -> Iterator[str]:
        for name, share in utterance.verdict.posterior.as_dict().items():
            yield f" {name[:3]} {share:4.0%}"
        yield f"  {utterance.latency.total:4.0f} ms"

    def _said(self, utterance: UtteranceEmotion) -> tuple[str, ...]:
        said = ""
        if utterance.transcript is not None and self._transcript:
            said = f"  “{printable(utterance.transcript.text)}”"
        if utterance.abstained:
            said += f" [{', '.join(utterance.abstained)}]"
        return tuple(re.findall(" *[^ ]+", said))

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
