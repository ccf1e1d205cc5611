"""SAVEE (Haq and Jackson, 2009): ``AudioData/DC/a01.wav``, in some copies ``ALL/DC_a01.wav``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.file_names import NamedCorpus, Speech

SPEAKERS: Final = ("DC", "JE", "JK", "KL")

_PATTERN: Final = re.compile(r"(?:(?P<speaker>DC|JE|JK|KL)_)?(?P<emotion>sa|su|[adfhn])\d\d\.wav")


def _describe(match: re.Match[str], path: Path) -> Speech | None:
    speaker = match["speaker"] or path.parent.name
    return Speech(speaker, "male") if speaker in SPEAKERS else None


SAVEE: Final = NamedCorpus(
    name="savee",
    pattern=_PATTERN,
    labels={
        "a": Emotion.ANGRY,
        "h": Emotion.HAPPY,
        "n": Emotion.NEUTRAL,
        "sa": Emotion.SAD,
    },
    census={Emotion.ANGRY: 60, Emotion.HAPPY: 60, Emotion.NEUTRAL: 120, Emotion.SAD: 60},
    describe=_describe,
)
"""300 utterances of four men, British English; the release has no words by file."""
