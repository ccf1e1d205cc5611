"""nEMO (Christop, 2024): ``samples/SK0_anger_1.wav`` and ``data.tsv``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.census import check_census
from training.corpora.csv_manifest import read_rows
from training.utterance import Utterance

_LABELS: Final = {
    "anger": Emotion.ANGRY,
    "happiness": Emotion.HAPPY,
    "neutral": Emotion.NEUTRAL,
    "sadness": Emotion.SAD,
}
CENSUS: Final = {
    Emotion.ANGRY: 749,
    Emotion.HAPPY: 749,
    Emotion.NEUTRAL: 809,
    Emotion.SAD: 769,
}
_COLUMNS: Final = ("file_id", "emotion", "raw_text", "speaker_id", "gender")


def read_nemo(root: Path, *, allow_partial: bool = False) -> list[Utterance]:
    """3,076 utterances of nine actors, Polish, in the order of ``data.tsv``.

    Raises:
        CorpusError: ``data.tsv`` cannot be read or lacks a column, or files are missing.
    """
    path = root / "data.tsv"
    utterances, missing = [], []
    # Polish quotation marks stand inside sentences, unbalanced: they quote no column.
    for row in read_rows(path, _COLUMNS, delimiter="\t", quoting=csv.QUOTE_NONE):
        label = _LABELS.get(row["emotion"])
        if label is None:
            continue
        audio = root / "samples" / row["file_id"]
        if not audio.is_file():
            missing.append(str(audio))
            continue
        utterances.append(
            Utterance(
                corpus="nemo",
                label=label,
                speaker=f"nemo_{row['speaker_id'].strip()}",
                gender=row["gender"],
                audio=audio,
                text=row["raw_text"],
            )
        )
    check_census("nemo", utterances, CENSUS, allow_partial=allow_partial, missing=missing)
    return utterances
