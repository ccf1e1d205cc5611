"""Emo-DB (Burkhardt et al., 2005): ``wav/03a01Wa.wav``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.file_names import NamedCorpus, Speech

MEN: Final = ("03", "10", "11", "12", "15")

SENTENCES: Final = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}

_PATTERN: Final = re.compile(
    r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[WLEAFTN])[a-z]?\.wav"
)


def _describe(match: re.Match[str], _: Path) -> Speech:
    gender = "male" if match["speaker"] in MEN else "female"
    return Speech(match["speaker"], gender, SENTENCES.get(match["sentence"]))


EMO_DB: Final = NamedCorpus(
    name="emodb",
    pattern=_PATTERN,
    labels={  # Wut, Freude, Neutral, Trauer
        "W": Emotion.ANGRY,
        "F": Emotion.HAPPY,
        "N": Emotion.NEUTRAL,
        "T": Emotion.SAD,
    },
    census={Emotion.ANGRY: 127, Emotion.HAPPY: 71, Emotion.NEUTRAL: 79, Emotion.SAD: 62},
    describe=_describe,
)
"""339 utterances of ten actors, German."""
