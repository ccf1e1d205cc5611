"""The voice and room that a stream has heard, kept in a file over restarts where that is asked for."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from monitor.errors import UsageError
from stser_core.adaptation import LogMelStatistics
from stser_core.features import LogMelSettings

logger = logging.getLogger(__name__)

VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationSettings:
    """Adaptation to the voice and room of a stream."""

    state_file: str = ""
    """Where what was heard is kept over restarts: an average spectrum, no words. Empty: nowhere."""


class VoiceFile:
    """One stream's statistics in a file that only its owner may read; replaced whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, settings: LogMelSettings) -> LogMelStatistics | None:
        """What was heard before; None where there is nothing that fits this front end.

        Raises:
            UsageError: The file is there, but cannot be read.
        """
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(
                f"adaptation.state_file ({self._path}) cannot be read: {error.strerror}. "
                "Name another file."
            ) from error
        try:
            return _parsed(text, settings)
        except (ValueError, KeyError, TypeError, RecursionError):
            logger.warning(
                "%s holds no voice that this model can use: it is learnt anew.", self._path
            )
            return None

    def save(self, heard: LogMelStatistics | None, settings: LogMelSettings) -> None:
        """Keep this in place of what was kept; None forgets it. A disk that fails is only logged."""
        try:
            if heard is None:
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made readable for its owner alone, by mkstemp.
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(_written(heard, settings))
                Path(name).replace(self._path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            logger.warning("the voice heard so far cannot be kept in %s: %s", self._path, error)


def _written(heard: LogMelStatistics, settings: LogMelSettings) -> str:
    return json.dumps(
        {
            "version": VERSION,
            "front_end": repr(settings),
            "count": heard.count,
            "mean": heard.mean.tolist(),
            "squares": heard.squares.tolist(),
        }
    )


def _parsed(text: str, settings: LogMelSettings) -> LogMelStatistics:
    tree = json.loads(text)
    mean, squares = (np.array(tree[name], np.float64) for name in ("mean", "squares"))
    heard = LogMelStatistics(float(tree["count"]), mean, squares)
    numbers = np.concatenate([mean, squares, [heard.count]])
    if (
        (tree["version"], tree["front_end"]) != (VERSION, repr(settings))
        or mean.shape != (settings.n_mels,)
        or squares.shape != (settings.n_mels,)
        or not np.isfinite(numbers).all()
        or squares.min() < 0
        or heard.count <= 0
    ):
        raise ValueError("made by another version or front end, or damaged")
    return heard
