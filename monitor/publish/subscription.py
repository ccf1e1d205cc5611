"""What a subscriber asks for in the query of ``/events``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self
from urllib.parse import parse_qs

from monitor.publish.wire import KINDS, ON_REQUEST, PREFIX

_SINCE: Final = re.compile(r"(?:([a-zA-Z0-9_-]+):)?([0-9]{1,20})")
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A choice among the events of all streams."""

    kinds: frozenset[str] = frozenset(KINDS)
    streams: frozenset[str] | None = None
    """Names of those that are wanted; None for all, whichever there will be."""
    transcript: bool = True
    """False for events without the words."""
    since: Mapping[str | None, int] = field(default_factory=dict)
    """By stream, sequence of the last event that the subscriber has; None names the monitor's first stream.
    Of streams that are not here it gets whatever comes from now on."""

    @classmethod
    @lru_cache(maxsize=256)
    def from_query(cls, query: str) -> Self:
        """Read ``types=a,b&stream=c,d&transcript=0&since=SEQUENCE,d:SEQUENCE``; each may be left out.

        Without ``types`` it is all but those on request. A type is given in full (``org.stser.emotion.state.v1``) or
        by its kind (``emotion.state``).

        Raises:
            ValueError: Anything else, with what is known.
        """
        given = parse_qs(query, keep_blank_values=True)
        for name, values in given.items():
            if name not in {"types", "stream", "transcript", "since"}:
                raise ValueError(
                    f"{name!r} is not known here; known are types, stream, transcript and since."
                )
            if len(values) > 1:
                raise ValueError(f"{name} is given {len(values)} times; once is enough.")
        transcript = given.get("transcript", ["1"])[0]
        if transcript not in {"0", "1"}:
            raise ValueError(f"transcript ({transcript!r}) must be 0 or 1.")
        kinds = frozenset(KINDS)
        if "types" in given:
            kinds = frozenset(_kind(name) for name in given["types"][0].split(","))
        streams = (
            frozenset(map(_name, given["stream"][0].split(","))) if "stream" in given else None
        )
        since = dict(map(_since, given["since"][0].split(","))) if "since" in given else {}
        return cls(kinds, streams, transcript == "1", since)

    def wants(self, kind: str, stream: str) -> bool:
        """Whether events of this kind and stream were asked for."""
        return kind in self.kinds and self.wants_stream(stream)

    def wants_stream(self, stream: str) -> bool:
        """Whether this stream was asked for, be it its events or what was lost of them."""
        return self.streams is None or stream in self.streams


def _since(text: str) -> tuple[str | None, int]:
    found = _SINCE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"since ({text!r}) must be a sequence of up to 20 digits, after a stream's name and ':' where it is "
            "not the first stream's."
        )
    return found[1], int(found[2])


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"stream ({text!r}) must be names of streams, with ',' between them.")
    return text


def _kind(name: str) -> str:
    kind = name.removeprefix(PREFIX).removesuffix(".v1")
    known = (*KINDS, *ON_REQUEST)
    if kind not in known:
        raise ValueError(f"{name!r} is no type of event; known are {', '.join(known)}.")
    return kind
