"""Where training speech is heard: another vocal tract, noise and microphone, alike for all that a voice says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stser_core.adaptation import Average
from stser_core.features import LogMel
from training.augment import response, stretched, tract, with_noise
from training.settings import SpeechTrainingSettings


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Drawn once, for some utterances of one voice."""

    tract: NDArray[np.float32]
    """By which log-mel is multiplied, ``(mels, mels)``."""
    microphone: NDArray[np.float32]
    """What is added to every frame, ``(mels,)``."""
    noise: LogMel | None
    """``(time, mels)``; None where it is quiet."""
    snr_db: float
    stretch: float
    """Greatest share by which an utterance is slowed or quickened."""

    @classmethod
    def drawn(
        cls,
        n_mels: int,
        noises: Sequence[LogMel],
        settings: SpeechTrainingSettings,
        rng: np.random.Generator,
    ) -> Self:
        """As the settings say: how often there is noise, and how far voices differ."""
        noisy = len(noises) > 0 and rng.random() < settings.noise_share
        return cls(
            tract=tract(n_mels, rng.uniform(1 - settings.warp, 1 + settings.warp)),
            microphone=response(n_mels, rng),
            noise=noises[int(rng.integers(len(noises)))] if noisy else None,
            snr_db=float(rng.uniform(*settings.noise_snr_db)),
            stretch=settings.stretch,
        )

    def heard(
        self, log_mel: LogMel, before: Average | None, rng: np.random.Generator
    ) -> tuple[LogMel, Average | None]:
        """An utterance ``(time, mels)``, and the average of what was said before it, as they come from there."""
        log_mel = stretched(log_mel, rng.uniform(1 - self.stretch, 1 + self.stretch)) @ self.tract
        added = self.microphone.astype(np.float64)
        if self.noise is not None:
            noisy = with_noise(log_mel, self.noise, self.snr_db, rng)
            # What the noise does to this utterance, it did about so to those before.
            added = added + noisy.mean(axis=0) - log_mel.mean(axis=0)
            log_mel = noisy
        if before is not None:
            before = Average(before.count, before.mean @ self.tract + added)
        return log_mel + self.microphone, before
