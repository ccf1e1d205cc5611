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
from numpy.typing import NDArray

from config.loader import user_path
from monitor.errors import UsageError
from stser_core.adaptation import Average, HeardSpeech
from stser_core.features import LogMelSettings

logger = logging.getLogger(__name__)

VERSION: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationSettings:
    """Adaptation to the voice and room of a stream."""

    state_file: str = ""
    """Where what was heard is kept over restarts: averages that tell voices apart, no words. Those of clients are
    not kept. Empty: nowhere."""

    def __post_init__(self) -> None:
        user_path(self.state_file, "adaptation.state_file")


@dataclass(frozen=True, slots=True)
class Origin:
    """What averages are of: to any other front end or weights they mean nothing."""

    front_end: LogMelSettings
    weights: str
    """Digest of the checkpoint."""
    representation_size: int
    """Numbers in a representation by these weights."""


class VoiceFile:
    """What one stream heard, in a file that only its owner may read; replaced whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, origin: Origin) -> HeardSpeech:
        """What was heard before; nothing where it is not of this front end.

        A voice of other weights is learnt anew, while the log-mel of voice and room stays.

        Raises:
            UsageError: The file is there, but cannot be read.
        """
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return HeardSpeech()
        except OSError as error:
            raise UsageError(
                f"adaptation.state_file ({self._path}) cannot be read: {error.strerror}. "
                "Name another file."
            ) from error
        try:
            return _parsed(text, origin)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            logger.warning(
                "%s holds no voice that this model can use: it is learnt anew.", self._path
            )
            return HeardSpeech()

    def save(self, heard: HeardSpeech, origin: Origin) -> None:
        """Keep this in place of what was kept; nothing heard forgets it. A disk that fails is only logged."""
        try:
            if heard.log_mel is None:
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made readable for its owner alone, by mkstemp.
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(_written(heard.log_mel, heard.voice, origin))
                Path(name).replace(self._path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            logger.warning("the voice heard so far cannot be kept in %s: %s", self._path, error)


def _written(log_mel: Average, voice: Average | None, origin: Origin) -> str:
    return json.dumps(
        {
            "version": VERSION,
            "front_end": repr(origin.front_end),
            "log_mel": _tree(log_mel),
            "weights": origin.weights,
            "voice": None if voice is None else _tree(voice),
        }
    )


def _parsed(text: str, origin: Origin) -> HeardSpeech:
    tree = json.loads(text)
    if (tree["version"], tree["front_end"]) != (VERSION, repr(origin.front_end)):
        raise ValueError("made by another version or front end")
    log_mel = _average(tree["log_mel"], origin.front_end.n_mels)
    said = tree["voice"]
    if said is None or tree["weights"] != origin.weights:
        return HeardSpeech(log_mel)
    return HeardSpeech(log_mel, _average(said, origin.representation_size))


def _tree(average: Average) -> dict[str, object]:
    return {"count": average.count, "mean": average.mean.tolist()}


def _average(tree: dict[str, object], size: int) -> Average:
    count = float(_numbers([tree["count"]], 1)[0])
    if count <= 0:
        raise ValueError("nothing was counted")
    return Average(count, _numbers(tree["mean"], size))


def _numbers(values: object, size: int) -> NDArray[np.float64]:
    numbers = np.array(values, np.float64)
    # The networks reckon in float32. No comparison holds for what is not a number.
    if numbers.shape != (size,) or not (np.abs(numbers) <= np.finfo(np.float32).max).all():
        raise ValueError(f"not {size} numbers")
    return numbers
