"""IEMOCAP (Busso et al., 2008) in its own layout, four classes, as in the paper's section 3.1.

::

    Session1/ ... Session5/
        dialog/EmoEvaluation/Ses01F_impro01.txt     [begin - end] TAB utterance TAB emotion TAB [v, a, d]
        dialog/transcriptions/Ses01F_impro01.txt    utterance [begin-end]: words
        sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav

Kept are anger, happiness and excitement as one, neutral and sadness: 5,531 utterances. The corpus
is licensed by the University of Southern California and read from the user's copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.census import check_census
from training.errors import CorpusError
from training.utterance import Utterance

SESSIONS: Final = ("Session1", "Session2", "Session3", "Session4", "Session5")

LABELS: Final = {
    "ang": Emotion.ANGRY,
    "hap": Emotion.HAPPY,
    "exc": Emotion.HAPPY,
    "neu": Emotion.NEUTRAL,
    "sad": Emotion.SAD,
}
"""By the corpus' own name; utterances of other names are left out."""

CENSUS: Final = {
    Emotion.ANGRY: 1_103,
    Emotion.HAPPY: 1_636,
    Emotion.NEUTRAL: 1_708,
    Emotion.SAD: 1_084,
}
"""Utterances of each class in the whole corpus: 5,531."""

SESSION_CENSUS: Final = {
    "Session1": 1_085,
    "Session2": 1_023,
    "Session3": 1_151,
    "Session4": 1_031,
    "Session5": 1_241,
}
"""Utterances of the four classes in each session."""

_RATED: Final = re.compile(r"\[[\d.]+ - [\d.]+\]\t(?P<name>\S+)\t(?P<emotion>\w+)\t\[")
_SAID: Final = re.compile(r"(?P<name>\S+) \[[\d.]+-[\d.]+\]:(?P<text>.*)")
_NAME: Final = re.compile(r"(?P<dialogue>Ses0(?P<session>[1-5])[FM]_\w+)_(?P<gender>[FM])\d+")


def read_iemocap(root: Path, *, allow_partial: bool = False) -> list[Utterance]:
    """Utterances of the four classes, by session, dialogue and time.

    Args:
        root: Folder of the five sessions, or the folder above it (``IEMOCAP_full_release``).
        allow_partial: Go on where sessions, dialogues or audio files are missing.

    Raises:
        CorpusError: The census is not that of the corpus, a line cannot be read (named by file and
            line), or a rated utterance has no transcription.
    """
    inner = root / "IEMOCAP_full_release"
    folder = inner if inner.is_dir() else root
    utterances: list[Utterance] = []
    missing: list[str] = []
    for session in SESSIONS:
        dialogues = folder / session / "dialog" / "EmoEvaluation"
        # Copies made on a Mac hold a "._" twin of each file, which is no text.
        for ratings in sorted(dialogues.glob("Ses*.txt")):
            for utterance in _dialogue(folder / session, ratings):
                if utterance.audio is not None and utterance.audio.is_file():
                    utterances.append(utterance)
                else:
                    missing.append(str(utterance.audio))
    check_census(
        "iemocap",
        utterances,
        CENSUS,
        sessions=SESSION_CENSUS,
        allow_partial=allow_partial,
        missing=missing,
    )
    return utterances


def _dialogue(session: Path, ratings: Path) -> Iterator[Utterance]:
    """Rated utterances of the four classes of one dialogue, in time."""
    words = _transcription(session / "dialog" / "transcriptions" / ratings.name)
    for number, line in enumerate(_text(ratings).splitlines(), start=1):
        if not line.startswith("["):
            continue
        rated = _RATED.match(line)
        name = _NAME.fullmatch(rated["name"]) if rated else None
        if rated is None or name is None or f"Session{name['session']}" != session.name:
            raise CorpusError(
                f"{ratings}:{number}: not a rating of {session.name}: {line!r}. Expected "
                "[begin - end], utterance, emotion and [v, a, d], with tabs between them."
            )
        label = LABELS.get(rated["emotion"])
        if label is None:
            continue
        if rated["name"] not in words:
            raise CorpusError(f"{ratings}:{number}: {rated['name']} has no transcription.")
        yield Utterance(
            corpus="iemocap",
            label=label,
            speaker=f"iemocap_Ses0{name['session']}{name['gender']}",
            gender="female" if name["gender"] == "F" else "male",
            audio=session / "sentences" / "wav" / name["dialogue"] / f"{rated['name']}.wav",
            text=words[rated["name"]],
            dialogue=name["dialogue"],
            session=session.name,
        )


def _transcription(path: Path) -> dict[str, str]:
    """Words by utterance; lines of any other form are remarks of the transcribers."""
    said = (_SAID.match(line) for line in _text(path).splitlines())
    return {match["name"]: match["text"].strip() for match in said if match}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}). Check --root.") from error
