"""What a subscriber asks for in the query of ``/events``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs

from monitor.events import WireEvent
from monitor.publish.wire import KINDS, PREFIX


@dataclass(frozen=True, slots=True)
class Subscription:
    """A choice among the events of a stream."""

    kinds: frozenset[str] = frozenset(KINDS)
    transcript: bool = True
    """False for events without the words."""

    @classmethod
    def from_query(cls, query: str) -> Self:
        """Read ``types=a,b&transcript=0``; both may be left out.

        A type is given in full (``org.stser.emotion.state.v1``) or by its kind (``emotion.state``).

        Raises:
            ValueError: Anything else, with what is known.
        """
        given = parse_qs(query, keep_blank_values=True)
        for name, values in given.items():
            if name not in {"types", "transcript"}:
                raise ValueError(f"{name!r} is not known here; known are types and transcript.")
            if len(values) > 1:
                raise ValueError(f"{name} is given {len(values)} times; once is enough.")
        transcript = given.get("transcript", ["1"])[0]
        if transcript not in {"0", "1"}:
            raise ValueError(f"transcript ({transcript!r}) must be 0 or 1.")
        if "types" not in given:
            return cls(transcript=transcript == "1")
        types = given["types"][0].split(",")
        return cls(frozenset(_kind(name) for name in types), transcript == "1")

    def wants(self, event: WireEvent) -> bool:
        """Whether the event was asked for."""
        return event.kind in self.kinds


def _kind(name: str) -> str:
    kind = name.removeprefix(PREFIX).removesuffix(".v1")
    if kind not in KINDS:
        raise ValueError(f"{name!r} is no type of event; known are {', '.join(KINDS)}.")
    return kind
