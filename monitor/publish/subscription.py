"""What a subscriber asks for in the query of ``/events``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qs

from monitor.publish.wire import KINDS, PREFIX

_SEQUENCE: Final = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A choice among the events of a stream."""

    kinds: frozenset[str] = frozenset(KINDS)
    transcript: bool = True
    """False for events without the words."""
    since: int | None = None
    """Sequence of the last event that the subscriber has; None for whatever comes from now on."""

    @classmethod
    def from_query(cls, query: str) -> Self:
        """Read ``types=a,b&transcript=0&since=SEQUENCE``; each may be left out.

        A type is given in full (``org.stser.emotion.state.v1``) or by its kind (``emotion.state``).

        Raises:
            ValueError: Anything else, with what is known.
        """
        given = parse_qs(query, keep_blank_values=True)
        for name, values in given.items():
            if name not in {"types", "transcript", "since"}:
                raise ValueError(
                    f"{name!r} is not known here; known are types, transcript and since."
                )
            if len(values) > 1:
                raise ValueError(f"{name} is given {len(values)} times; once is enough.")
        transcript = given.get("transcript", ["1"])[0]
        if transcript not in {"0", "1"}:
            raise ValueError(f"transcript ({transcript!r}) must be 0 or 1.")
        since = given.get("since", [None])[0]
        if since is not None and not _SEQUENCE.fullmatch(since):
            raise ValueError(f"since ({since!r}) must be a sequence: up to 20 digits.")
        kinds = frozenset(KINDS)
        if "types" in given:
            kinds = frozenset(_kind(name) for name in given["types"][0].split(","))
        return cls(kinds, transcript == "1", None if since is None else int(since))

    def wants(self, kind: str) -> bool:
        """Whether events of this kind were asked for."""
        return kind in self.kinds


def _kind(name: str) -> str:
    kind = name.removeprefix(PREFIX).removesuffix(".v1")
    if kind not in KINDS:
        raise ValueError(f"{name!r} is no type of event; known are {', '.join(KINDS)}.")
    return kind
