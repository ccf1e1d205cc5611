"""Corpora on disk as lists of :class:`~training.utterance.Utterance`.

A reader a layout. Each knows how many utterances its corpus has and refuses another number, so that
figures are of the corpus that they name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from training.corpora.crema_d import read_crema_d
from training.corpora.csv_manifest import read_manifest, read_manifests, read_texts
from training.corpora.emo_db import EMO_DB
from training.corpora.esd import read_esd
from training.corpora.iemocap import read_iemocap
from training.corpora.meld import read_meld
from training.corpora.nemo import read_nemo
from training.corpora.ravdess import RAVDESS
from training.corpora.savee import SAVEE
from training.corpora.tess import TESS
from training.utterance import Utterance

__all__ = ["READERS", "Reader", "read_corpus", "read_manifest", "read_manifests", "read_texts"]


class Reader(Protocol):
    """Reads a corpus as it was released."""

    def __call__(self, root: Path, /, *, allow_partial: bool = False) -> list[Utterance]: ...


READERS: Final[Mapping[str, Reader]] = {
    "iemocap": read_iemocap,
    "crema-d": read_crema_d,
    "ravdess": RAVDESS.read,
    "tess": TESS.read,
    "savee": SAVEE.read,
    "emo-db": EMO_DB.read,
    "nemo": read_nemo,
    "esd": read_esd,
}
"""By the name given to ``--corpus``; ``csv`` and ``meld`` come on top in :func:`read_corpus`."""


def read_corpus(
    name: str, root: Path, cache: Path, *, allow_partial: bool = False
) -> list[Utterance]:
    """Utterances of the four classes of any corpus that can be read.

    Args:
        name: ``csv``, ``meld`` or a key of :data:`READERS`.
        root: Folder of the corpus, as released.
        cache: Folder for what must be unpacked.
        allow_partial: Go on where the census does not hold.

    Raises:
        CorpusError: A file is missing or damaged, or the census does not hold.
    """
    if name == "csv":
        return read_manifest(root, complete=False)
    if name == "meld":
        return read_meld(root, cache, allow_partial=allow_partial)
    return READERS[name](root, allow_partial=allow_partial)
