"""CREMA-D (Cao et al., 2014): ``AudioWAV/1001_DFA_ANG_XX.wav``, ``VideoDemographics.csv``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.csv_manifest import read_rows
from training.corpora.file_names import NamedCorpus, Speech
from training.errors import CorpusError
from training.utterance import Utterance

SENTENCES: Final = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
SILENT: Final = "1076_MTI_SAD_XX.wav"
"""Holds no sound, says the corpus; it is left out."""

_PATTERN: Final = re.compile(
    r"(?P<actor>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?:XX|X|LO|MD|HI)\.wav"
)
_LABELS: Final = {
    "ANG": Emotion.ANGRY,
    "HAP": Emotion.HAPPY,
    "NEU": Emotion.NEUTRAL,
    "SAD": Emotion.SAD,
}
CENSUS: Final = {
    Emotion.ANGRY: 1_271,
    Emotion.HAPPY: 1_271,
    Emotion.NEUTRAL: 1_087,
    Emotion.SAD: 1_270,
}


def read_crema_d(root: Path, *, allow_partial: bool = False) -> list[Utterance]:
    """4,899 utterances of 91 actors, American English.

    Raises:
        CorpusError: Files are missing, or git-lfs has not fetched the audio.
    """
    sex = _sex_by_actor(root)

    def describe(match: re.Match[str], path: Path) -> Speech | None:
        if path.name == SILENT:
            return None
        if path.stat().st_size < 200 and path.read_bytes().startswith(b"version https://git-lfs"):
            raise CorpusError(f"{path}: only a pointer to the audio. Run `git lfs pull` there.")
        gender = sex.get(match["actor"], "")
        return Speech(match["actor"], gender, SENTENCES.get(match["sentence"]))

    corpus = NamedCorpus("crema_d", _PATTERN, _LABELS, CENSUS, describe)
    return corpus.read(root, allow_partial=allow_partial)


def _sex_by_actor(root: Path) -> dict[str, str]:
    """From ``VideoDemographics.csv``; nothing where only the audio was downloaded."""
    path = root / "VideoDemographics.csv"
    if not path.is_file():
        return {}
    return {row["ActorID"]: row["Sex"].lower() for row in read_rows(path, ("ActorID", "Sex"))}
