"""When to say what an utterance sounds like so far, while someone still speaks. No clock and no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.events import SAMPLE_RATE_HZ

LEAST_INTERVAL_MS = 500
"""What consumers may rely on: no more often than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionalSettings:
    """The emotion so far, while someone speaks. The voice alone is judged; nothing is promised."""

    enabled: bool = True
    """False announces verdicts on whole utterances only."""
    after_ms: int = 700
    """Speech of an utterance before the first: less of it says little."""
    every_ms: int = 500
    """Time from one to the next. More costs less."""

    def __post_init__(self) -> None:
        if self.after_ms < 0:
            raise ValueError(f"provisional.after_ms ({self.after_ms}) must not be negative.")
        if self.every_ms < LEAST_INTERVAL_MS:
            raise ValueError(
                f"provisional.every_ms ({self.every_ms}) must be at least {LEAST_INTERVAL_MS}: "
                "consumers may rely on it."
            )


class ProvisionalSchedule:
    """Decides by stream time, so that the same audio has its moments in the same places."""

    def __init__(self, settings: ProvisionalSettings) -> None:
        self._enabled = settings.enabled
        self._after = settings.after_ms * SAMPLE_RATE_HZ // 1000
        self._every = settings.every_ms * SAMPLE_RATE_HZ // 1000
        self._last: int | None = None

    def due(self, clock: int, speech_samples: int) -> bool:
        """Whether this is the moment for the next one; if so, the one after it waits its time.

        Args:
            clock: End of what was handed on of the stream.
            speech_samples: Speech of the open segment so far.
        """
        if not self._enabled or speech_samples < self._after:
            return False
        if self._last is not None and clock - self._last < self._every:
            return False
        self._last = clock
        return True
