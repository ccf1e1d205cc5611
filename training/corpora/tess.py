"""TESS (Pichora-Fuller and Dupuis, 2020): ``OAF_angry/OAF_back_angry.wav``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.file_names import NamedCorpus, Speech

# One file of the release, OA_bite_neutral.wav, lacks the F of its actress.
_PATTERN: Final = re.compile(
    r"(?P<actress>OAF?|YAF)_(?P<word>[a-z]+)_(?P<emotion>[a-z]+)\.wav", re.IGNORECASE
)


def _describe(match: re.Match[str], _: Path) -> Speech:
    actress = "OAF" if match["actress"].startswith("O") else "YAF"
    return Speech(actress, "female", f"Say the word {match['word'].lower()}.")


TESS: Final = NamedCorpus(
    name="tess",
    pattern=_PATTERN,
    labels={
        "angry": Emotion.ANGRY,
        "happy": Emotion.HAPPY,
        "neutral": Emotion.NEUTRAL,
        "sad": Emotion.SAD,
    },
    census=dict.fromkeys(Emotion, 400),
    describe=_describe,
)
"""1,600 utterances of two actresses, Canadian English."""
