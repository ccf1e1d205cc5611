"""``stser-train``: corpora in, checkpoints and tables out."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from config.loader import SettingsError, load
from stser_core.errors import StserError
from training.corpora import READERS, read_corpus
from training.errors import TrainingError
from training.recogniser.cli import add_command as add_recogniser_command
from training.recogniser.cli import run as run_recogniser
from training.settings import OpenSettings, PaperSettings
from training.utterance import Utterance

CONFIG = Path(__file__).parents[1] / "config"
SETTINGS = CONFIG / "train_open.toml"
PAPER_SETTINGS = CONFIG / "train_iemocap.toml"
MIN_TRANSCRIPT_CONFIDENCE = 0.35
"""The default of the monitor's abstention.min_transcript_confidence."""


def parser() -> argparse.ArgumentParser:
    """Every flag of ``stser-train``."""
    root = os.environ.get("STSER_DATA")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--root",
        type=Path,
        default=Path(root) if root else None,
        help="folder of the corpora (default: $STSER_DATA)",
    )
    shared.add_argument(
        "--config",
        type=Path,
        help=f"settings file (TOML); default: {SETTINGS.name}, for IEMOCAP {PAPER_SETTINGS.name}",
    )
    shared.add_argument(
        "--cache",
        type=Path,
        default=Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "stser-train",
        help="folder for features that are computed once",
    )
    flags = argparse.ArgumentParser(prog="stser-train", description=__doc__, allow_abbrev=False)
    commands = flags.add_subparsers(dest="command", required=True)
    fit = commands.add_parser("fit", parents=[shared], help="train a checkpoint on open corpora")
    fit.add_argument("--out", type=Path, required=True, help="folder of the new checkpoint")
    fit.add_argument(
        "--albert",
        type=Path,
        help="folder of a pre-trained ALBERT, as distil writes it; default: the packaged one",
    )
    fit.add_argument(
        "--text-from", type=Path, help="checkpoint whose trained text branch is taken as it is"
    )
    fit.add_argument(
        "--opinions",
        type=Path,
        help="the teacher's opinions of the sentences, as distil writes them",
    )
    _add_text_commands(commands, shared)
    crossval = commands.add_parser(
        "crossval",
        parents=[shared],
        help="speaker-independent folds on open corpora, or the paper's protocol on IEMOCAP",
    )
    crossval.add_argument("--corpus", choices=["open", "iemocap"], default="open")
    crossval.add_argument(
        "--allow-partial", action="store_true", help="go on with a part of IEMOCAP"
    )
    crossval.add_argument(
        "--text-encoder",
        metavar="FOLDER|NAME",
        help="IEMOCAP: an ALBERT of transformers to start from, such as albert-base-v2; "
        "default: that of --checkpoint",
    )
    crossval.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="IEMOCAP only")
    crossval.add_argument(
        "--mixed-precision",
        choices=["no", "fp16", "bf16"],
        help="IEMOCAP: precision of training; default: that of `accelerate launch`, else no",
    )
    crossval.add_argument(
        "--parallel",
        choices=["folds", "batches"],
        default="folds",
        help="IEMOCAP under `accelerate launch`: processes train folds of their own (the result of one "
        "process), or share each batch (for more processes than folds)",
    )
    crossval.add_argument(
        "--save-every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="IEMOCAP: longest work that a kill costs, in whole epochs (default: 30)",
    )
    crossval.add_argument(
        "--out", type=Path, required=True, help="folder of the results, resumable"
    )
    crossval.add_argument(
        "--checkpoint", type=Path, help="gives the text branch; default: the packaged one"
    )
    _add_words(crossval)
    baseline = commands.add_parser(
        "baseline", parents=[shared], help="openSMILE + SVM and TF-IDF on the same folds"
    )
    baseline.add_argument("--corpus", choices=["open", "iemocap"], default="open")
    baseline.add_argument(
        "--allow-partial", action="store_true", help="go on with a part of IEMOCAP"
    )
    baseline.add_argument("--out", type=Path, required=True, help="folder of the results")
    _add_words(baseline)
    evaluate = commands.add_parser(
        "evaluate", parents=[shared], help="a checkpoint on a corpus, judged as the monitor does"
    )
    evaluate.add_argument("--checkpoint", type=Path, help="default: the packaged one")
    evaluate.add_argument(
        "--corpus",
        choices=["csv", *READERS, "meld"],
        default="csv",
        help="layout of --root: csv = manifest.csv, else the corpus as released",
    )
    evaluate.add_argument(
        "--allow-partial", action="store_true", help="go on with a part of the corpus"
    )
    evaluate.add_argument(
        "--no-adaptation",
        dest="adaptation",
        action="store_false",
        help="judge each utterance as the first of its speaker",
    )
    evaluate.add_argument("--out", type=Path, required=True, help="CSV file of all predictions")
    _add_words(evaluate)
    evaluate.add_argument(
        "--min-transcript-confidence",
        type=float,
        default=MIN_TRANSCRIPT_CONFIDENCE,
        help="with --transcripts vosk: a transcript below it is not read, as in the monitor "
        f"(default: {MIN_TRANSCRIPT_CONFIDENCE:g})",
    )
    add_recogniser_command(commands, shared)
    tables = commands.add_parser("tables", parents=[shared], help="all figures as Markdown")
    tables.add_argument("--crossval", type=Path, required=True, help="folder of its results")
    tables.add_argument("--baseline", type=Path, required=True, help="folder of its results")
    tables.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    return flags


def _add_words(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--transcripts",
        choices=["reference", "vosk"],
        default="reference",
        help="words of the corpus, or what the recogniser hears in its audio (for baseline and "
        "crossval: IEMOCAP)",
    )
    command.add_argument(
        "--vosk-model",
        type=Path,
        help="folder of the recogniser's model; default: the embedded one",
    )


def _add_text_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """What goes before ``fit``, and beside ``evaluate``, for words alone."""
    distil = commands.add_parser(
        "distil",
        parents=[shared],
        help="distil a sentence encoder into the ALBERT of the text branch",
    )
    distil.add_argument(
        "--teacher",
        type=Path,
        required=True,
        help="folder of a BERT sentence encoder such as all-MiniLM-L6-v2, as transformers saves it",
    )
    distil.add_argument("--out", type=Path, required=True, help="folder of the results, resumable")
    recognised = argparse.ArgumentParser(add_help=False)
    recognised.add_argument(
        "--vosk-model",
        type=Path,
        help="folder of the recogniser's model; default: the embedded one",
    )
    recognised.add_argument("--sentences", type=int, default=800, help="how many (default: 800)")
    confusions = commands.add_parser(
        "confusions",
        parents=[shared, recognised],
        help="count which words a recogniser hears for which, on synthetic speech",
    )
    confusions.add_argument("--out", type=Path, required=True, help="table to write (TSV)")
    heard = commands.add_parser(
        "heard",
        parents=[shared, recognised],
        help="write a text corpus as a recogniser hears it from synthetic voices",
    )
    heard.add_argument("--corpus", type=Path, required=True, help="CSV file below --root")
    heard.add_argument("--out", type=Path, required=True, help="folder for manifest.csv")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 where an input cannot be used."""
    flags = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if flags.root is None and flags.command != "tables":
            raise TrainingError(
                "--root is missing: name the folder of the corpora, or set STSER_DATA."
            )
        if flags.command == "evaluate":
            return _evaluate(flags)
        if flags.command == "recogniser":
            _prepare_torch()
            return run_recogniser(flags)
        if flags.command in {"crossval", "baseline"} and flags.corpus == "iemocap":
            run = _paper if flags.command == "crossval" else _paper_baseline
            return run(flags, load(flags.config or PAPER_SETTINGS, PaperSettings))
        if getattr(flags, "transcripts", "reference") != "reference":
            raise TrainingError(
                f"--transcripts {flags.transcripts} needs --corpus iemocap: the open corpora have no "
                "recordings of their sentences."
            )
        return _run(flags, load(flags.config or SETTINGS, OpenSettings))
    except (TrainingError, StserError, SettingsError) as error:
        sys.stderr.write(f"stser-train: {error}\n")
        return 2


def _prepare_torch() -> None:
    try:
        import torch
    except ImportError as error:
        raise TrainingError('PyTorch is missing: pip install "stser-monitor[train]".') from error
    torch.set_num_threads(1)  # two threads stall each other on a busy machine


def _paper(flags: argparse.Namespace, settings: PaperSettings) -> int:
    _prepare_torch()
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
    run = PaperRun(
        flags.root, flags.out, flags.cache, compute, words=words, save_every_s=flags.save_every
    )
    folds = run_folds(utterances, encoder, settings, run)
    if compute.is_main:
        baseline = run_baseline(utterances, settings, flags.root, flags.cache)
        sys.stdout.write(write_report(with_baseline(folds, baseline), flags.out))
    return 0


def _paper_baseline(flags: argparse.Namespace, settings: PaperSettings) -> int:
    from training.paper import run_baseline
    from training.paper_report import write_baseline_report
    from training.run_record import begin, describe_corpus

    utterances = READERS["iemocap"](flags.root, allow_partial=flags.allow_partial)
    utterances, words = _with_words(flags, utterances)
    begin(flags.out, {"corpus": describe_corpus(utterances, flags.root), "words": words})
    folds = run_baseline(utterances, settings, flags.root, flags.cache)
    sys.stdout.write(write_baseline_report(folds, flags.out))
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
    _prepare_torch()
    if flags.command == "fit":
        return _fit(flags, settings)
    if flags.command == "distil":
        from training.distil.run import distil

        sys.stdout.write(f"{distil(flags.teacher, flags.root, flags.out, settings)}\n")
        return 0
    if flags.command == "tables":
        return _tables(flags)
    if flags.command in {"confusions", "heard"}:
        return _recognised(flags, settings)
    if flags.command == "baseline":
        from training.baseline import baseline

        figures = baseline(flags.root, flags.cache, settings)
    else:
        from stser_core.ensemble import DEFAULT_CHECKPOINT
        from training.crossval import crossval

        checkpoint = flags.checkpoint or DEFAULT_CHECKPOINT
        figures = crossval(flags.root, flags.cache, checkpoint, flags.out, settings)
    flags.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (flags.out / f"{flags.command}.json").write_text(text + "\n", "utf-8")
    sys.stdout.write(text + "\n")
    return 0


def _evaluate(flags: argparse.Namespace) -> int:
    from stser_core.ensemble import Stser
    from training.evaluate import evaluate, figures, predictions, report

    utterances = read_corpus(
        flags.corpus, flags.root, flags.cache, allow_partial=flags.allow_partial
    )
    utterances, _ = _with_words(flags, utterances, flags.min_transcript_confidence)
    judged = evaluate(utterances, Stser.load(flags.checkpoint), adaptation=flags.adaptation)
    sys.stdout.write(report(figures(judged)))
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    flags.out.write_text(predictions(judged, flags.root), "utf-8")
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
        flags.root, flags.out, flags.cache, encoder, settings, flags.text_from, flags.opinions
    )
    sys.stdout.write(f"{flags.out}: {manifest.model_id}\n")
    return 0


def _recognised(flags: argparse.Namespace, settings: OpenSettings) -> int:
    from stser_core.ensemble import DEFAULT_CHECKPOINT
    from training.recognised import count_confusions, write_heard
    from training.text_encoder import TextEncoder
    from training.transcripts import Recogniser, embedded_model

    recogniser = Recogniser(flags.vosk_model or embedded_model(), flags.cache)
    if flags.command == "heard":
        out = flags.out / "manifest.csv"
        said, heard = write_heard(flags.root / flags.corpus, recogniser, out, flags.sentences)
        sys.stdout.write(f"{out}: something was heard in {heard} of {said} sentences\n")
        return 0
    encoder = TextEncoder.of_checkpoint(DEFAULT_CHECKPOINT)
    table = count_confusions(flags.root, recogniser, encoder, flags.sentences, settings)
    flags.out.write_text(table, "utf-8")
    return 0


def _tables(flags: argparse.Namespace) -> int:
    from stser_core.checkpoint import read_manifest
    from stser_core.ensemble import DEFAULT_CHECKPOINT
    from training.tables import tables

    page = tables(
        flags.crossval / "crossval.json",
        flags.baseline / "baseline.json",
        read_manifest(DEFAULT_CHECKPOINT).notes,
    )
    flags.out.write_text(page, "utf-8")
    return 0
