"""nEMO (Christop, 2024): ``samples/SK0_anger_1.wav`` and ``data.tsv``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.census import check_census
from training.errors import CorpusError
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
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}). Check --root.") from error
    # Polish quotation marks stand inside sentences, unbalanced: they quote no column.
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    lacking = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
    if lacking:
        raise CorpusError(f"{path}: no column {', '.join(lacking)}.")
    utterances, missing = [], []
    for row in rows:
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
