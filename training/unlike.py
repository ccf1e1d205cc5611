"""What speech is like and what noise is like, learnt for ``not_like_training``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stser_core.checkpoint import Description
from stser_core.features import LogMel, log_mel
from stser_core.novelty import LEAST_FRAMES, Novelty, NoveltyDetector, describe
from training.augment import response, with_noise
from training.folds import Fold
from training.front_end import trim
from training.open_corpora import noise_recordings
from training.speech_data import SpeechData

FALSE_ALARMS: Final = 0.02
"""Share of the validation speakers' utterances that may be called unlike."""
_MOST: Final = 1_500
"""Utterances of each version and side that are described: more say no more."""
_NOISE_DRAWS: Final = 4
"""Excerpts of each recording of noise."""


def learn_novelty(
    data: SpeechData, fold: Fold, noises: Sequence[LogMel], rng: np.random.Generator
) -> Novelty | None:
    """From training speakers and noises; the limits are set by the validation speakers.

    Speech is described in every version that training hears, in noise of 5 to 30 dB, too, and in
    excerpts of any length.

    Args:
        data: In all versions.
        fold: Its training and validation speakers.
        noises: That training hears; without any there is nothing to tell speech from.
        rng: Draws excerpts, noise and microphones.

    Returns:
        None where there are no noises.
    """
    if len(noises) == 0:
        return None

    def described(indices: Sequence[int]) -> NDArray[np.float64]:
        rows = []
        for mels in data.versions.values():
            for index in rng.permutation(indices)[:_MOST]:
                frames = mels[int(index)]
                if rng.random() < 0.4:
                    noise = noises[int(rng.integers(len(noises)))]
                    frames = with_noise(frames, noise, rng.uniform(5, 30), rng)
                rows.append(describe(_excerpt(frames + response(frames.shape[1], rng), rng)))
        return np.array(rows)

    unlike = [describe(_excerpt(noise, rng)) for noise in noises for _ in range(_NOISE_DRAWS)]
    return Novelty.of(
        described(fold.train), np.array(unlike), described(fold.validation), FALSE_ALARMS
    )


def unlike_figures(
    description: Description, speech: SpeechData, fold: Fold, root: Path
) -> dict[str, float]:
    """Share of the validation speakers' utterances, and of the noises that training never heard, that a
    checkpoint calls unlike its training speech; empty where it cannot tell.
    """
    if description.novelty is None:
        return {}
    detector, front_end = NoveltyDetector(description.novelty), description.log_mel
    noises = [
        log_mel(trim(samples, front_end.sample_rate_hz), front_end)
        for samples in noise_recordings(root, front_end, test=True)
    ]
    sounds = {
        "speech": [speech.plain_mels[index] for index in fold.validation],
        "noise": [noise for noise in noises if len(noise) > 0],
    }
    return {
        name: float(np.mean([detector.novel(sound) for sound in each]))
        for name, each in sounds.items()
        if each
    }


def _excerpt(log_mel: LogMel, rng: np.random.Generator) -> LogMel:
    frames = int(rng.integers(min(LEAST_FRAMES, len(log_mel)), len(log_mel) + 1))
    start = int(rng.integers(len(log_mel) - frames + 1))
    return log_mel[start : start + frames]
