"""``stser-train crossval`` and ``left-out``: speaker-independent figures on the open corpora.

In each fold one model is trained on the training speakers of all speech corpora, and tested on the
others, corpus by corpus, after 0, 1, 3, 10 and 30 other utterances of the same speaker were heard
(without labels). Left out: trained on all corpora but one, tested on that one. Text and bimodal
classifiers are tested on pairs of a held-out speaker's utterance and a held-out sentence of the same
label, with the text branch of a checkpoint, which never saw those sentences.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_model as load_into
from safetensors.torch import save_model
from torch import nn

from stser_core.adaptation import LogMelStatistics
from stser_core.checkpoint import read_manifest
from stser_core.fusion import StserModel
from stser_core.labels import Emotion
from stser_core.tensors import load_model
from training.errors import TrainingError
from training.fit import HEARD_IN_VALIDATION, fit_bimodal, fit_speech, matched_pairs, trained_alike
from training.folds import left_out_fold, speaker_folds, training_only
from training.held_out import (
    HEARD,
    MOOD_HEARD,
    MOODS,
    Run,
    Temperatures,
    of_strangers,
    of_validation,
    pair_figures,
    read_by,
    speech_figures,
    speech_reliability,
    stranger_temperatures,
)
from training.loop import score_speech, score_text
from training.open_corpora import (
    TextSplit,
    check_classes,
    check_fold,
    check_text,
    generator,
    noise_files,
    read_speech,
    read_text,
    text_files,
)
from training.run_record import RECORD, begin, describe_corpus, differing, digest_of
from training.settings import OpenSettings
from training.speech_data import SpeechData
from training.text_data import TextData
from training.text_encoder import TextEncoder
from training.unlike import unlike_figures
from training.voice_teacher import Taught, VoiceTeacher
from training.whole_file import written_whole

logger = logging.getLogger(__name__)

HEARD_BY_PAIRS = 10
"""Utterances heard before, when pairs are judged."""
PAIR_TEST = "goemotions"
"""Corpus whose held-out sentences are paired with held-out speakers."""


def crossval(
    root: Path,
    cache: Path,
    checkpoint: Path,
    out: Path,
    settings: OpenSettings,
    teacher: VoiceTeacher,
) -> dict[str, Any]:
    """Run all folds that ``out`` does not hold yet, and sum them up.

    Args:
        root: Folder of the corpora.
        cache: Folder for log-mel.
        checkpoint: Gives the text branch of the pairs; with another one they are judged anew.
        out: Folder for each fold's weights and figures; a run that was killed goes on there.
        settings: As for ``fit``.
        teacher: Of the speech branches.

    Returns:
        ``speech``: as :func:`~training.held_out.speech_figures`. ``reliability`` and ``pairs``
        likewise.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: ``out`` holds another run, or what the teacher left cannot be used.
    """
    speech = read_speech(root, settings, cache)
    runs = crossval_runs(speech, settings)
    _run_all(runs, speech, root, checkpoint, out, settings, teacher)
    return _figures(runs, of_validation(runs, speech, out), speech, out)


def left_out(
    root: Path,
    cache: Path,
    checkpoint: Path,
    out: Path,
    settings: OpenSettings,
    teacher: VoiceTeacher,
) -> dict[str, Any]:
    """Train without each corpus in turn and test on it; goes on where it was killed.

    Returns:
        As :func:`crossval`, calibrated by the other corpora that were left out; and ``temperatures``, found on
        all of them, for ``stser-train fit --strangers``.
    """
    speech = read_speech(root, settings, cache)
    runs = left_out_runs(speech, settings)
    _run_all(runs, speech, root, checkpoint, out, settings, teacher)
    heard, fused = stranger_temperatures(runs, speech, out)
    return _figures(runs, of_strangers(runs, speech, out), speech, out) | {
        "temperatures": {"speech": heard, "bimodal": fused}
    }


def _decided_by(
    speech: SpeechData, root: Path, settings: OpenSettings, teacher: VoiceTeacher
) -> dict[str, Any]:
    """All that the models of a run depend on, but the checkpoint, which the files of pairs name."""
    return {
        **_folds_by(speech, root, settings),
        "noise": digest_of(noise_files(root)),
        "text": digest_of(text_files(root, settings)),
        "teacher": teacher.digests(),
    }


def _folds_by(speech: SpeechData, root: Path, settings: OpenSettings) -> dict[str, Any]:
    elsewhere = ("name", "version", "text", "pretraining", "distil")
    decide = {k: v for k, v in dataclasses.asdict(settings).items() if k not in elsewhere}
    text = {"corpora": settings.text.corpora, "tests": settings.text.tests}
    return {
        "settings": decide | {"text": text},  # the text branch is that of a checkpoint
        "corpus": describe_corpus(speech.utterances, root),
    }


def check_folds(out: Path, speech: SpeechData, root: Path, settings: OpenSettings) -> None:
    """Stop where the folds in ``out`` are not those of these settings and corpora.

    Raises:
        TrainingError: They are others, or there are none.
    """
    if not (out / RECORD).is_file():
        raise TrainingError(f"{out}: no folds. Run stser-train crossval --out {out} first.")
    if others := differing(out, _folds_by(speech, root, settings)):
        raise TrainingError(
            f"{out}: other folds, of which these settings would judge speakers that were trained on: "
            f"{', '.join(others)}. Name its settings with --config, its corpora with --root."
        )


def _run_all(
    runs: Sequence[Run],
    speech: SpeechData,
    root: Path,
    checkpoint: Path,
    out: Path,
    settings: OpenSettings,
    teacher: VoiceTeacher,
) -> None:
    text = _text(root, checkpoint, settings)
    left = [run for run in runs if not _speech_is_done(run, out)]
    for run in left:
        check_fold(speech.utterances, run.fold, run.settings)
    taught = teacher.taught(speech, settings) if left else Taught()
    begin(out, _decided_by(speech, root, settings, teacher))
    for run in left:
        run_speech(run, speech, root, out, teacher, taught)
    for run in runs:
        run_pairs(run, speech, text, checkpoint, out)


def _text(root: Path, checkpoint: Path, settings: OpenSettings) -> TextSplit:
    """Sentences for pairs.

    Raises:
        CorpusError: A corpus is missing or damaged, or lacks a class.
        TrainingError: The corpus for pairs is not among the tests.
    """
    if PAIR_TEST not in settings.text.tests:
        raise TrainingError(
            f"text.tests ({', '.join(settings.text.tests)}) must have {PAIR_TEST}: its sentences are "
            "paired with held-out speakers."
        )
    text = read_text(root, settings, TextEncoder.of_checkpoint(checkpoint).tokenizer())
    check_text(text, settings)
    check_classes(text.tests[PAIR_TEST].utterances, f"{PAIR_TEST}/dev.csv")
    return text


def _figures(
    runs: Sequence[Run], scales: Temperatures, speech: SpeechData, out: Path
) -> dict[str, Any]:
    return {
        "speech": speech_figures(runs, scales, speech, out),
        "reliability": speech_reliability(runs, scales, speech, out),
        "pairs": pair_figures(runs, scales, out),
    }


def crossval_runs(speech: SpeechData, settings: OpenSettings) -> list[Run]:
    """One a fold."""
    folds = speaker_folds(
        speech.utterances, settings.folds, settings.validation_share, settings.seed
    )
    return [
        Run(f"speech-{n}", fold, dataclasses.replace(settings, seed=settings.seed + n))
        for n, fold in enumerate(folds, start=1)
    ]


def of_checkpoint(
    root: Path, cache: Path, checkpoint: Path, out: Path, settings: OpenSettings
) -> dict[str, Any]:
    """A checkpoint on the validation speakers of its training, with its own temperatures.

    They chose when its training ended, so this is a little kinder than the folds of :func:`crossval`.

    Returns:
        As :func:`crossval`, and ``judged``: the checkpoint's name and version.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: The settings would set other speakers apart than the checkpoint's training did.
    """
    speech = read_speech(root, settings, cache, augmented=False)
    text = _text(root, checkpoint, settings)
    apart = training_only(speech.utterances, settings.validation_share, settings.seed)
    manifest = trained_alike(checkpoint, speech, apart, settings)
    model, prior = load_model(manifest), manifest.description.prior.statistics()
    run = Run("checkpoint", dataclasses.replace(apart, test=apart.validation), settings)
    score_run(model, prior, run, speech, out)
    score_pairs(model, prior, run, speech, text, out, manifest.digest)
    described = manifest.description
    shipped = described.temperatures
    scales = {
        run.name: [shipped.speech],
        f"pairs-{run.name}": [shipped.speech, shipped.text, shipped.bimodal],
    }
    return _figures([run], scales, speech, out) | {
        "judged": f"{described.name} {described.version}",
        "unlike": unlike_figures(described, speech, apart, root),
    }


def left_out_runs(speech: SpeechData, settings: OpenSettings) -> list[Run]:
    """One a corpus."""
    runs = []
    for corpus in settings.speech.corpora:
        fold = left_out_fold(speech.utterances, corpus, settings.validation_share, settings.seed)
        runs.append(Run(f"without-{corpus}", fold, _without(corpus, settings)))
    return runs


def _without(corpus: str, settings: OpenSettings) -> OpenSettings:
    """The same training on all speech corpora but one."""
    of_all = settings.speech
    kept = [n for n, name in enumerate(of_all.corpora) if name != corpus]
    speech = dataclasses.replace(
        of_all,
        corpora=tuple(of_all.corpora[n] for n in kept),
        corpus_shares=tuple(of_all.corpus_shares[n] for n in kept),
    )
    return dataclasses.replace(settings, speech=speech)


def run_speech(
    run: Run,
    speech: SpeechData,
    root: Path,
    out: Path,
    teacher: VoiceTeacher,
    taught: Taught,
) -> None:
    """Train one speech branch and keep it with what it says of validation and test, unless it is there.

    ``NAME.safetensors`` holds the weights, ``NAME.npz`` logits in the order of the fold: ``test``
    ``(heard, utterances, classes)`` for :data:`HEARD`, ``moods`` ``(moods, utterances, classes)``
    after :data:`MOOD_HEARD` of each of :data:`MOODS` alone, ``validation`` ``(utterances, classes)``.

    Args:
        run: Which speakers, and how.
        speech: All utterances.
        root: Folder of the noise.
        out: Folder of the results.
        teacher: Of the branch.
        taught: What it heard of ``speech``.

    Raises:
        TrainingError: What the teacher left cannot be used.
    """
    if _speech_is_done(run, out):
        return
    torch.manual_seed(run.settings.seed)
    model = StserModel(run.settings.sizes)
    teacher.start(model.smodel)
    prior = fit_speech(model, speech, run.fold, root, run.settings, taught)
    with written_whole((out / run.name).with_suffix(".safetensors")) as draft:
        save_model(nn.ModuleList([model.smodel, model.speech]), str(draft))
    score_run(model, prior, run, speech, out)
    scales = of_validation([run], speech, out)
    logger.info("%s: %s", run.name, speech_figures([run], scales, speech, out))


def _speech_is_done(run: Run, out: Path) -> bool:
    return (out / run.name).with_suffix(".npz").is_file()


def score_run(
    model: StserModel, prior: LogMelStatistics, run: Run, speech: SpeechData, out: Path
) -> None:
    """Keep what the speech classifier says of a run's validation and test, as :func:`run_speech` does."""

    def said(
        indices: Sequence[int], heard: int, mood: Emotion | None = None
    ) -> NDArray[np.float32]:
        seed = run.settings.seed
        return score_speech(model, speech, indices, prior, heard=heard, seed=seed, mood=mood).logits

    kept = {
        "validation": said(run.fold.validation, HEARD_IN_VALIDATION),
        "test": np.stack([said(run.fold.test, heard) for heard in HEARD]),
        "moods": np.stack([said(run.fold.test, MOOD_HEARD, mood) for mood in MOODS]),
    }
    with written_whole((out / run.name).with_suffix(".npz")) as draft:
        np.savez(draft, allow_pickle=False, **kept)


def load_speech(run: Run, out: Path) -> StserModel:
    """A model whose speech branch is that of a run; the rest is random.

    Raises:
        TrainingError: The run is not done, or its file is damaged.
    """
    model = StserModel(run.settings.sizes)
    path = (out / run.name).with_suffix(".safetensors")
    if not path.is_file():
        raise TrainingError(f"{path}: not there. Run stser-train crossval --out {out} first.")
    try:
        load_into(nn.ModuleList([model.smodel, model.speech]), path)
    except SafetensorError as error:
        raise TrainingError(
            f"{path}: cannot be read ({error}). Remove it and {run.name}.npz, and run again."
        ) from error
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


def run_pairs(run: Run, speech: SpeechData, text: TextSplit, checkpoint: Path, out: Path) -> None:
    """Train a fold's bimodal classifier and keep what all three say of pairs, unless it is there.

    ``pairs-NAME.npz`` holds, for ``validation`` and ``test``, labels and the logits of speech, text
    and bimodal classifier ``(3, pairs, classes)``: each utterance of the side's speakers with a
    sentence of the same label that is on that side of the text. ``checkpoint`` is the digest of the one
    whose text branch that was; with another one all is done again.
    """
    manifest = read_manifest(checkpoint)
    if read_by(run, out) == manifest.digest:
        return
    model = with_speech(load_model(manifest), run, out)
    prior = speech.prior(run.fold.train)
    torch.manual_seed(run.settings.seed)
    model.bimodal = StserModel(model.settings).bimodal
    fit_bimodal(model, speech, run.fold, prior, text, run.settings)
    score_pairs(model, prior, run, speech, text, out, manifest.digest)


def score_pairs(
    model: StserModel,
    prior: LogMelStatistics,
    run: Run,
    speech: SpeechData,
    text: TextSplit,
    out: Path,
    checkpoint: str,
) -> None:
    """Keep what all three classifiers say of a run's pairs, as :func:`run_pairs` does."""
    sides: dict[str, tuple[Sequence[int], TextData, NDArray[np.int64]]] = {
        "validation": (run.fold.validation, text.data, np.array(text.validation)),
        "test": (run.fold.test, text.tests[PAIR_TEST], np.arange(len(text.tests[PAIR_TEST]))),
    }
    kept: dict[str, NDArray[Any]] = {"checkpoint": np.array(checkpoint)}
    for side, (utterances, data, readable) in sides.items():
        heard = score_speech(
            model, speech, utterances, prior, heard=HEARD_BY_PAIRS, seed=run.settings.seed
        )
        labels = speech.labels[list(utterances)]
        drawn = matched_pairs(labels, data.labels[readable], generator(run.settings, 6))[:, 1]
        chosen, place = np.unique(readable[drawn], return_inverse=True)
        read = score_text(model, data, chosen.tolist())
        with torch.no_grad():
            fused = model.fuse(
                torch.from_numpy(heard.representation),
                torch.from_numpy(read.representation[place]),
            ).numpy()
        kept[side] = np.stack([heard.logits, read.logits[place], fused])
        kept[f"{side} labels"] = labels
    with written_whole(out / f"pairs-{run.name}.npz") as draft:
        np.savez(draft, allow_pickle=False, **kept)
