"""Training batches: utterances of about one length, in noise, through other microphones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from training.augment import mask, response, with_noise
from training.recogniser.acoustic_model import pad
from training.recogniser.features import (
    FLOOR,
    FRAMES_PER_S,
    N_MELS,
    SUBSAMPLING,
    Features,
    n_outputs,
)
from training.recogniser.sentences import Sentence
from training.recogniser.settings import TrainingSettings
from training.recogniser.styles import between, warped

Frames = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a reader of a teacher's states says of a batch."""

    scores: Tensor
    """``(batch, outputs, 2 * phones)``."""
    known: Tensor
    """1 where there is one, 0 where nobody has spoken yet or any more, ``(batch, outputs)``."""

    def distance(self, scores: Tensor) -> Tensor:
        """Mean squared distance to other scores, but for what is common to all of an output."""
        ours, theirs = (one - one.mean(dim=2, keepdim=True) for one in (scores, self.scores))
        square = (ours - theirs).square().mean(dim=2) * self.known
        return square.sum() / self.known.sum().clamp(min=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded utterances with their words."""

    frames: Tensor
    """Log-mel, float32 ``(batch, time, mels)``."""
    lengths: Tensor
    """Outputs of each row, int64 ``(batch,)``."""
    words: list[Sentence]
    opinion: Opinion | None


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance as a microphone delivers it."""

    frames: Frames
    """Log-mel, ``(time, mels)``."""
    spoken: range
    """The frames in which it is said; around them is silence."""


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


def fitting_groups(
    lengths: Sequence[int], per_s: float, settings: TrainingSettings, rng: np.random.Generator
) -> list[list[int]]:
    """Indices as of :func:`groups` of ``settings.batch_s``, without those longer than ``settings.longest_s``.

    Args:
        lengths: Of all utterances.
        per_s: How much of that is a second.
        settings: Sizes.
        rng: Draws the order.
    """
    fitting = [
        index for index, length in enumerate(lengths) if length <= settings.longest_s * per_s
    ]
    found = groups([lengths[index] for index in fitting], round(settings.batch_s * per_s), rng)
    return [[fitting[at] for at in group] for group in found]


class Degradation:
    """What microphones and rooms do to log-mel, by chance."""

    def __init__(self, noise: Features, share: float, rng: np.random.Generator) -> None:
        self._noise = noise
        self._share = share
        self._rng = rng

    def __call__(self, clean: Frames) -> Heard:
        """Another pace, speaker's size, level, microphone and silence around; noise often."""
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
        spoken = range(before, before + len(moved))
        return Heard(np.maximum(heard, FLOOR).astype(np.float32), spoken)


class Batches(IterableDataset[Batch]):
    """One pass over all utterances in random order."""

    def __init__(
        self,
        features: Features,
        degradation: Degradation,
        normal: tuple[Frames, Frames],
        context: int,
        settings: TrainingSettings,
        rng: np.random.Generator,
        opinions: Sequence[NDArray[np.float16]] | None = None,
    ) -> None:
        """Args:
        features: What is said.
        degradation: Applied to each utterance.
        normal: Mean and deviation of log-mel, ``(mels,)``; masks put the mean in place.
        context: Frames that the network hears on either side.
        settings: Sizes.
        rng: Draws order and masks.
        opinions: Scores of each utterance undisturbed, at an even pace, ``(outputs, 2 * phones)``.
        """
        self._features = features
        self._opinions = opinions
        self._degradation = degradation
        self._mean, self._deviation = normal
        self._context = context
        self._rng = rng
        lengths = [features.n_frames(index) for index in range(len(features))]
        self._groups = fitting_groups(lengths, FRAMES_PER_S, settings, rng)

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Batch]:
        for group in self._groups:
            spoken = [self._features[index] for index in group]
            heard = [self._degradation(one.frames) for one in spoken]
            frames, lengths = pad([self._masked(one.frames) for one in heard], self._context)
            opinion = None
            if self._opinions is not None:
                theirs = [self._opinions[index] for index in group]
                opinion = opinion_now(theirs, heard)
            yield Batch(frames, lengths, [one.words for one in spoken], opinion)

    def _masked(self, heard: Frames) -> Frames:
        if self._rng.random() < 0.5:
            normal = mask((heard - self._mean) / self._deviation, self._rng)
            heard = (normal * self._deviation + self._mean).astype(np.float32)
        return heard


def opinion_now(opinions: Sequence[NDArray[np.float16]], heard: Sequence[Heard]) -> Opinion:
    """Opinions of undisturbed utterances at the times at which the same is said now."""
    shape = (len(heard), max(n_outputs(len(one.frames)) for one in heard))
    scores = np.zeros((*shape, opinions[0].shape[1]), np.float32)
    known = np.zeros(shape, np.float32)
    for row, (opinion, one) in enumerate(zip(opinions, heard, strict=True)):
        times = SUBSAMPLING * np.arange(n_outputs(len(one.frames))) - one.spoken.start
        places = times * (len(opinion) - 1) / max(1, len(one.spoken) - 1)
        scores[row, : len(times)] = between(opinion.astype(np.float32), places)
        known[row, : len(times)] = (times >= 0) & (times < len(one.spoken))
    return Opinion(torch.from_numpy(scores), torch.from_numpy(known))
