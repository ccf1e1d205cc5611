"""How late live audio is heard. No clock: times are handed in."""

from __future__ import annotations

from typing import Final

from monitor.events import SAMPLE_RATE_HZ

DRIFT_S_PER_FRAME: Final = 1e-5
"""500 parts in a million of 20 ms."""


class Lateness:
    """How far behind its own clock a live stream is heard: the prompter frames of the last while are on time."""

    def __init__(self) -> None:
        self._origin_s: float | None = None

    def heard(self, clock: int, now_s: float) -> None:
        """A frame that ends at ``clock`` has come."""
        origin_s = now_s - clock / SAMPLE_RATE_HZ
        if self._origin_s is None or origin_s < self._origin_s:
            self._origin_s = origin_s
        else:  # clocks of devices drift by up to a few hundred parts in a million
            self._origin_s += min(origin_s - self._origin_s, DRIFT_S_PER_FRAME)

    def of(self, clock: int, now_s: float) -> float:
        """Seconds between the moment ``clock`` of the stream and now, beyond those of a prompt frame."""
        if self._origin_s is None:
            return 0.0
        return max(0.0, now_s - clock / SAMPLE_RATE_HZ - self._origin_s)

    def forget(self) -> None:
        """Audio was lost: how much is known only roughly."""
        self._origin_s = None
