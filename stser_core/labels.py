"""The four emotion classes, in the one order that every array, file and event uses."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Emotion(StrEnum):
    """A class of the paper: IEMOCAP's four, with excited counted as happy (section 3.1)."""

    ANGRY = "angry"
    HAPPY = "happy"
    NEUTRAL = "neutral"
    SAD = "sad"


EMOTIONS: Final[tuple[Emotion, ...]] = tuple(Emotion)
"""Index ``i`` of any logits or posterior array means ``EMOTIONS[i]``."""
