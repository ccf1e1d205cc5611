"""Every exception that ``training`` raises on purpose.

TrainingError
└── CorpusError   a corpus is missing, or a row of it cannot be used
"""

from __future__ import annotations


class TrainingError(Exception):
    """Root of the errors of ``training``."""


class CorpusError(TrainingError):
    """A corpus is missing, or a row of it cannot be used; names the file and line."""
