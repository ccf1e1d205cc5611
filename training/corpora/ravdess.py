"""RAVDESS (Livingstone and Russo, 2018), speech: ``Actor_01/03-01-05-02-01-01-01.wav``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.file_names import NamedCorpus, Speech

_PATTERN: Final = re.compile(
    r"03-01-(?P<emotion>\d\d)-\d\d-(?P<statement>0[12])-\d\d-(?P<actor>\d\d)\.wav"
)
_STATEMENTS: Final = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}


def _describe(match: re.Match[str], _: Path) -> Speech:
    gender = "male" if int(match["actor"]) % 2 else "female"
    return Speech(match["actor"], gender, _STATEMENTS[match["statement"]])


RAVDESS: Final = NamedCorpus(
    name="ravdess",
    pattern=_PATTERN,
    labels={"01": Emotion.NEUTRAL, "03": Emotion.HAPPY, "04": Emotion.SAD, "05": Emotion.ANGRY},
    census={Emotion.ANGRY: 192, Emotion.HAPPY: 192, Emotion.NEUTRAL: 96, Emotion.SAD: 192},
    describe=_describe,
)
"""672 utterances of 24 actors, North American English. Calm, which is not neutral, is left out."""
