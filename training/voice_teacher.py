"""What a pre-trained speech encoder has left for the training of a speech branch (docs/teacher.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stser_core.smodel import SpeechModel
from training.errors import TrainingError
from training.hearing import read_hearing
from training.pretrain import load_pretrained
from training.read_speech import Pieces, ReadSpeech
from training.run_record import digest_of
from training.settings import OpenSettings
from training.speech_data import SpeechData


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What a teacher heard, in memory."""

    heard: NDArray[np.float32] | None = None
    """Of each utterance, ``(utterances, values)``."""
    pieces: Pieces | None = None
    """Of read speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceTeacher:
    """Three files, each of which may be missing."""

    smodel: Path | None = None
    """What the smodel starts from, as ``stser-train pretrain`` writes it."""
    hearing: Path | None = None
    """What was heard in the training utterances, as ``stser-train hear`` writes it."""
    read: Path | None = None
    """Read speech and what was heard in it, as ``stser-train pretrain`` keeps it; it needs ``hearing``, too."""

    def digests(self) -> dict[str, str | None]:
        """``sha256:...`` of each file; None where it is missing.

        Raises:
            TrainingError: A file cannot be read.
        """
        files = {"smodel": self.smodel, "hearing": self.hearing, "read": self.read}
        return {name: None if path is None else digest_of([path]) for name, path in files.items()}

    def start(self, smodel: SpeechModel) -> None:
        """Put pre-trained weights in place, where there are any.

        Raises:
            TrainingError: The file cannot be read, or is of a smodel of other sizes.
        """
        if self.smodel is not None:
            load_pretrained(smodel, self.smodel)

    def taught(self, speech: SpeechData, settings: OpenSettings) -> Taught:
        """What was heard, where it was.

        Raises:
            TrainingError: A file cannot be read, is of other utterances or settings, or would be
                read in vain; or one that the settings ask for is missing.
        """
        share, layers = settings.speech.read_share, settings.lesson.layers
        if self.read is None:
            if share > 0 and self.hearing is not None:
                raise TrainingError(
                    f"speech.read_share is {share}, but there is no --read: give the file that stser-train "
                    "pretrain kept, or set the share to 0."
                )
            if self.hearing is None:
                return Taught()
            return Taught(read_hearing(self.hearing, speech.utterances, layers))
        if self.hearing is None:
            raise TrainingError(
                "--read needs --hearing: opinions of read speech are learnt from it."
            )
        if share == 0:
            raise TrainingError(
                f"{self.read}: nothing of it would be heard, for speech.read_share is 0. Set it, or leave --read out."
            )
        heard = read_hearing(self.hearing, speech.utterances, layers)
        read = ReadSpeech.load(self.read, settings)
        return Taught(heard, read.pieces(settings.lesson.pieces))
