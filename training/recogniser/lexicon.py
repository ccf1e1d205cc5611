"""Words to phones: CMUdict, and flite's letter-to-sound rules for what it lacks."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from training.errors import TrainingError

SILENCE: Final = "SIL"
PHONES: Final = (
    SILENCE,
    *[
        "AA",
        "AE",
        "AH",
        "AO",
        "AW",
        "AY",
        "B",
        "CH",
        "D",
        "DH",
        "EH",
        "ER",
        "EY",
        "F",
        "G",
        "HH",
        "IH",
        "IY",
        "JH",
        "K",
        "L",
        "M",
        "N",
        "NG",
        "OW",
        "OY",
        "P",
        "R",
        "S",
        "SH",
        "T",
        "TH",
        "UH",
        "UW",
        "V",
        "W",
        "Y",
        "Z",
        "ZH",
    ],
)
"""ARPAbet without stress, as CMUdict's edition for recognisers has it; silence first."""

PHONE_INDEX: Final = {phone: index for index, phone in enumerate(PHONES)}

Pronunciation = tuple[int, ...]
"""Indices into :data:`PHONES`."""

_VARIANT: Final = re.compile(r"\(\d+\)$")
_FLITE_PHONES: Final = {"ax": "AH", "pau": ""}
"""Where flite's names differ from CMUdict's."""


@functools.cache
def cmudict() -> Mapping[str, tuple[Pronunciation, ...]]:
    """All words of CMUdict with their pronunciations, the usual one first.

    Raises:
        TrainingError: The package that carries it is missing.
    """
    try:
        from pocketsphinx import get_model_path
    except ImportError as error:
        raise TrainingError('CMUdict is missing: pip install "stser-monitor[train]".') from error
    return read_dictionary(Path(get_model_path("en-us/cmudict-en-us.dict")))


def read_dictionary(path: Path) -> dict[str, tuple[Pronunciation, ...]]:
    """Read a pronunciation dictionary in CMUdict's format: ``word(2) PHONE PHONE ...`` a line.

    Raises:
        TrainingError: A line has a phone that is not in :data:`PHONES`; names file and line.
    """
    words: dict[str, tuple[Pronunciation, ...]] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        spelled, *phones = line.split()
        unknown = [phone for phone in phones if phone not in PHONE_INDEX]
        if unknown or not phones:
            raise TrainingError(
                f"{path}:{number}: {' '.join(unknown) or 'no phone'} in {line!r}. Phones are those of CMUdict."
            )
        word = _VARIANT.sub("", spelled).lower()
        pronunciation = tuple(PHONE_INDEX[phone] for phone in phones)
        if pronunciation not in words.get(word, ()):
            words[word] = (*words.get(word, ()), pronunciation)
    return words


def pronunciations(words: Iterable[str]) -> dict[str, tuple[Pronunciation, ...]]:
    """A pronunciation or more for each word: CMUdict's, else what flite would say.

    Raises:
        TrainingError: flite is missing, or cannot say a word.
    """
    known = cmudict()
    return {word: known.get(word) or (spelled_out(word),) for word in words}


@functools.cache
def spelled_out(word: str) -> Pronunciation:
    """Phones by flite's letter-to-sound rules.

    Raises:
        TrainingError: flite is missing, or finds no phones in the word.
    """
    command = ["flite", "-ps", "-t", word, "-o", "none"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise TrainingError(
            f"flite cannot say {word!r} ({error}): sudo apt-get install flite."
        ) from error
    names = [_FLITE_PHONES.get(name, name.upper()) for name in done.stdout.split()]
    if not any(names) or not set(names) <= PHONE_INDEX.keys() | {""}:
        raise TrainingError(f"flite says {word!r} as {done.stdout.strip()!r}, which has no phones.")
    return tuple(PHONE_INDEX[name] for name in names if name)
