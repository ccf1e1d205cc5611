"""ESD (Zhou et al., 2021), the English half: ``0011/Angry/0011_000351.wav`` and ``0011/0011.txt``.

Older copies have ``train``, ``evaluation`` and ``test`` below each emotion. The other half is
Mandarin by speakers 0001 to 0010; it is left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stser_core.labels import Emotion
from training.corpora.census import check_census
from training.corpora.file_names import audio_below
from training.utterance import Utterance

GENDERS: Final = {
    **dict.fromkeys(("0015", "0016", "0017", "0018"), "female"),
    **dict.fromkeys(("0011", "0013", "0014", "0020"), "male"),
}
"""By speaker, as far as published lists agree: they do not on 0012 and 0019."""

_NAME: Final = re.compile(r"(?P<speaker>001[1-9]|0020)_\d{6}\.wav")
_LABELS: Final = {
    "Angry": Emotion.ANGRY,
    "Happy": Emotion.HAPPY,
    "Neutral": Emotion.NEUTRAL,
    "Sad": Emotion.SAD,
}
CENSUS: Final = dict.fromkeys(Emotion, 3_500)


def read_esd(root: Path, *, allow_partial: bool = False) -> list[Utterance]:
    """14,000 utterances of ten speakers, English: 350 sentences in each of four emotions.

    Raises:
        CorpusError: Files are missing.
    """
    sentences: dict[str, str] = {}
    for path in sorted(root.rglob("00[12][0-9].txt")):
        sentences |= _sentences(path)
    utterances = []
    for path in audio_below(root):
        name = _NAME.fullmatch(path.name)
        folders = path.relative_to(root).parts
        labels = [_LABELS[folder] for folder in folders if folder in _LABELS]
        if name is None or not labels:
            continue
        utterances.append(
            Utterance(
                corpus="esd",
                label=labels[0],
                speaker=f"esd_{name['speaker']}",
                gender=GENDERS.get(name["speaker"], ""),
                audio=path,
                text=sentences.get(path.stem),
            )
        )
    check_census("esd", utterances, CENSUS, allow_partial=allow_partial)
    return utterances


def _sentences(path: Path) -> dict[str, str]:
    """Sentence by file name, out of lines ``0011_000001 TAB words TAB Neutral``."""
    content = path.read_bytes()
    # Each speaker's list has an encoding of its own.
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        text = content.decode("utf-16", errors="replace")
    elif b"\0" in content:
        text = content.decode("utf-16-le", errors="replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0].strip(): row[1].strip() for row in rows if len(row) >= 2}
