"""Speaker-independent folds: pure functions of the utterances and a seed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from training.errors import CorpusError
from training.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Fold:
    """Indices into the utterances. No speaker is in two of the three."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def speaker_folds(
    utterances: Sequence[Utterance], n_folds: int, validation_share: float, seed: int
) -> list[Fold]:
    """Folds over several corpora; each corpus' speakers are dealt out evenly, by gender.

    Every utterance is tested exactly once over all folds. Validation speakers are drawn from
    the training speakers of the fold, at least one of each corpus.

    Raises:
        CorpusError: A corpus has fewer speakers than a fold needs.
    """
    fold_of = _deal(utterances, n_folds, seed)
    return [
        _fold(
            utterances, {s for s, k in fold_of.items() if k == fold}, validation_share, seed + fold
        )
        for fold in range(n_folds)
    ]


def training_only(utterances: Sequence[Utterance], validation_share: float, seed: int) -> Fold:
    """All speakers for training and validation, none for the test: for the weights that are shipped."""
    return _fold(utterances, set(), validation_share, seed)


def _deal(utterances: Sequence[Utterance], n_folds: int, seed: int) -> dict[str, int]:
    fold_of: dict[str, int] = {}
    for corpus, speakers in _speakers(utterances).items():
        if len(speakers) < max(n_folds, 3):
            raise CorpusError(
                f"{corpus}: {len(speakers)} speakers are too few for {n_folds} folds by speaker."
            )
        order = sorted(speakers)
        random.Random(f"{seed} {corpus}").shuffle(order)
        order.sort(key=lambda speaker: speakers[speaker])  # by gender; stable, so still shuffled
        fold_of |= {speaker: index % n_folds for index, speaker in enumerate(order)}
    return fold_of


def _fold(
    utterances: Sequence[Utterance], test: set[str], validation_share: float, seed: int
) -> Fold:
    validation: set[str] = set()
    for corpus, speakers in _speakers(utterances).items():
        left = sorted(speakers.keys() - test)
        random.Random(f"{seed} validation {corpus}").shuffle(left)
        validation |= set(left[: max(1, round(validation_share * len(left)))])
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for index, utterance in enumerate(utterances):
        part = 2 if utterance.speaker in test else int(utterance.speaker in validation)
        parts[part].append(index)
    return Fold(*(tuple(part) for part in parts))


def _speakers(utterances: Sequence[Utterance]) -> dict[str, dict[str, str]]:
    """Gender by speaker, by corpus."""
    speakers: dict[str, dict[str, str]] = defaultdict(dict)
    for utterance in utterances:
        speakers[utterance.corpus][utterance.speaker] = utterance.gender
    return speakers
