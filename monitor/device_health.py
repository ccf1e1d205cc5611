"""What a microphone that does deliver may still suffer from: muted, silent, clipped.

A state machine over frames, with no clock and no I/O. Each condition is announced when it has lasted long
enough to be no accident, and once more when it is over.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    DeviceClipping,
    DeviceHappening,
    DeviceMuted,
    DeviceSilent,
)
from monitor.segmenter import FULL_SCALE
from monitor.vad import MIN_FLOOR_DBFS

SILENT_POWER: Final = 10 ** (MIN_FLOOR_DBFS / 10)
"""Mean square of a frame in which not even a room can be heard."""

CLIPPED_SHARE: Final = 0.005
"""Of a second's samples; less is a knock, not a level that is too high."""

_SECOND_FRAMES: Final = SAMPLE_RATE_HZ // FRAME_SAMPLES
CALM_FRAMES: Final = 5 * _SECOND_FRAMES
"""Clipping is over when there was none for so long: shouts come in bursts."""


class DeviceHealth:
    """Watches one stream of frames.

    Args:
        quiet_after_s: How long a microphone must be muted or silent before it is announced.
    """

    def __init__(self, quiet_after_s: float) -> None:
        self._patience = max(1, round(quiet_after_s * _SECOND_FRAMES))
        self._counts: dict[type[DeviceHappening], int] = {DeviceMuted: 0, DeviceSilent: 0}
        self.interrupted()

    def interrupted(self) -> None:
        """The device was lost: what comes next has nothing to do with what was."""
        self._zero = self._quiet = 0
        """Frames of exact zeros, and of less than a room, in a row up to now."""
        self._muted = self._silent = False
        self._clipped: deque[int] = deque([0] * _SECOND_FRAMES, _SECOND_FRAMES)
        self._n_clipped = 0
        """Samples, since the clipping began."""
        self._clipping = 0
        """Frames since the clipping began; 0 where there is none."""
        self._calm = 0
        """Frames since the last clipped one."""

    def push(self, frame: AudioFrame, device: str) -> list[DeviceHappening]:
        """Take the next frame; what begins or ends with it."""
        power = float(np.dot(frame.samples, frame.samples)) / FRAME_SAMPLES
        return self._hush(power, device) + self._clip(frame, device)

    def _hush(self, power: float, device: str) -> list[DeviceHappening]:
        said: list[DeviceHappening] = []
        zero, quiet = self._zero, self._quiet
        self._zero = zero + 1 if power == 0 else 0
        self._quiet = quiet + 1 if power < SILENT_POWER else 0
        if self._muted and not self._zero:
            said.append(self._announce(DeviceMuted, device, zero, active=False))
            self._muted = False
        if self._silent and (not self._quiet or self._zero >= self._patience):
            said.append(self._announce(DeviceSilent, device, quiet, active=False))
            self._silent = False
        if not self._muted and self._zero >= self._patience:
            said.append(self._announce(DeviceMuted, device, self._zero, active=True))
            self._muted = True
        elif not (self._muted or self._silent or self._zero) and self._quiet >= self._patience:
            said.append(self._announce(DeviceSilent, device, self._quiet, active=True))
            self._silent = True
        return said

    def _announce(
        self, kind: type[DeviceMuted | DeviceSilent], device: str, n_frames: int, *, active: bool
    ) -> DeviceHappening:
        self._counts[kind] += active
        return kind(device, active, self._counts[kind], n_frames * FRAME_SAMPLES)

    def _clip(self, frame: AudioFrame, device: str) -> list[DeviceHappening]:
        clipped = int(np.count_nonzero(np.abs(frame.samples) >= FULL_SCALE))
        self._clipped.append(clipped)
        if self._clipping:
            self._clipping += 1
            self._n_clipped += clipped
            self._calm = 0 if clipped else self._calm + 1
            if self._calm < CALM_FRAMES:
                return []
            lasted = (self._clipping - self._calm) * FRAME_SAMPLES
            self._clipping = 0
            return [DeviceClipping(device, False, self._n_clipped, lasted)]
        if sum(self._clipped) < CLIPPED_SHARE * SAMPLE_RATE_HZ:
            return []
        first = next(age for age, n in enumerate(self._clipped) if n)
        self._clipping = _SECOND_FRAMES - first
        self._n_clipped, self._calm = sum(self._clipped), 0
        return [DeviceClipping(device, True, self._n_clipped, self._clipping * FRAME_SAMPLES)]
