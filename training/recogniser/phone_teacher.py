"""A pre-trained Whisper encoder hears what the acoustic model is trained on (docs/teacher.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.hear import STEP, WhisperEar
from training.recogniser.features import FRAMES_PER_S, SAMPLE_RATE_HZ, SUBSAMPLING, n_outputs
from training.recogniser.settings import TeacherSettings
from training.recogniser.styles import between
from training.run_record import digest_of

_HOP: Final = SAMPLE_RATE_HZ // FRAMES_PER_S
_WINDOW: Final = 400
"""Samples in a frame of log-mel."""


class PhoneTeacher:
    """The states of one layer, at the times of the acoustic model's outputs."""

    def __init__(self, folder: Path, settings: TeacherSettings) -> None:
        """Load a Whisper as transformers saves it.

        Raises:
            TrainingError: There is none in the folder, or it lacks ``teacher.layer``.
        """
        self._ear = WhisperEar(folder, half=settings.half_precision)
        self._ear.check([settings.layer])
        self._settings = settings
        weights = digest_of(sorted(folder.glob("*.safetensors")))
        self.digest = f"{settings.layer} {settings.half_precision} {weights}"
        """Of all that its states depend on."""

    def states(self, samples: NDArray[np.float32]) -> NDArray[np.float16]:
        """States at the centre of each third frame of log-mel, ``(outputs, width)``.

        Args:
            samples: float32 ``(samples,)`` at 16 kHz; a frame of log-mel at least, 30 s at most.
        """
        states = self._ear.states(samples)[self._settings.layer]
        n_frames = 1 + (len(samples) - _WINDOW) // _HOP
        centres = SUBSAMPLING * _HOP * np.arange(n_outputs(n_frames)) + _WINDOW / 2
        return between(states, centres / STEP - 0.5).astype(np.float16)
