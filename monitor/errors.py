"""Every exception that ``monitor`` raises on purpose, with the exit code each ends the program with.

MonitorError
├── OutOfMemoryError 1  more memory is held than the settings allow, or the system gives less than is needed
├── UsageError     2  a flag, a setting or an input file that cannot be used
├── CaptureError   3  no audio device, or it failed
│   └── DeviceHeldError
├── ModelError     4  the STSER checkpoint or the recogniser's model cannot be used
└── PublishError   5  a port is taken, or a broker does not answer
"""

from __future__ import annotations

from typing import ClassVar


class MonitorError(Exception):
    """Root of the errors of ``monitor``."""

    exit_code: ClassVar[int] = 1


class OutOfMemoryError(MonitorError):
    """More memory is held than ``memory.limit_mb`` allows, although what can be shed was; or the system gives less
    than is needed."""


class UsageError(MonitorError):
    """A flag, a setting or an input file that cannot be used."""

    exit_code = 2


class CaptureError(MonitorError):
    """The audio device is unknown, cannot be opened or has failed."""

    exit_code = 3


class DeviceHeldError(CaptureError):
    """Another program holds the audio device, which no two can have at once."""


class ModelError(MonitorError):
    """The STSER checkpoint or the recogniser's model cannot be used."""

    exit_code = 4


class PublishError(MonitorError):
    """A port is taken, or a broker does not answer."""

    exit_code = 5
