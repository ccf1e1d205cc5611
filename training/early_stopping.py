"""When to stop, and which state to keep: a pure state machine on one number."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class EarlyStopping:
    """Keep the best value seen; stop after ``patience`` values that are not better."""

    patience: int
    best: float = field(default=float("-inf"), init=False)
    waited: int = field(default=0, init=False)

    def better(self, value: float) -> bool:
        """Take the next value; True where it is the best so far."""
        if value > self.best:
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    @property
    def stop(self) -> bool:
        return self.waited >= self.patience
