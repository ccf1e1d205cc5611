"""``stser-train crossval``: speaker-independent folds on the open corpora.

In each fold one model is trained on the training speakers of all speech corpora, and tested on the
others, corpus by corpus, after 0, 1, 3, 10 and 30 other utterances of the same speaker were heard
(without labels). Text and bimodal classifiers are tested on pairs of a held-out speaker's utterance
and a held-out sentence of the same label, with the text branch of a checkpoint, which never saw
those sentences.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model as load_into
from safetensors.torch import save_model
from torch import nn

from stser_core.checkpoint import read_manifest
from stser_core.fusion import StserModel
from stser_core.tensors import load_model
from training.calibrate import log_posterior
from training.fit import fit_bimodal, fit_speech, matched_pairs
from training.folds import Fold, speaker_folds
from training.loop import score_speech, score_text
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.open_corpora import TextSplit, generator, read_speech, read_text
from training.settings import OpenSettings
from training.speech_data import SpeechData
from training.text_encoder import TextEncoder

logger = logging.getLogger(__name__)

HEARD = (0, 1, 3, 10, 30)
"""Utterances of the test speaker heard before the one that is judged."""
HEARD_BY_PAIRS = 10
"""Utterances heard before, when pairs are judged."""
PAIR_TEST = "goemotions"
"""Corpus whose held-out sentences are paired with held-out speakers."""

Counts = dict[str, NDArray[np.int64]]
"""Confusion matrices by name."""


def crossval(
    root: Path, cache: Path, checkpoint: Path, out: Path, settings: OpenSettings
) -> dict[str, Any]:
    """Run all folds that ``out`` does not hold yet, and sum them up.

    Args:
        root: Folder of the corpora.
        cache: Folder for log-mel.
        checkpoint: Gives the text branch; read when the speech branches are trained.
        out: Folder for each fold's weights and figures; a run that was killed goes on there.
        settings: As for ``fit``.

    Returns:
        Per corpus and number of utterances heard: WA and UA over all folds, and UA's mean and
        deviation by fold.
    """
    out.mkdir(parents=True, exist_ok=True)
    speech = read_speech(root, settings, cache)
    folds = speaker_folds(
        speech.utterances, settings.folds, settings.validation_share, settings.seed
    )
    of_fold = [
        dataclasses.replace(settings, seed=settings.seed + n) for n in range(1, len(folds) + 1)
    ]
    for number, (fold, fold_settings) in enumerate(zip(folds, of_fold, strict=True), start=1):
        if not (out / f"speech-{number}.json").is_file():
            counts = speech_fold(speech, fold, root, out / f"speech-{number}", fold_settings)
            _write(out / f"speech-{number}.json", counts)
            logger.info("fold %d of %d: %s", number, len(folds), summary([counts]))
    text = read_text(root, settings, TextEncoder.of_checkpoint(checkpoint).tokenizer())
    for number, (fold, fold_settings) in enumerate(zip(folds, of_fold, strict=True), start=1):
        if not (out / f"pairs-{number}.json").is_file():
            model = load_model(read_manifest(checkpoint))
            _load_speech(model, out / f"speech-{number}")
            _write(
                out / f"pairs-{number}.json", pair_fold(model, speech, fold, text, fold_settings)
            )
    paths = [
        out / f"{part}-{n}.json" for part in ("speech", "pairs") for n in range(1, len(folds) + 1)
    ]
    return summary([json.loads(path.read_text("utf-8")) for path in paths])


def speech_fold(
    speech: SpeechData, fold: Fold, root: Path, weights: Path, settings: OpenSettings
) -> Counts:
    """Train the speech branch on one fold, keep it, and count its test utterances."""
    torch.manual_seed(settings.seed)
    model = StserModel(settings.sizes)
    prior = fit_speech(model, speech, fold, root, settings)
    save_model(
        nn.ModuleList([model.smodel, model.speech]), str(weights.with_suffix(".safetensors"))
    )
    counts: Counts = {}
    labels, corpora = _labels(speech, fold)
    for heard in HEARD:
        scores = score_speech(model, speech, fold.test, prior, heard=heard, seed=settings.seed)
        predicted = scores.logits.argmax(axis=1)
        for corpus in settings.speech.corpora:
            rows = corpora == corpus
            counts[f"{corpus}, {heard} heard"] = confusion(labels[rows], predicted[rows])
    return counts


def pair_fold(
    model: StserModel, speech: SpeechData, fold: Fold, text: TextSplit, settings: OpenSettings
) -> Counts:
    """Train the bimodal classifier of one fold and count pairs of test speech and test sentences."""
    prior = speech.prior(fold.train)
    torch.manual_seed(settings.seed)
    model.bimodal = StserModel(model.settings).bimodal
    fit_bimodal(model, speech, fold, prior, text, settings)
    scores = score_speech(model, speech, fold.test, prior, heard=HEARD_BY_PAIRS, seed=settings.seed)
    labels, _ = _labels(speech, fold)
    return _pairs(model, scores.logits, scores.representation, labels, text, settings)


def _labels(speech: SpeechData, fold: Fold) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    corpora = np.array([speech.utterances[i].corpus for i in fold.test])
    return speech.labels[list(fold.test)], corpora


def _load_speech(model: StserModel, weights: Path) -> None:
    load_into(nn.ModuleList([model.smodel, model.speech]), weights.with_suffix(".safetensors"))


def _write(path: Path, counts: Counts) -> None:
    path.write_text(json.dumps({k: v.tolist() for k, v in counts.items()}), "utf-8")


def _pairs(
    model: StserModel,
    speech_logits: NDArray[np.float32],
    speech: NDArray[np.float32],
    labels: NDArray[np.int64],
    text: TextSplit,
    settings: OpenSettings,
) -> Counts:
    data = text.tests[PAIR_TEST]
    read = score_text(model, data, range(len(data)))
    pairs = matched_pairs(labels, data.labels, generator(settings, 6))[:, 1]
    with torch.no_grad():
        fused = model.fuse(
            torch.from_numpy(speech), torch.from_numpy(read.representation[pairs])
        ).numpy()
    logits = {"speech": speech_logits, "text": read.logits[pairs], "bimodal": fused}
    posteriors = {name: np.exp(log_posterior(values, 1.0)) for name, values in logits.items()}
    posteriors["STSER"] = np.mean(list(posteriors.values()), axis=0)
    return {
        f"pairs, {name}": confusion(labels, values.argmax(axis=1))
        for name, values in posteriors.items()
    }


def summary(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """WA and UA over the utterances of all folds, and UA's mean and deviation over the folds."""
    by_name: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
    for fold in folds:
        for name, counts in fold.items():
            by_name[name].append(np.array(counts))
    return {
        name: {
            "WA": round(weighted_accuracy(sum(matrices)), 4),  # type: ignore[arg-type]
            "UA": round(unweighted_accuracy(sum(matrices)), 4),  # type: ignore[arg-type]
            "UA mean": round(float(np.mean([unweighted_accuracy(m) for m in matrices])), 4),
            "UA sd": round(float(np.std([unweighted_accuracy(m) for m in matrices])), 4),
        }
        for name, matrices in by_name.items()
    }
