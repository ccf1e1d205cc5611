"""``stser-train fit``: from open corpora to a checkpoint."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stser_core.adaptation import LogMelStatistics
from stser_core.checkpoint import TOKENIZER, Manifest, read_manifest
from stser_core.export import check_replaceable, save_checkpoint
from stser_core.fusion import StserModel
from stser_core.tensors import load_model, rounded
from training.calibrate import temperature
from training.errors import TrainingError
from training.folds import Fold, training_only
from training.lesson import SpeechTargets, prepare
from training.loop import (
    accuracy,
    score_speech,
    score_text,
    text_accuracy,
    train_bimodal,
    train_speech,
    train_text,
)
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.mishearing import Confusions, misheard
from training.open_corpora import (
    TextSplit,
    check_fold,
    check_text,
    generator,
    read_noises,
    read_speech,
    read_text,
)
from training.opinions import read_opinions
from training.settings import OpenSettings
from training.speech_data import SpeechBatches, SpeechData
from training.text_data import TextBatches, TextData
from training.text_encoder import TextEncoder
from training.unlike import learn_novelty
from training.voice_teacher import Taught, VoiceTeacher

logger = logging.getLogger(__name__)

SENTENCES_IN_PAIRS = 2_500
"""Training sentences that the bimodal classifier is trained with, drawn at random."""
HEARD_IN_VALIDATION = 3
"""Utterances heard before, when validation decides: between a first word and a long talk."""


def started(encoder: TextEncoder, settings: OpenSettings) -> StserModel:
    """Fresh networks from the run's seed, with a pre-trained ALBERT in place."""
    torch.manual_seed(settings.seed)
    model = StserModel(dataclasses.replace(settings.sizes, text=encoder.sizes))
    encoder.load_into(model)
    return model


def fit_speech(
    model: StserModel,
    data: SpeechData,
    fold: Fold,
    root: Path,
    settings: OpenSettings,
    taught: Taught,
) -> LogMelStatistics:
    """Train the speech branch on a fold, with a teacher where there is one.

    Returns:
        The prior that goes with it.
    """
    check_fold(data.utterances, fold, settings)
    prior = data.prior(fold.train)
    batches = SpeechBatches(
        data,
        fold.train,
        prior,
        read_noises(root, settings.log_mel),
        settings.speech,
        generator(settings, 1),
        None if taught.pieces is None else taught.pieces.data,
    )
    labels = data.labels[list(fold.validation)]
    corpora = np.array([data.utterances[i].corpus for i in fold.validation])

    def validate() -> float:
        heard = HEARD_IN_VALIDATION
        scores = score_speech(model, data, fold.validation, prior, heard=heard, seed=settings.seed)
        of_corpus = [
            accuracy(scores.logits[corpora == corpus], labels[corpora == corpus])
            for corpus in np.unique(corpora)
        ]
        return float(np.mean(of_corpus))  # each corpus counts alike, however large

    targets = _targets(data, fold, settings, taught, model.settings.speech.representation)
    train_speech(model, batches, targets, validate, settings.speech)
    return prior


def _targets(
    data: SpeechData,
    fold: Fold,
    settings: OpenSettings,
    taught: Taught,
    representation: int,
) -> SpeechTargets:
    """Labels, and what a teacher says of the training speakers."""
    if taught.heard is None:
        return SpeechTargets(data.labels, settings.speech)
    lesson = prepare(
        taught.heard,
        data.utterances,
        fold.train,
        settings.speech,
        settings.lesson,
        generator(settings, 8),
        None if taught.pieces is None else taught.pieces.heard,
    )
    return SpeechTargets(data.labels, settings.speech, lesson, representation)


def fit_text(
    model: StserModel,
    split: TextSplit,
    settings: OpenSettings,
    opinions: NDArray[np.float32] | None = None,
) -> None:
    """Tune the text branch on labels and on a teacher's opinions, where there are any."""
    batches = TextBatches(
        split.data,
        split.train,
        settings.text,
        generator(settings, 2),
        confusions=Confusions.read(),
        opinions=opinions,
    )

    def validate() -> float:
        scores = score_text(model, split.data, split.validation)
        return text_accuracy(scores.logits, split.data, split.validation)

    train_text(model, batches, validate, settings.text)


def fit_bimodal(
    model: StserModel,
    speech: SpeechData,
    fold: Fold,
    prior: LogMelStatistics,
    text: TextSplit,
    settings: OpenSettings,
) -> None:
    """Train the bimodal classifier on label-matched pairs of the training speech and text."""
    heard = score_speech(
        model, speech, fold.train, prior, heard=HEARD_IN_VALIDATION, seed=settings.seed
    )
    # A few thousand sentences are plenty for a classifier over frozen representations.
    drawn = generator(settings, 3).permutation(len(text.train))[:SENTENCES_IN_PAIRS]
    some = [text.train[i] for i in drawn]
    read = score_text(model, text.data, some)
    train_bimodal(
        model,
        (heard.representation, speech.labels[list(fold.train)]),
        (read.representation, text.data.labels[some]),
        settings.bimodal,
        generator(settings, 4),
    )


def fit(
    root: Path,
    out: Path,
    cache: Path,
    encoder: TextEncoder,
    settings: OpenSettings,
    teacher: VoiceTeacher,
    text_from: Path | None = None,
    opinions: Path | None = None,
    speech_from: Path | None = None,
    strangers: Path | None = None,
) -> Manifest:
    """Train all three branches and write the checkpoint.

    Args:
        root: Folder of the corpora.
        out: Folder of the new checkpoint, or of one to replace.
        cache: Folder for log-mel.
        encoder: What the tmodel starts from; gives its sizes and word pieces.
        settings: All of them.
        teacher: Of the speech branch.
        text_from: Takes the trained text branch of this checkpoint instead of training one.
        opinions: A teacher's, as ``stser-train distil`` writes them.
        speech_from: Likewise the speech branch, which must be of the same corpora, seed and front end.
        strangers: Results of ``left-out``, whose temperatures take the place of those of validation speakers.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: The opinions are of other sentences, the hearing of other utterances, or the speech
            branch of other speakers.
        CheckpointError: The checkpoint would not be sound, or ``out`` holds something else; nothing is
            written.
    """
    check_replaceable(out)
    known = {} if strangers is None else read_temperatures(strangers)
    text = read_text(root, settings, encoder.tokenizer())
    check_text(text, settings)
    believed = None if opinions is None else read_opinions(opinions, text.data)
    speech = read_speech(root, settings, cache)
    fold = training_only(speech.utterances, settings.validation_share, settings.seed)
    if speech_from is None:
        model = started(encoder, settings)
        teacher.start(model.smodel)
        prior = fit_speech(model, speech, fold, root, settings, teacher.taught(speech, settings))
    else:
        model, prior = _with_speech_of(
            trained_alike(speech_from, speech, fold, settings), encoder, settings
        )
    if text_from is None:
        fit_text(model, text, settings, believed)
    else:
        trained = load_model(read_manifest(text_from))
        model.tmodel.load_state_dict(trained.tmodel.state_dict())
        model.text.load_state_dict(trained.text.state_dict())
    fit_bimodal(model, speech, fold, prior, text, settings)
    shipped = rounded(model)
    return save_checkpoint(
        out,
        shipped,
        name=settings.name,
        version=settings.version,
        tokenizer_json_path=encoder.folder / TOKENIZER,
        prior=prior,
        temperatures=calibrate(shipped, speech, fold, prior, text, settings) | known,
        notes=notes(shipped, speech, fold, text, settings),
        log_mel=settings.log_mel,
        adaptation=settings.adaptation,
        novelty=learn_novelty(
            speech, fold, read_noises(root, settings.log_mel), generator(settings, 7)
        ),
    )


def trained_alike(
    checkpoint: Path, speech: SpeechData, fold: Fold, settings: OpenSettings
) -> Manifest:
    """A checkpoint whose speech branch was trained with these settings and set the same speakers apart.

    Raises:
        CheckpointError: It is not sound, or was made for another front end.
        TrainingError: Its adaptation or its validation speakers are others.
    """
    manifest = read_manifest(checkpoint, log_mel=settings.log_mel)
    if manifest.description.adaptation != settings.adaptation:
        raise TrainingError(
            f"{checkpoint}: trained with another adaptation: {manifest.description.adaptation} there, "
            f"{settings.adaptation} here. Name its settings with --config."
        )
    apart = manifest.notes.get("validation_speakers")
    if apart != _validation_speakers(speech, fold):
        raise TrainingError(
            f"{checkpoint}: its training set other speakers apart than these settings do, which would "
            "judge speakers that it was trained on. Name its settings with --config, its corpora with --root."
        )
    return manifest


def _validation_speakers(speech: SpeechData, fold: Fold) -> list[str]:
    return sorted({speech.utterances[i].speaker for i in fold.validation})


def _with_speech_of(
    given: Manifest, encoder: TextEncoder, settings: OpenSettings
) -> tuple[StserModel, LogMelStatistics]:
    """A model with the trained speech branch of a checkpoint, and the prior that goes with it."""
    sizes = dataclasses.replace(settings.sizes, speech=given.description.sizes.speech)
    model, trained = started(encoder, dataclasses.replace(settings, sizes=sizes)), load_model(given)
    model.smodel.load_state_dict(trained.smodel.state_dict())
    model.speech.load_state_dict(trained.speech.state_dict())
    return model, given.description.prior.statistics()


def calibrate(
    model: StserModel,
    speech: SpeechData,
    fold: Fold,
    prior: LogMelStatistics,
    text: TextSplit,
    settings: OpenSettings,
) -> dict[str, float]:
    """A temperature for each classifier, on validation speakers and sentences.

    Every sentence as a recogniser may hear it: of words that were never heard a classifier that knows
    written ones is too sure.
    """
    heard = score_speech(
        model, speech, fold.validation, prior, heard=HEARD_IN_VALIDATION, seed=settings.seed
    )
    read = score_text(model, misheard_data(text, settings), text.validation)
    said, written = speech.labels[list(fold.validation)], text.data.labels[list(text.validation)]
    pairs = matched_pairs(said, written, generator(settings, 5))
    with torch.no_grad():
        fused = model.fuse(
            torch.from_numpy(heard.representation[pairs[:, 0]]),
            torch.from_numpy(read.representation[pairs[:, 1]]),
        ).numpy()
    return {
        "speech": temperature(heard.logits, said),
        "text": temperature(read.logits, written),
        "bimodal": temperature(fused, said[pairs[:, 0]]),
    }


def read_temperatures(path: Path) -> dict[str, float]:
    """What ``left-out`` found on corpora that its models never heard: for ``speech`` and ``bimodal``.

    Raises:
        TrainingError: The file is not there, or not its.
    """
    try:
        found = json.loads(path.read_text("utf-8"))["temperatures"]
        return {name: float(found[name]) for name in ("speech", "bimodal")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path}: holds no temperatures ({error!r}). Run stser-train left-out first."
        ) from error


def misheard_data(text: TextSplit, settings: OpenSettings) -> TextData:
    """The sentences of a split with every validation sentence misheard, however often training is."""
    rng, confusions = generator(settings, 11), Confusions.read()
    always = dataclasses.replace(settings.text.mishearing, confused=1.0)
    words = list(text.data.words)
    for index in text.validation:
        words[index] = misheard(words[index], always, confusions, rng)
    return text.data.with_words(words)


def matched_pairs(
    speech: np.ndarray[Any, Any], text: np.ndarray[Any, Any], rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """For each utterance a sentence of the same label: indices ``(utterances, 2)``."""
    return np.array([(i, rng.choice(np.flatnonzero(text == y))) for i, y in enumerate(speech)])


def notes(
    model: StserModel, speech: SpeechData, fold: Fold, text: TextSplit, settings: OpenSettings
) -> dict[str, Any]:
    """What the manifest says of the training, with figures on sentences never seen."""
    figures: dict[str, Any] = {}
    for name, data in text.tests.items():
        logits = score_text(model, data, range(len(data))).logits
        matrix = confusion(data.labels, logits.argmax(axis=1))
        figures[name] = {
            "sentences": len(data),
            "WA": round(weighted_accuracy(matrix), 6),
            "UA": round(unweighted_accuracy(matrix), 6),
        }
    logger.info("text, test sentences: %s", figures)
    return {
        "speech_corpora": list(settings.speech.corpora),
        "text_corpora": list(settings.text.corpora),
        "pairing": "The bimodal classifier was trained on pairs of speech and text of unpaired "
        "corpora, matched by label. No corpus had words and voice of one utterance.",
        "training_utterances": len(fold.train),
        "validation_speakers": _validation_speakers(speech, fold),
        "training_sentences": len(text.train),
        "text_test": figures,
        "seed": settings.seed,
        "licence": "CC BY-NC-SA 4.0",
    }
