"""Corpora whose file names say all: one pattern, one table of labels, one census."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stser_core.labels import Emotion
from training.corpora.census import ClassCounts, check_census
from training.errors import CorpusError
from training.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Speech:
    """What a file name says beside the emotion."""

    speaker: str
    gender: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class NamedCorpus:
    """How to read a corpus by its file names."""

    name: str
    pattern: re.Pattern[str]
    """Of a whole file name, with a group ``emotion``; files of other names are no part of it."""
    labels: Mapping[str, Emotion]
    """By the text of that group; other emotions are left out."""
    census: ClassCounts
    describe: Callable[[re.Match[str], Path], Speech | None]
    """Speaker and words of a file; None leaves it out."""

    def read(self, root: Path, *, allow_partial: bool = False) -> list[Utterance]:
        """Utterances of the four classes anywhere below a folder, in the order of their names.

        A copy of a file that lies in a second folder, as some downloads have it, counts once.

        Raises:
            CorpusError: The folder is not there, or the census is not that of the corpus.
        """
        found: dict[tuple[str, str], Utterance] = {}
        for path in audio_below(root):
            match = self.pattern.fullmatch(path.name)
            label = self.labels.get(match["emotion"]) if match else None
            said = self.describe(match, path) if match and label else None
            if said is not None and label is not None:
                speaker = f"{self.name}_{said.speaker}"
                found.setdefault(
                    (speaker, path.name),
                    Utterance(
                        corpus=self.name,
                        label=label,
                        speaker=speaker,
                        gender=said.gender,
                        audio=path,
                        text=said.text,
                    ),
                )
        utterances = list(found.values())
        check_census(self.name, utterances, self.census, allow_partial=allow_partial)
        return utterances


def audio_below(root: Path) -> list[Path]:
    """All WAV files below a folder by name, without the ``._`` twins of copies made on a Mac.

    Raises:
        CorpusError: The folder is not there.
    """
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder. Check --root.")
    paths = (path for path in root.rglob("*") if path.suffix.lower() == ".wav")
    return sorted(
        (path for path in paths if not path.name.startswith(".")), key=lambda p: (p.name, p)
    )
