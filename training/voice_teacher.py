"""What a pre-trained speech encoder has left for the training of a speech branch (docs/teacher.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stser_core.smodel import SpeechModel
from training.hearing import read_hearing
from training.pretrain import load_pretrained
from training.utterance import Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceTeacher:
    """Two files, each of which may be missing."""

    smodel: Path | None = None
    """What the smodel starts from, as ``stser-train pretrain`` writes it."""
    hearing: Path | None = None
    """What was heard in the training utterances, as ``stser-train hear`` writes it."""

    def start(self, smodel: SpeechModel) -> None:
        """Put pre-trained weights in place, where there are any.

        Raises:
            TrainingError: The file cannot be read, or is of a smodel of other sizes.
        """
        if self.smodel is not None:
            load_pretrained(smodel, self.smodel)

    def heard(self, utterances: Sequence[Utterance]) -> NDArray[np.float32] | None:
        """What was heard of each utterance, ``(utterances, values)``, where it was.

        Raises:
            TrainingError: The file cannot be read, or is of other utterances.
        """
        return None if self.hearing is None else read_hearing(self.hearing, utterances)
