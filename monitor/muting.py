"""Whether a stream hears nothing because a command says so. No I/O and no clock."""

from __future__ import annotations

from monitor.events import DeviceMuted


class Muting:
    """Follows commands, which take effect with the next frame.

    Attributes:
        wanted: What the last command said.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._since: int | None = None
        """Where it took effect; None while everything is heard."""
        self._count = 0

    def follow(self, device: str, now: int) -> DeviceMuted | None:
        """What changes with the frame that begins at ``now``; None where all stays as it is."""
        if self.wanted == (self._since is not None):
            return None
        if self._since is None:
            self._since = now
            self._count += 1
            return DeviceMuted(device, True, self._count, 0, by="command")
        length, self._since = now - self._since, None
        return DeviceMuted(device, False, self._count, length, by="command")
