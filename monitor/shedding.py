"""What is left out while the machine cannot keep up, in this order: what is said beside the verdicts, then words, then
(``capture.backlog_ms``) audio. A verdict never is. No I/O and no clock: times are handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 0.25
"""For at least so long, and at most twice, a delay that was seen counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheddingSettings:
    """What is left out while live audio is heard, recognised or judged late."""

    provisional_ms: int = 150
    """While anything is so late, no provisional verdict is given."""
    words_ms: int = 500
    """While anything is so late, an utterance that begins is not recognised: its voice alone will be judged."""

    def __post_init__(self) -> None:
        for name in ("provisional_ms", "words_ms"):
            if not 20 <= getattr(self, name) <= 60_000:
                raise ValueError(
                    f"shedding.{name} ({getattr(self, name)}) must lie between 20 and 60000: less takes every hiccup "
                    "for too much work, more lets verdicts come a minute late."
                )


class Shedding:
    """How late the work on all live streams is, and what is left out for it.

    Attributes:
        sparing: Whether provisional verdicts are left out anyway, as where memory is short.
        provisional: Provisional verdicts that were left out.
        words: Utterances that were not recognised.
    """

    def __init__(self, settings: SheddingSettings | None = None) -> None:
        chosen = settings if settings is not None else SheddingSettings()
        self._provisional_s = chosen.provisional_ms / 1000
        self._words_s = chosen.words_ms / 1000
        self._began_s = 0.0
        self._worst_s = 0.0
        """In the window that began then."""
        self._before_s = 0.0
        """In the window before it."""
        self.sparing = False
        self.provisional = 0
        self.words = 0

    def note(self, late_s: float, now_s: float) -> None:
        """Some work was done, or has been waiting, so late."""
        self._turn(now_s)
        self._worst_s = max(self._worst_s, late_s)

    def late_s(self, now_s: float) -> float:
        """The worst of the last moments."""
        self._turn(now_s)
        return max(self._worst_s, self._before_s)

    def leaves_out_provisional(self, now_s: float) -> bool:
        """Whether no provisional verdict is to be given now; counts it."""
        left_out = self.sparing or self.late_s(now_s) >= self._provisional_s
        self.provisional += left_out
        return left_out

    def leaves_out_words(self, now_s: float) -> bool:
        """Whether an utterance that begins now is not to be recognised; counts it."""
        left_out = self.late_s(now_s) >= self._words_s
        self.words += left_out
        return left_out

    def _turn(self, now_s: float) -> None:
        since_s = now_s - self._began_s
        if since_s >= WINDOW_S:
            self._before_s = self._worst_s if since_s < 2 * WINDOW_S else 0.0
            self._began_s, self._worst_s = now_s, 0.0
