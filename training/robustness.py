"""``stser-train robustness``: held-out speakers in noise, in rooms and on the telephone.

The speech branches of ``crossval`` judge their own test speakers again, or a checkpoint the speakers that
its training set apart, each recording changed as :func:`training.channels.conditions` say, with noises and
rooms that training never heard. What was heard of the speaker before came through the same room or line.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stser_core.fusion import StserModel
from stser_core.tensors import load_model
from training.channels import CLEAN, Channel, conditions
from training.corpora.csv_manifest import read_rows
from training.crossval import check_folds, crossval_runs, load_speech
from training.errors import TrainingError
from training.fit import trained_alike
from training.folds import Fold, training_only
from training.front_end import extract, load_audio
from training.held_out import Run
from training.loop import score_speech
from training.metrics import confusion, unweighted_accuracy
from training.open_corpora import noise_recordings, read_speech
from training.settings import OpenSettings
from training.speech_data import SpeechData
from training.utterance import Utterance

logger = logging.getLogger(__name__)

HEARD_BEFORE: Final = 10
"""Utterances of the speaker heard before, in the same condition."""
ROOM_CORPUS: Final = "speechbrain_noise_vad"
"""Folder whose ``manifest.csv`` has recorded room responses (``label_original`` RIRs)."""
FOLDS: Final = "folds"
"""What was judged, where it was the models of ``crossval``; else it is a checkpoint's name and version."""


def robustness(
    root: Path,
    cache: Path,
    crossval: Path,
    settings: OpenSettings,
    each: int,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """UA of held-out speakers by condition and corpus.

    Args:
        root: Folder of the corpora, of the noise and of the rooms.
        cache: Folder for log-mel.
        crossval: Folder of ``stser-train crossval``, whose weights are tested.
        settings: Those of ``crossval``.
        each: Judge one of so many utterances of each speaker and class; 1 judges all.
        checkpoint: Tested in place of ``crossval``, on its validation speakers. They chose when its
            training ended and its temperatures: a little kinder than a test, and alike in all conditions.

    Returns:
        ``judged``: :data:`FOLDS`, or name and version of the checkpoint. ``conditions``: by condition
        utterances, UA of each corpus and their mean.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: There is no noise, ``crossval`` is not done or was by other settings, or these would set
            other speakers apart than the checkpoint's training did.
    """
    speech = read_speech(root, settings, cache, augmented=False)
    if checkpoint is None:
        judged = FOLDS
        check_folds(crossval, speech, root, settings)
        models = [(run, load_speech(run, crossval)) for run in crossval_runs(speech, settings)]
    else:
        apart = training_only(speech.utterances, settings.validation_share, settings.seed)
        manifest = trained_alike(checkpoint, speech, apart, settings)
        judged = f"{manifest.description.name} {manifest.description.version}"
        run = Run("checkpoint", Fold(apart.train, (), apart.validation), settings)
        models = [(run, load_model(manifest))]
    some = _some(speech.utterances, each)
    wanted = {index for run, _ in models for index in run.fold.test}
    some = [index for index in some if index in wanted]
    part = [speech.utterances[index] for index in some]
    figures: dict[str, Any] = {}
    for channel in [CLEAN, *_conditions(root, settings)]:
        mels = extract(part, settings.log_mel, cache, channel=channel)
        data = SpeechData(part, {"plain": mels}, settings.adaptation)
        figures[channel.name] = _figures(channel, data, some, models, speech)
        logger.info("%s: %s", channel.name, figures[channel.name])
    return {"judged": judged, "conditions": figures}


def _conditions(root: Path, settings: OpenSettings) -> list[Channel]:
    noises = noise_recordings(root, settings.log_mel, test=True)
    if not noises:
        raise TrainingError(
            f"{root}: no noise to test with. esc10/manifest.csv has it, in its split fold5."
        )
    manifest = root / ROOM_CORPUS / "manifest.csv"
    rooms = []
    if manifest.is_file():
        rows = read_rows(manifest, ("path", "label_original"))
        paths = [row["path"] for row in rows if row["label_original"] == "RIRs"]
        rate = settings.log_mel.sample_rate_hz
        rooms = [load_audio(manifest.parent / path, rate) for path in paths]
    return conditions(noises, rooms)


def _some(utterances: Sequence[Utterance], each: int) -> list[int]:
    """One of ``each`` utterances of every speaker and class, spread over what they said."""
    cells: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, utterance in enumerate(utterances):
        cells[utterance.speaker, utterance.label].append(index)
    return sorted(index for cell in cells.values() for index in cell[::each])


def _figures(
    channel: Channel,
    data: SpeechData,
    some: Sequence[int],
    models: Sequence[tuple[Run, StserModel]],
    speech: SpeechData,
) -> dict[str, float]:
    place = {index: position for position, index in enumerate(some)}
    predicted: NDArray[np.int64] = np.full(len(some), -1)
    for run, model in models:
        tested = [place[index] for index in run.fold.test if index in place]
        prior = speech.prior(run.fold.train)
        scores = score_speech(
            model, data, tested, prior, heard=HEARD_BEFORE, seed=run.settings.seed
        )
        predicted[tested] = scores.logits.argmax(axis=1)
    corpora = np.array([u.corpus for u in data.utterances])
    of_corpus = {
        str(corpus): unweighted_accuracy(
            confusion(data.labels[corpora == corpus], predicted[corpora == corpus])
        )
        for corpus in np.unique(corpora)
    }
    return {"utterances": len(some), "UA": float(np.mean(list(of_corpus.values()))), **of_corpus}
