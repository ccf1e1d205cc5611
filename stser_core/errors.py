"""Every exception that ``stser_core`` raises on purpose.

StserError
├── ShapeError        an array does not have the shape that its function states
├── AudioFormatError  audio that cannot be used as given
└── CheckpointError   a checkpoint is missing, damaged or made for another setting
"""

from __future__ import annotations


class StserError(Exception):
    """Root of the errors of ``stser_core``."""


class ShapeError(StserError):
    """An array does not have the shape that its function states."""


class AudioFormatError(StserError):
    """Audio whose rate, shape or values cannot be used."""


class CheckpointError(StserError):
    """A checkpoint is missing, damaged, or does not match what is asked of it."""
