"""How many utterances a corpus must have: a corpus that lacks some gives figures of something else."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from stser_core.labels import EMOTIONS, Emotion
from training.errors import CorpusError
from training.utterance import Utterance

logger = logging.getLogger(__name__)

ClassCounts = Mapping[Emotion, int]
"""Utterances of each class."""


def check_census(
    corpus: str,
    utterances: Sequence[Utterance],
    expected: ClassCounts,
    *,
    sessions: Mapping[str, int] | None = None,
    allow_partial: bool = False,
    missing: Sequence[str] = (),
) -> None:
    """Compare what was read with what was published.

    Args:
        corpus: Its name, for the message.
        utterances: All that were read, of the four classes.
        expected: Published counts by class.
        sessions: Published counts by session, where the corpus has sessions.
        allow_partial: Log the difference and go on, as long as there is anything.
        missing: Files that a list of the corpus names and that are not there.

    Raises:
        CorpusError: The counts differ, and ``allow_partial`` is not set; or there is nothing. Gives
            the counts of each class and session, found and expected.
    """
    by_class = Counter(u.label for u in utterances)
    parts = [f"{e} {by_class[e]} of {expected.get(e, 0)}" for e in EMOTIONS]
    same = all(by_class[e] == expected.get(e, 0) for e in EMOTIONS)
    if sessions is not None:
        by_session = Counter(u.session for u in utterances)
        names = sorted(sessions.keys() | by_session.keys())
        parts += [f"{name} {by_session[name]} of {sessions.get(name, 0)}" for name in names]
        same = same and all(by_session[name] == sessions.get(name, 0) for name in names)
    if same:
        return
    total = f"{len(utterances):,} utterances instead of {sum(expected.values()):,}"
    message = f"{corpus}: {total} ({', '.join(parts)})."
    if missing:
        message += f" {len(missing)} files are missing, the first is {missing[0]}."
    if not utterances:
        raise CorpusError(
            f"{message} Check --root: it must be the folder of the corpus as released."
        )
    if not allow_partial:
        raise CorpusError(
            f"{message} Figures would not compare with published ones. Restore the corpus, or go on "
            "with --allow-partial."
        )
    logger.warning("%s Going on, as --allow-partial says.", message)
