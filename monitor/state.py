"""The debounced emotion of a stream, for lamps and robots that must not flicker. No clock."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.events import SAMPLE_RATE_HZ, StateChanged, UtteranceEmotion
from stser_core.labels import EMOTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """When the state follows the utterances."""

    weight: float = 0.5
    """Share of the newest utterance in the running posterior, from 0 to 1 (no memory)."""
    enter: float = 0.45
    """A new emotion needs at least this much of the running posterior."""
    margin: float = 0.10
    """And it needs to lead the present one by this much (hysteresis)."""
    hold_ms: int = 2_000
    """A state lasts at least this long, in stream time."""

    def __post_init__(self) -> None:
        for name in ("weight", "enter", "margin"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"state.{name} ({value:g}) must be from 0 to 1.")
        if self.hold_ms < 0:
            raise ValueError(f"state.hold_ms ({self.hold_ms}) must not be negative.")


class EmotionState:
    """Follows the utterances of one stream; those that abstained leave it as it is."""

    def __init__(self, settings: StateSettings) -> None:
        self._settings = settings
        self._posterior: dict[str, float] = {}
        self._label: str | None = None
        self._since = 0

    def reset(self) -> None:
        """Forget what was said; the next utterance gives the first state."""
        self._posterior, self._label = {}, None

    def update(self, utterance: UtteranceEmotion) -> StateChanged | None:
        """Take the next utterance; the new state where it changes, else None."""
        if utterance.abstained:
            return None
        newest = utterance.verdict.posterior.as_dict()
        weight = self._settings.weight if self._posterior else 1.0
        self._posterior = {
            name: weight * newest[name] + (1 - weight) * self._posterior.get(name, 0.0)
            for name in EMOTIONS
        }
        leader = max(EMOTIONS, key=lambda name: self._posterior[name]).value
        if not self._follows(leader, utterance.segment.end):
            return None
        self._label, self._since = leader, utterance.segment.end
        return StateChanged(leader, self._since, self._posterior[leader], dict(self._posterior))

    def _follows(self, leader: str, now: int) -> bool:
        if self._label is None:
            return True
        settings = self._settings
        return (
            leader != self._label
            and self._posterior[leader] >= settings.enter
            and self._posterior[leader] - self._posterior[self._label] >= settings.margin
            and (now - self._since) * 1000 >= settings.hold_ms * SAMPLE_RATE_HZ
        )
