"""Further modalities beside speech and text: each adds a representation and a classifier.

The paper's future work. Its classifiers are averaged (section 2.4), so a third modality needs no
change to the others: it looks at the evidence of an utterance, represents it, and gives a posterior
that joins the average. ::

    modalities = ModalityRegistry()
    modalities.add(SpeakingRate(...))  # anything with the three members of Modality
    stser = Stser.load(modalities=modalities)
    stser.classify(log_mel, words, word_times=times)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stser_core.features import LogMel
from stser_core.posterior import EmotionPosterior

RESERVED: Final = ("speech", "text", "bimodal")
"""Names of STSER's own classifiers."""

Representation = NDArray[np.float32]
"""Of one utterance by one modality, float32 ``(values,)``."""


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word was said, in seconds from the start of the utterance."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.start_s <= self.end_s:
            raise ValueError(
                f"a word from {self.start_s:g} s to {self.end_s:g} s must not start before 0 s, nor "
                "end before it starts."
            )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one utterance."""

    log_mel: LogMel | None
    """Not normalised, float32 ``(time, mels)``; None where there is no speech to hear."""
    words: tuple[str, ...]
    """The transcript; empty where there is nothing to read."""
    word_times: tuple[WordTime, ...] = ()
    """When each word was said, in their order; empty where that is not known."""


class Modality(Protocol):
    """One further representation and its classifier."""

    @property
    def name(self) -> str:
        """Name of its classifier in every verdict."""
        ...

    def represent(self, evidence: Evidence) -> Representation | None:
        """Float32 ``(values,)``; None where the evidence says nothing to this modality."""
        ...

    def classify(self, representation: Representation) -> EmotionPosterior:
        """The calibrated posterior of one representation."""
        ...


class ModalityRegistry:
    """Further modalities by name, in the order in which they were added."""

    def __init__(self) -> None:
        self._modalities: dict[str, Modality] = {}

    def add(self, modality: Modality) -> None:
        """Let a modality take part in every verdict from now on.

        Raises:
            ValueError: Its name is empty, taken, or that of one of STSER's own classifiers.
        """
        name = modality.name
        if not name or name in RESERVED or name in self._modalities:
            taken = ", ".join((*RESERVED, *self._modalities))
            raise ValueError(f"the modality's name ({name!r}) must be new; taken are {taken}.")
        self._modalities[name] = modality

    def __iter__(self) -> Iterator[Modality]:
        return iter(self._modalities.values())

    def judge(self, evidence: Evidence) -> dict[str, EmotionPosterior | None]:
        """By name, the posterior of each modality; None where it has nothing to say."""
        represented = {each.name: each.represent(evidence) for each in self}
        return {
            name: None if values is None else self._modalities[name].classify(values)
            for name, values in represented.items()
        }
