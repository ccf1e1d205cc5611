"""Training batches: utterances of about one length, in noise, through other microphones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.augment import mask, response, with_noise
from training.recogniser.acoustic_model import pad
from training.recogniser.features import FLOOR, FRAMES_PER_S, N_MELS, Features
from training.recogniser.sentences import Sentence
from training.recogniser.settings import TrainingSettings
from training.recogniser.styles import warped

Frames = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded utterances with their words."""

    frames: Tensor
    """Log-mel, float32 ``(batch, time, mels)``."""
    lengths: Tensor
    """Outputs of each row, int64 ``(batch,)``."""
    words: list[Sentence]


def groups(
    lengths: Sequence[int], frames: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Indices of utterances of about the same length, together at most ``frames`` long when padded."""
    blurred = np.asarray(lengths) * np.exp(rng.normal(0, 0.05, len(lengths)))
    batches: list[list[int]] = [[]]
    longest = 0
    for index in np.argsort(blurred):
        longest = max(longest, lengths[index])
        if batches[-1] and longest * (len(batches[-1]) + 1) > frames:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(int(index))
    return [np.array(batches[at]) for at in rng.permutation(len(batches))]


class Degradation:
    """What microphones and rooms do to log-mel, by chance."""

    def __init__(self, noise: Features, share: float, rng: np.random.Generator) -> None:
        self._noise = noise
        self._share = share
        self._rng = rng

    def __call__(self, clean: Frames) -> Frames:
        """Another pace, speaker's size, level, microphone and silence around; noise often.

        ``(time, mels)`` in and out; the number of frames changes.
        """
        rng = self._rng
        before, after = rng.integers(0, FRAMES_PER_S // 2, 2)
        moved = warped(
            clean, float(np.exp(rng.normal(0, 0.12))), float(np.exp(rng.normal(0, 0.06)))
        )
        heard = np.pad(moved, ((before, after), (0, 0)), constant_values=FLOOR)
        heard = heard + response(N_MELS, rng) + np.float32(rng.normal(-0.5, 1.5))
        if rng.random() < self._share:
            noise = self._noise[int(rng.integers(len(self._noise)))].frames
            heard = with_noise(heard, noise, float(rng.uniform(3, 35)), rng)
        elif rng.random() < 0.7:
            hiss = rng.normal(0, 0.8, heard.shape) + rng.uniform(-12, 3)
            heard = np.logaddexp(heard, hiss)
        return np.maximum(heard, FLOOR).astype(np.float32)


class Batches:
    """One pass over all utterances in random order."""

    def __init__(
        self,
        features: Features,
        degradation: Degradation,
        normal: tuple[Frames, Frames],
        context: int,
        settings: TrainingSettings,
        rng: np.random.Generator,
    ) -> None:
        """Args:
        features: What is said.
        degradation: Applied to each utterance.
        normal: Mean and deviation of log-mel, ``(mels,)``; masks put the mean in place.
        context: Frames that the network hears on either side.
        settings: Sizes.
        rng: Draws order and masks.
        """
        self._features = features
        self._degradation = degradation
        self._mean, self._deviation = normal
        self._context = context
        self._rng = rng
        longest = settings.longest_s * FRAMES_PER_S
        fitting = [i for i in range(len(features)) if features.n_frames(i) <= longest]
        lengths = [features.n_frames(index) for index in fitting]
        frames = round(settings.batch_s * FRAMES_PER_S)
        self._groups = [[fitting[at] for at in group] for group in groups(lengths, frames, rng)]

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Batch]:
        for group in self._groups:
            spoken = [self._features[index] for index in group]
            frames, lengths = pad([self._masked(one.frames) for one in spoken], self._context)
            yield Batch(frames, lengths, [one.words for one in spoken])

    def _masked(self, clean: Frames) -> Frames:
        heard = self._degradation(clean)
        if self._rng.random() < 0.5:
            normal = mask((heard - self._mean) / self._deviation, self._rng)
            heard = (normal * self._deviation + self._mean).astype(np.float32)
        return heard
