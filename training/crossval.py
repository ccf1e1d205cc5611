"""``stser-train crossval`` and ``left-out``: speaker-independent figures on the open corpora.

In each fold one model is trained on the training speakers of all speech corpora, and tested on the
others, corpus by corpus, after 0, 1, 3, 10 and 30 other utterances of the same speaker were heard
(without labels). Left out: trained on all corpora but one, tested on that one. Text and bimodal
classifiers are tested on pairs of a held-out speaker's utterance and a held-out sentence of the same
label, with the text branch of a checkpoint, which never saw those sentences.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
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
from training.errors import TrainingError
from training.fit import HEARD_IN_VALIDATION, fit_bimodal, fit_speech, matched_pairs
from training.folds import Fold, left_out_fold, speaker_folds
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
    speech = read_speech(root, settings, cache)
    runs = crossval_runs(speech, settings)
    for run in runs:
        run_speech(run, speech, root, out)
    text = read_text(root, settings, TextEncoder.of_checkpoint(checkpoint).tokenizer())
    for number, run in enumerate(runs, start=1):
        if not (out / f"pairs-{number}.json").is_file():
            model = load_model(read_manifest(checkpoint))
            model = with_speech(model, run, out)
            _write(
                out / f"pairs-{number}.json", pair_fold(model, speech, run.fold, text, run.settings)
            )
    pairs = [out / f"pairs-{number}.json" for number in range(1, len(runs) + 1)]
    counted = [counts(run, speech, out) for run in runs]
    return summary([*counted, *(json.loads(path.read_text("utf-8")) for path in pairs)])


def left_out(root: Path, cache: Path, out: Path, settings: OpenSettings) -> dict[str, Any]:
    """Train without each corpus in turn and test on it; goes on where it was killed.

    Returns:
        As :func:`crossval`, of the speech classifier alone.
    """
    speech = read_speech(root, settings, cache)
    runs = left_out_runs(speech, settings)
    for run in runs:
        run_speech(run, speech, root, out)
    return summary([counts(run, speech, out) for run in runs])


@dataclass(frozen=True, slots=True)
class Run:
    """One training of the speech branch."""

    name: str
    """Of its files."""
    fold: Fold
    settings: OpenSettings


def crossval_runs(speech: SpeechData, settings: OpenSettings) -> list[Run]:
    """One a fold."""
    folds = speaker_folds(
        speech.utterances, settings.folds, settings.validation_share, settings.seed
    )
    return [
        Run(f"speech-{n}", fold, dataclasses.replace(settings, seed=settings.seed + n))
        for n, fold in enumerate(folds, start=1)
    ]


def left_out_runs(speech: SpeechData, settings: OpenSettings) -> list[Run]:
    """One a corpus."""
    corpora, runs = settings.speech.corpora, []
    for left, corpus in enumerate(corpora):
        kept = [n for n in range(len(corpora)) if n != left]
        part = dataclasses.replace(
            settings.speech,
            corpora=tuple(corpora[n] for n in kept),
            corpus_shares=tuple(settings.speech.corpus_shares[n] for n in kept),
        )
        fold = left_out_fold(speech.utterances, corpus, settings.validation_share, settings.seed)
        runs.append(Run(f"without-{corpus}", fold, dataclasses.replace(settings, speech=part)))
    return runs


def run_speech(run: Run, speech: SpeechData, root: Path, out: Path) -> None:
    """Train one speech branch and keep it with what it says of validation and test, unless it is there.

    ``NAME.safetensors`` holds the weights, ``NAME.npz`` logits in the order of the fold: ``test``
    ``(heard, utterances, classes)`` for :data:`HEARD`, ``validation`` ``(utterances, classes)``.
    """
    out.mkdir(parents=True, exist_ok=True)
    weights = (out / run.name).with_suffix(".safetensors")
    scores = (out / run.name).with_suffix(".npz")
    if scores.is_file():
        return
    torch.manual_seed(run.settings.seed)
    model = StserModel(run.settings.sizes)
    prior = fit_speech(model, speech, run.fold, root, run.settings)
    save_model(nn.ModuleList([model.smodel, model.speech]), str(weights))

    def said(indices: Sequence[int], heard: int) -> NDArray[np.float32]:
        return score_speech(
            model, speech, indices, prior, heard=heard, seed=run.settings.seed
        ).logits

    np.savez(
        scores,
        validation=said(run.fold.validation, HEARD_IN_VALIDATION),
        test=np.stack([said(run.fold.test, heard) for heard in HEARD]),
    )
    logger.info("%s: %s", run.name, summary([counts(run, speech, out)]))


def counts(run: Run, speech: SpeechData, out: Path) -> Counts:
    """Confusion matrices of a run's test, by corpus and utterances heard."""
    with np.load((out / run.name).with_suffix(".npz"), allow_pickle=False) as kept:
        predicted = kept["test"].argmax(axis=2)
    labels, corpora = _labels(speech, run.fold)
    return {
        f"{corpus}, {heard} heard": confusion(
            labels[corpora == corpus], predicted[place][corpora == corpus]
        )
        for place, heard in enumerate(HEARD)
        for corpus in np.unique(corpora)
    }


def load_speech(run: Run, out: Path) -> StserModel:
    """A model whose speech branch is that of a run; the rest is random.

    Raises:
        TrainingError: The run is not done.
    """
    model = StserModel(run.settings.sizes)
    path = (out / run.name).with_suffix(".safetensors")
    if not path.is_file():
        raise TrainingError(f"{path}: not there. Run stser-train crossval --out {out} first.")
    load_into(nn.ModuleList([model.smodel, model.speech]), path)
    return model.eval()


def with_speech(model: StserModel, run: Run, out: Path) -> StserModel:
    """A model with the text branch of ``model`` and the speech branch of a run, ready to judge."""
    joined = StserModel(dataclasses.replace(model.settings, speech=run.settings.sizes.speech))
    joined.tmodel.load_state_dict(model.tmodel.state_dict())
    joined.text.load_state_dict(model.text.state_dict())
    heard = load_speech(run, out)
    joined.smodel.load_state_dict(heard.smodel.state_dict())
    joined.speech.load_state_dict(heard.speech.state_dict())
    return joined.eval()


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
