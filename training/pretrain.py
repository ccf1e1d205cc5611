"""``stser-train pretrain``: the smodel learns from read speech what a Whisper hears, frame by frame.

Hours of voices without labels, before the few hours with them: the emotional corpora have few speakers,
and what is learnt of these alone holds for them alone. What is learnt is the mean of some layers'
states, each speaker's mean taken off, as principal components (Romero et al., 2015).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from stser_core.adaptation import LogMelStatistics, normalise
from stser_core.features import LogMel
from stser_core.fusion import StserModel
from stser_core.smodel import SpeechModel
from training.errors import TrainingError
from training.hear import WhisperEar
from training.lesson import components
from training.loop import train_parts
from training.open_corpora import generator, read_noises
from training.read_speech import ReadSpeech, hear_windows
from training.settings import OpenSettings
from training.surroundings import Surroundings
from training.whole_file import check_place, written_whole

logger = logging.getLogger(__name__)

_HEARD = 3
"""Windows heard before, when held-out speakers are measured."""
_MEASURED = 16
"""Windows of each voice that are measured, at most."""


def pretrain(
    folder: Path, root: Path, out: Path, settings: OpenSettings, keep: Path | None = None
) -> Path:
    """Train a smodel to tell, frame by frame, what the teacher hears.

    Args:
        folder: A Whisper, as transformers saves it.
        root: Folder of the corpora.
        out: File of weights to write, for ``stser-train fit``, ``crossval`` and ``left-out``.
        settings: All of them.
        keep: File for the windows and what was heard in them, which these learn from, too; where it is
            there, nothing is heard again.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: The teacher cannot be used, there is one speaker alone, or ``keep`` cannot be written.
    """
    if keep is not None and keep.is_file():
        read = ReadSpeech.load(keep, settings)
    else:
        if keep is not None:
            check_place(keep, flag="--read")
        read = hear_windows(WhisperEar(folder, half=settings.lesson.half_precision), root, settings)
        if keep is not None:
            read.save(keep, settings)
    torch.manual_seed(settings.seed)
    smodel = StserModel(settings.sizes).smodel
    share = learn(smodel, read, read_noises(root, settings.log_mel), settings)
    logger.info("smodel: tells %.3f of the teacher's variance, of speakers held out", share)
    with written_whole(out) as draft:
        save_model(smodel, str(draft))
    return out


def load_pretrained(smodel: SpeechModel, path: Path) -> None:
    """Put the weights of :func:`pretrain` in place.

    Raises:
        TrainingError: The file cannot be read, or is of a smodel of other sizes.
    """
    try:
        load_model(smodel, path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: no smodel can be read: {error}. Make it with stser-train pretrain."
        ) from error
    except RuntimeError as error:
        raise TrainingError(
            f"{path}: a smodel of other sizes than [sizes.speech] says. Run stser-train pretrain "
            "with the same settings."
        ) from error


def learn(
    smodel: SpeechModel, read: ReadSpeech, noises: Sequence[LogMel], settings: OpenSettings
) -> float:
    """Train the smodel; returns the share of the teacher's variance that it tells of held-out speakers.

    That is the share of what the frames vary, and where voices come in groups the mean of that and the share of
    what their excerpts vary, relative to the voice.
    """
    ours, group = settings.pretraining, settings.speech.group
    held = np.isin(read.readers, np.unique(read.readers)[:: ours.held_out])
    goal = torch.from_numpy(_goal(read, ours.components))
    tell = nn.Linear(smodel.settings.representation, goal.shape[2])
    prior = read.data.prior(np.flatnonzero(~held).tolist())
    batches = _batches(read, _voices(read, ~held, group), prior, goal, noises, settings)
    measured = _plain(read, _voices(read, held, group), prior, goal, settings)
    # Of excerpts of middling length, each voice's own mean being 0.
    excerpt = sum(ours.excerpt_frames) // (2 * settings.sizes.speech.pool_time)
    manner = goal[:, :excerpt].mean(dim=1).square().mean()

    def errors(batch: tuple[Tensor, ...]) -> Tensor:
        """Mean squares of what is wrong in frames and, relative to the others of the voice, in excerpts."""
        log_mels, lengths, said = batch
        precision = smodel.training and settings.speech.half_precision
        with torch.autocast("cpu", torch.bfloat16, enabled=precision):
            frames = smodel.frames(log_mels, lengths)[0]
        wrong = tell(frames.float()) - said
        return torch.stack([wrong.square().mean(), _of_voices(wrong, group).square().mean()])

    def loss(batch: tuple[Tensor, ...]) -> Tensor:
        frames, excerpts = errors(batch).unbind()
        return frames + ours.manner_share / manner * excerpts

    def share() -> float:
        parts.eval()
        with torch.no_grad():
            left = torch.stack([errors(batch) for batch in measured]).mean(dim=0)
        frames = torch.cat([said for _, _, said in measured]).square().mean()
        excerpts = torch.cat([_of_voices(said, group).flatten(0, 1) for _, _, said in measured])
        told = 1 - left / torch.stack([frames, excerpts.square().mean()])
        logger.info("pretrain: tells %.3f of frames, %.3f of excerpts", *told.tolist())
        return float(told[0] if group == 1 else told.mean())

    parts = nn.ModuleList([smodel, tell])
    rates = [(list(parts.parameters()), ours.learning_rate)]
    how = dataclasses.replace(
        settings.speech, steps=ours.steps, validate_every=ours.validate_every, muon=ours.muon
    )
    return train_parts(parts, rates, batches, loss, share, how, "pretrain")


def _of_voices(values: Tensor, group: int) -> Tensor:
    """Means over time of ``(batch, frames, components)``, relative to those of the voice's group.

    Returns:
        ``(groups, group, components)``.
    """
    means = values.mean(dim=1).view(-1, group, values.shape[2])
    relative: Tensor = means - means.mean(dim=1, keepdim=True)
    return relative


def _voices(read: ReadSpeech, chosen: NDArray[np.bool_], group: int) -> list[NDArray[np.int64]]:
    """The chosen windows of each voice that has enough for a group."""
    speakers = read.speakers
    voices = [np.flatnonzero((speakers == voice) & chosen) for voice in np.unique(speakers)]
    return [voice for voice in voices if len(voice) >= group]


def _goal(read: ReadSpeech, count: int) -> NDArray[np.float32]:
    """Components of the states, ``(windows, pooled frames, components)``."""
    values, speakers = read.states.astype(np.float32), read.speakers
    for speaker in np.unique(speakers):
        values[speakers == speaker] -= values[speakers == speaker].mean(axis=(0, 1))
    flat = values.reshape(-1, values.shape[2])
    flat /= flat.std(axis=0) + 1e-4
    return components(flat, count).reshape(*values.shape[:2], -1)


def _batches(
    read: ReadSpeech,
    voices: Sequence[NDArray[np.int64]],
    prior: LogMelStatistics,
    goal: Tensor,
    noises: Sequence[LogMel],
    settings: OpenSettings,
) -> Iterator[tuple[Tensor, ...]]:
    """Endless augmented excerpts: log-mel, lengths, and the goal ``(batch, frames, components)``."""
    data, rng, pool = read.data, generator(settings, 10), settings.sizes.speech.pool_time
    # At its tempo: the teacher's frames are where they were.
    how = dataclasses.replace(settings.speech, warp=settings.pretraining.warp, stretch=0.0)
    chances = np.sqrt([len(voice) for voice in voices])
    least, most = (frames // pool for frames in settings.pretraining.excerpt_frames)
    while True:
        frames = min(int(rng.integers(least, most + 1)), goal.shape[1])
        log_mels, said = [], []
        for voice in rng.choice(len(voices), how.batch // how.group, p=chances / chances.sum()):
            there = Surroundings.drawn(settings.log_mel.n_mels, noises, how, rng)
            count = int(rng.choice(how.heard_before))
            for index in rng.choice(voices[voice], how.group, replace=False):
                first = int(rng.integers(goal.shape[1] - frames + 1))
                excerpt = data.plain_mels[index][first * pool : (first + frames) * pool]
                excerpt, before = there.heard(excerpt, data.heard(index, count, rng), rng)
                log_mels.append(normalise(excerpt, before, prior, data.adaptation))
                said.append(goal[index, first : first + frames])
        lengths = torch.full((len(log_mels),), frames * pool)
        yield torch.from_numpy(np.stack(log_mels)), lengths, torch.stack(said)


def _plain(
    read: ReadSpeech,
    voices: Sequence[NDArray[np.int64]],
    prior: LogMelStatistics,
    goal: Tensor,
    settings: OpenSettings,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Whole windows as they are, some groups of each voice."""
    data, rng, group = read.data, generator(settings, 11), settings.speech.group
    batches = []
    for voice in voices:
        some = rng.permutation(voice)[: max(1, _MEASURED // group) * group]
        some = some[: len(some) // group * group]
        rows = [
            normalise(data.plain_mels[i], data.heard(i, _HEARD, rng), prior, data.adaptation)
            for i in some.tolist()
        ]
        lengths = torch.full((len(rows),), len(rows[0]))
        batches.append((torch.from_numpy(np.stack(rows)), lengths, goal[some]))
    return batches
