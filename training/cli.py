"""``stser-train``: corpora in, checkpoints and tables out."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from config.loader import SettingsError, load
from stser_core.errors import StserError
from training.corpora import READERS, read_corpus
from training.errors import TrainingError
from training.flags import PAPER_SETTINGS, SETTINGS, check_used, parser
from training.recogniser.cli import run as run_recogniser
from training.settings import OpenSettings, PaperSettings
from training.utterance import Utterance
from training.whole_file import check_place, write_whole

if TYPE_CHECKING:
    from training.voice_teacher import VoiceTeacher

RUNS = Path("runs")
"""Folder of results where ``--out`` names none."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 where an input cannot be used."""
    flags = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if flags.root is None and flags.command != "tables":
            raise TrainingError(
                "--root is missing: name the folder of the corpora, or set STSER_DATA."
            )
        check_used(flags)
        if flags.command == "evaluate":
            return _evaluate(flags)
        if flags.command == "recogniser":
            _prepare_torch(flags.threads)
            return run_recogniser(flags)
        if flags.command in {"crossval", "baseline"} and flags.corpus == "iemocap":
            run = _paper if flags.command == "crossval" else _paper_baseline
            return run(flags, load(flags.config or PAPER_SETTINGS, PaperSettings))
        return _run(flags, load(flags.config or SETTINGS, OpenSettings))
    except (TrainingError, StserError, SettingsError) as error:
        sys.stderr.write(f"stser-train: {error}\n")
        return 2
    except OSError as error:
        # What is read says so itself; what is left could not be written.
        sys.stderr.write(f"stser-train: {error.filename or 'a file'}: {error.strerror or error}.\n")
        return 2


def _prepare_torch(threads: int) -> None:
    try:
        import torch
    except ImportError as error:
        raise TrainingError('PyTorch is missing: pip install "stser-monitor[train]".') from error
    torch.set_num_threads(max(1, threads))


def _paper(flags: argparse.Namespace, settings: PaperSettings) -> int:
    _prepare_torch(flags.threads)
    from stser_core.ensemble import DEFAULT_CHECKPOINT
    from training.compute import Compute
    from training.paper import PaperRun, run_baseline, run_folds
    from training.paper_report import with_baseline, write_report
    from training.text_encoder import TextEncoder

    compute = Compute(flags.device, flags.mixed_precision, flags.parallel)
    encoder = (
        TextEncoder.of_albert(flags.text_encoder)
        if flags.text_encoder is not None
        else TextEncoder.of_checkpoint(flags.checkpoint or DEFAULT_CHECKPOINT)
    )
    utterances = READERS["iemocap"](flags.root, allow_partial=flags.allow_partial)
    with compute.main_first():
        utterances, words = _with_words(flags, utterances)
    out = flags.out or RUNS / settings.name
    run = PaperRun(flags.root, out, flags.cache, compute, words, flags.save_every)
    folds = run_folds(utterances, encoder, settings, run)
    if compute.is_main:
        baseline = run_baseline(utterances, settings, flags.root, flags.cache)
        sys.stdout.write(write_report(with_baseline(folds, baseline), out, words))
        sys.stderr.write(f"All tables and pictures: {out}\n")
    return 0


def _paper_baseline(flags: argparse.Namespace, settings: PaperSettings) -> int:
    from training.paper import run_baseline
    from training.paper_report import write_baseline_report
    from training.run_record import begin, describe_corpus

    utterances = READERS["iemocap"](flags.root, allow_partial=flags.allow_partial)
    utterances, words = _with_words(flags, utterances)
    out = flags.out or RUNS / f"{settings.name}-baseline"
    begin(out, {"corpus": describe_corpus(utterances, flags.root), "words": words})
    folds = run_baseline(utterances, settings, flags.root, flags.cache)
    sys.stdout.write(write_baseline_report(folds, out, words))
    return 0


def _with_words(
    flags: argparse.Namespace, utterances: list[Utterance], min_confidence: float = 0.0
) -> tuple[list[Utterance], str]:
    """Utterances with the words that ``--transcripts`` names, and where these come from."""
    if flags.transcripts == "reference":
        return utterances, "reference"
    from training.transcripts import Recogniser, embedded_model, transcribe

    recogniser = Recogniser(flags.vosk_model or embedded_model(), flags.cache)
    heard = transcribe(utterances, recogniser, min_confidence=min_confidence)
    return heard, f"{recogniser.name} {recogniser.digest}"


def _run(flags: argparse.Namespace, settings: OpenSettings) -> int:
    _prepare_torch(flags.threads)
    if flags.command in {"hear", "pretrain", "confusions", "words"}:
        check_place(flags.out)
    if flags.command == "fit":
        return _fit(flags, settings)
    if flags.command == "distil":
        from training.distil.run import distil

        sys.stdout.write(f"{distil(flags.teacher, flags.root, flags.out, settings)}\n")
        return 0
    if flags.command == "hear":
        from training.hear import hear

        sys.stdout.write(f"{hear(flags.teacher, flags.root, flags.out, settings)}\n")
        return 0
    if flags.command == "pretrain":
        from training.pretrain import pretrain

        out = pretrain(flags.teacher, flags.root, flags.out, settings, flags.read)
        sys.stdout.write(f"{out}\n")
        return 0
    if flags.command == "tables":
        return _tables(flags)
    if flags.command in {"confusions", "words"}:
        return _recognised(flags, settings)
    out = flags.out or RUNS / flags.command
    check_place(out, folder=True)
    if flags.command == "baseline":
        from training.baseline import baseline

        figures = baseline(flags.root, flags.cache, settings)
    elif flags.command == "left-out":
        from stser_core.ensemble import DEFAULT_CHECKPOINT
        from training.crossval import left_out

        checkpoint = flags.checkpoint or DEFAULT_CHECKPOINT
        figures = left_out(flags.root, flags.cache, checkpoint, out, settings, _teacher(flags))
    elif flags.command == "held-out":
        from stser_core.ensemble import DEFAULT_CHECKPOINT
        from training.crossval import of_checkpoint

        checkpoint = flags.checkpoint or DEFAULT_CHECKPOINT
        figures = of_checkpoint(flags.root, flags.cache, checkpoint, out, settings)
    elif flags.command == "robustness":
        from training.robustness import robustness

        figures = robustness(
            flags.root, flags.cache, flags.crossval, settings, flags.each, flags.checkpoint
        )
    else:
        from stser_core.ensemble import DEFAULT_CHECKPOINT
        from training.crossval import crossval

        checkpoint = flags.checkpoint or DEFAULT_CHECKPOINT
        figures = crossval(flags.root, flags.cache, checkpoint, out, settings, _teacher(flags))
    text = json.dumps(figures, indent=1)
    write_whole(out / f"{flags.command}.json", text + "\n")
    sys.stdout.write(text + "\n")
    return 0


def _teacher(flags: argparse.Namespace) -> VoiceTeacher:
    from training.voice_teacher import VoiceTeacher

    return VoiceTeacher(smodel=flags.smodel, hearing=flags.hearing, read=flags.read)


def _evaluate(flags: argparse.Namespace) -> int:
    from stser_core.ensemble import Stser
    from training.evaluate import evaluate, figures, predictions, report

    check_place(flags.out)
    utterances = read_corpus(
        flags.corpus, flags.root, flags.cache, allow_partial=flags.allow_partial
    )
    utterances, _ = _with_words(flags, utterances, flags.min_transcript_confidence)
    judged = evaluate(utterances, Stser.load(flags.checkpoint), adaptation=flags.adaptation)
    sys.stdout.write(report(figures(judged)))
    write_whole(flags.out, predictions(judged, flags.root))
    sys.stderr.write(f"Predictions: {flags.out}\n")
    return 0


def _fit(flags: argparse.Namespace, settings: OpenSettings) -> int:
    from stser_core.ensemble import DEFAULT_CHECKPOINT
    from training.fit import fit
    from training.text_encoder import TextEncoder

    if flags.text_from is None and flags.albert is not None:
        encoder = TextEncoder.of_albert(str(flags.albert))
    else:
        encoder = TextEncoder.of_checkpoint(flags.text_from or DEFAULT_CHECKPOINT)
    manifest = fit(
        flags.root,
        flags.out,
        flags.cache,
        encoder,
        settings,
        _teacher(flags),
        flags.text_from,
        flags.opinions,
        flags.speech_from,
        flags.strangers,
    )
    sys.stdout.write(f"{flags.out}: {manifest.model_id}\n")
    return 0


def _recognised(flags: argparse.Namespace, settings: OpenSettings) -> int:
    from stser_core.ensemble import DEFAULT_CHECKPOINT, Stser
    from training.recognised import count_confusions
    from training.text_encoder import TextEncoder
    from training.text_report import text_report
    from training.transcripts import Recogniser, VoskModel, embedded_model

    folder = flags.vosk_model or embedded_model()
    if flags.command == "words":
        recogniser = Recogniser(folder, flags.cache)
        stser = Stser.load(flags.checkpoint)
        text = text_report(flags.root, stser, recogniser, flags.sentences, settings)
    else:
        encoder = TextEncoder.of_checkpoint(DEFAULT_CHECKPOINT)
        text = count_confusions(flags.root, VoskModel(folder), encoder, flags.each, settings)
    write_whole(flags.out, text)
    return 0


def _tables(flags: argparse.Namespace) -> int:
    from stser_core.checkpoint import read_manifest
    from stser_core.ensemble import DEFAULT_CHECKPOINT
    from training.model_card import COPY, model_card, shipped
    from training.tables import Results, draw, tables

    manifest = read_manifest(DEFAULT_CHECKPOINT)
    name = f"{manifest.description.name} {manifest.description.version}"
    results = Results.read(flags.results, name, manifest.notes)
    write_whole(flags.docs / "results" / "training.md", tables(results))
    draw(results, flags.docs / "images" / "model")
    card = model_card(results, manifest.description)
    write_whole(flags.docs / "model-card.md", card)
    write_whole(manifest.directory / COPY, shipped(card))
    return 0
