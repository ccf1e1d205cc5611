"""Folds by speaker and by session: pure functions of the utterances and a seed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from training.errors import CorpusError
from training.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Fold:
    """Indices into the utterances. No speaker of the test is in the other two."""

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


def left_out_fold(
    utterances: Sequence[Utterance], corpus: str, validation_share: float, seed: int
) -> Fold:
    """One corpus for the test; the others for training and validation, by speaker."""
    test = {u.speaker for u in utterances if u.corpus == corpus}
    return _fold(utterances, test, validation_share, seed)


def session_folds(
    utterances: Sequence[Utterance], validation_share: float, seed: int
) -> list[Fold]:
    """The paper's folds: each session is the test once, in the order of their names.

    Validation is drawn in whole dialogues from the other sessions only, until it has its share of
    their utterances, so that no dialogue is on both sides.

    Raises:
        CorpusError: There are fewer than two sessions, a speaker is in two of them, or too few
            dialogues for a validation set.
    """
    sessions = sorted({u.session for u in utterances})
    if len(sessions) < 2:
        raise CorpusError(f"{len(sessions)} sessions are too few for folds by session: 2 at least.")
    of_speaker: dict[str, str] = {}
    for u in utterances:
        if of_speaker.setdefault(u.speaker, u.session) != u.session:
            raise CorpusError(
                f"{u.speaker} is in {of_speaker[u.speaker]} and {u.session}: folds by session "
                "would test a voice that was trained on."
            )
    return [_session_fold(utterances, session, validation_share, seed) for session in sessions]


def _session_fold(
    utterances: Sequence[Utterance], test: str, validation_share: float, seed: int
) -> Fold:
    dialogues: dict[str, int] = defaultdict(int)
    for u in utterances:
        if u.session != test:
            dialogues[u.dialogue] += 1
    order = sorted(dialogues)
    random.Random(f"{seed} validation {test}").shuffle(order)
    wanted = validation_share * sum(dialogues.values())
    validation: set[str] = set()
    while sum(dialogues[d] for d in validation) < wanted:
        validation.add(order.pop())
    if not order:
        raise CorpusError(
            f"{len(validation)} dialogues are too few to train on some and validate on others."
        )
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for index, u in enumerate(utterances):
        part = 2 if u.session == test else int(u.dialogue in validation)
        parts[part].append(index)
    return Fold(*(tuple(part) for part in parts))


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
        validation |= set(left[: max(min(1, len(left)), round(validation_share * len(left)))])
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
