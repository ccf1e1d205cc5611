"""Whether a stream's components work, as its utterances show. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from monitor.events import MonitorDegraded, MonitorRecovered

Component = Literal["recogniser", "ensemble"]


@dataclass(slots=True)
class _Trouble:
    since: int
    utterances: int


class Degradation:
    """Follows each component from utterance to utterance, and tells when it begins to fail and when that is over."""

    def __init__(self) -> None:
        self._troubles: dict[Component, _Trouble] = {}

    @property
    def components(self) -> tuple[Component, ...]:
        """Those that failed at the last utterance."""
        return tuple(self._troubles)

    def note(
        self, component: Component, trouble: str, at: int
    ) -> MonitorDegraded | MonitorRecovered | None:
        """Take the next utterance into account.

        Args:
            component: That worked for it, or did not.
            trouble: Why it did not; empty where it did.
            at: End of the utterance, in samples of the stream.
        """
        known = self._troubles.get(component)
        if trouble:
            if known is not None:
                known.utterances += 1
                return None
            self._troubles[component] = _Trouble(at, 1)
            return MonitorDegraded(component, trouble, at)
        if known is None:
            return None
        del self._troubles[component]
        return MonitorRecovered(component, known.utterances, at - known.since, at)
