"""One labelled unit of a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stser_core.labels import Emotion


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """Speech, text or both, with its emotion."""

    corpus: str
    label: Emotion
    speaker: str = ""
    """Unique over all corpora; empty where the corpus does not say."""
    gender: str = ""
    audio: Path | None = None
    text: str | None = None
    dialogue: str = ""
    """Dialogue that a line belongs to, so that no dialogue is on both sides of a split."""
    session: str = ""
    """Recording session, where folds go by session."""
