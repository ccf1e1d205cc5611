"""STSER as one thing: the average of the classifiers that could speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stser_core.explain import Salience
from stser_core.posterior import EmotionPosterior

CLASSIFIERS: Final = ("speech", "text", "bimodal")
"""Every classifier, in the order of all mappings and events."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What STSER says of one utterance."""

    posterior: EmotionPosterior
    """Average of the classifiers that spoke, calibrated."""
    classifiers: Mapping[str, EmotionPosterior | None]
    """By name, in the order of :data:`CLASSIFIERS`; None where one was not chosen or could not speak."""
    modalities: tuple[str, ...]
    """``speech`` and ``text``, where used."""
    agreement: float
    """1 minus the Jensen-Shannon divergence of the classifiers that spoke, 0 to 1."""
    salience: Salience
