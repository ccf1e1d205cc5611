"""Every flag of ``stser-train``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from training.corpora import READERS
from training.errors import TrainingError
from training.recogniser.cli import SETTINGS as RECOGNISER_SETTINGS
from training.recogniser.cli import add_command as add_recogniser_command

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
        help=f"settings file (TOML); default: {SETTINGS.name}, for IEMOCAP {PAPER_SETTINGS.name}, "
        f"for the recogniser {RECOGNISER_SETTINGS.name}",
    )
    shared.add_argument(
        "--cache",
        type=Path,
        default=Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "stser-train",
        help="folder for features that are computed once",
    )
    shared.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads of PyTorch (default: 1, for on a busy machine two stall each other)",
    )
    flags = argparse.ArgumentParser(
        prog="stser-train",
        description="Corpora in, checkpoints and tables out.",
        allow_abbrev=False,
    )
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
        "--speech-from", type=Path, help="checkpoint whose trained speech branch is taken as it is"
    )
    fit.add_argument(
        "--opinions",
        type=Path,
        help="the teacher's opinions of the sentences, as distil writes them",
    )
    fit.add_argument(
        "--strangers",
        type=Path,
        metavar="JSON",
        help="left-out.json: temperatures are those of corpora that models never heard, instead of "
        "validation speakers'",
    )
    _add_teacher(fit)
    _add_text_commands(commands, shared)
    _add_hear(commands, shared)
    crossval = commands.add_parser(
        "crossval",
        parents=[shared],
        help="speaker-independent folds on open corpora, or the paper's protocol on IEMOCAP",
    )
    crossval.add_argument("--corpus", choices=["open", "iemocap"], default="open")
    crossval.add_argument(
        "--allow-partial", action="store_true", help="go on with a part of IEMOCAP"
    )
    _add_paper(crossval)
    crossval.add_argument(
        "--out",
        type=Path,
        help="folder of the results, resumable (default: runs/crossval, for IEMOCAP runs/NAME with "
        "the settings' name)",
    )
    crossval.add_argument(
        "--checkpoint", type=Path, help="gives the text branch; default: the packaged one"
    )
    _add_teacher(crossval)
    _add_words(crossval)
    _add_held_out(commands, shared)
    baseline = commands.add_parser(
        "baseline", parents=[shared], help="openSMILE + SVM and TF-IDF on the same folds"
    )
    baseline.add_argument("--corpus", choices=["open", "iemocap"], default="open")
    baseline.add_argument(
        "--allow-partial", action="store_true", help="go on with a part of IEMOCAP"
    )
    baseline.add_argument(
        "--out",
        type=Path,
        help="folder of the results (default: runs/baseline, for IEMOCAP runs/NAME-baseline)",
    )
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
    evaluate.add_argument(
        "--out",
        type=Path,
        default=Path("predictions.csv"),
        help="CSV file of all predictions (default: predictions.csv)",
    )
    _add_words(evaluate)
    evaluate.add_argument(
        "--min-transcript-confidence",
        type=float,
        default=MIN_TRANSCRIPT_CONFIDENCE,
        help="with --transcripts vosk: a transcript below it is not read, as in the monitor "
        f"(default: {MIN_TRANSCRIPT_CONFIDENCE:g})",
    )
    add_recogniser_command(commands, shared)
    tables = commands.add_parser(
        "tables", parents=[shared], help="all figures as Markdown and pictures, and the model card"
    )
    tables.add_argument(
        "--results",
        type=Path,
        default=Path("runs"),
        help="folder of the results of crossval, left-out, held-out, robustness and baseline (default: runs)",
    )
    tables.add_argument(
        "--docs",
        type=Path,
        default=Path("docs"),
        help="folder of the pages: results/training.md, model-card.md, images/model (default: docs)",
    )
    for command in commands.choices.values():
        command.set_defaults(default=command.get_default)
    return flags


_PAPER: Final = "--text-encoder --device --mixed-precision --parallel --save-every --allow-partial --transcripts"
_USED: Final[Sequence[tuple[str, str, Callable[[argparse.Namespace], bool], str]]] = (
    ("crossval", _PAPER, lambda f: f.corpus == "iemocap", "without --corpus iemocap"),
    (
        "crossval",
        "--smodel --hearing --read",
        lambda f: f.corpus == "open",
        "without --corpus open",
    ),
    ("crossval", "--checkpoint", lambda f: f.text_encoder is None, "beside --text-encoder"),
    ("baseline", _PAPER, lambda f: f.corpus == "iemocap", "without --corpus iemocap"),
    ("fit", "--albert --opinions", lambda f: f.text_from is None, "beside --text-from"),
    (
        "fit",
        "--smodel --hearing --read",
        lambda f: f.speech_from is None,
        "beside --speech-from",
    ),
    ("robustness", "--crossval", lambda f: f.checkpoint is None, "beside --checkpoint"),
    ("evaluate", "--config", lambda f: False, "in evaluate"),
    *(
        (
            command,
            "--vosk-model --min-transcript-confidence",
            lambda f: f.transcripts == "vosk",
            "without --transcripts vosk",
        )
        for command in ("crossval", "baseline", "evaluate")
    ),
)
"""Of commands, flags that are used under a condition alone, and where it does not hold."""


def check_used(flags: argparse.Namespace) -> None:
    """Stop where a flag was given that would change nothing.

    Raises:
        TrainingError: There is one.
    """
    for command, names, used, where in _USED:
        for name in names.split() if command == flags.command and not used(flags) else ():
            at = name.removeprefix("--").replace("-", "_")
            if getattr(flags, at, None) != flags.default(at):
                raise TrainingError(f"{name} changes nothing {where}. Leave it out.")


def positive(text: str) -> int:
    """A number of 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} must be positive")
    return number


def _add_held_out(commands: Any, shared: argparse.ArgumentParser) -> None:
    """What else is asked of speakers that a model never heard."""
    left_out = commands.add_parser(
        "left-out", parents=[shared], help="train on all speech corpora but one, test on that one"
    )
    left_out.add_argument(
        "--out", type=Path, help="folder of the results, resumable (default: runs/left-out)"
    )
    left_out.add_argument(
        "--checkpoint", type=Path, help="gives the text branch (default: the packaged one)"
    )
    _add_teacher(left_out)
    held_out = commands.add_parser(
        "held-out",
        parents=[shared],
        help="a checkpoint on the validation speakers that its training set apart",
    )
    held_out.add_argument("--checkpoint", type=Path, help="default: the packaged one")
    held_out.add_argument("--out", type=Path, help="folder of the results (default: runs/held-out)")
    robustness = commands.add_parser(
        "robustness",
        parents=[shared],
        help="the models of crossval on their test speakers in noise, rooms and on the telephone",
    )
    robustness.add_argument(
        "--crossval",
        type=Path,
        default=Path("runs/crossval"),
        help="folder of its results (default: runs/crossval)",
    )
    robustness.add_argument(
        "--checkpoint",
        type=Path,
        help="test this instead, on the validation speakers that its training set apart",
    )
    robustness.add_argument(
        "--each",
        type=positive,
        default=1,
        metavar="N",
        help="judge one of N utterances of each speaker and class (default: 1, all)",
    )
    robustness.add_argument(
        "--out", type=Path, help="folder of the results (default: runs/robustness)"
    )


def _add_hear(commands: Any, shared: argparse.ArgumentParser) -> None:
    """What goes before ``fit`` for voices alone."""
    for name, does in (
        ("hear", "let a pre-trained Whisper hear the speech corpora, to teach the speech branch"),
        ("pretrain", "let the smodel learn from read speech what a pre-trained Whisper hears"),
    ):
        command = commands.add_parser(name, parents=[shared], help=does)
        command.add_argument(
            "--teacher",
            type=Path,
            required=True,
            help="folder of a Whisper such as whisper-base, as transformers saves it",
        )
        command.add_argument("--out", type=Path, required=True, help="file to write (safetensors)")
    command.add_argument(
        "--read",
        type=Path,
        metavar="FILE",
        help="keep there what the teacher hears in read speech (2 GB), or take it from there if it is",
    )


def _add_teacher(command: argparse.ArgumentParser) -> None:
    """What a Whisper taught; for open corpora only."""
    command.add_argument(
        "--hearing",
        type=Path,
        metavar="FILE",
        help="what a teacher of the speech branch heard, as hear writes it",
    )
    command.add_argument(
        "--smodel", type=Path, metavar="FILE", help="the smodel to start from, of pretrain"
    )
    command.add_argument(
        "--read",
        type=Path,
        metavar="FILE",
        help="read speech and what a teacher heard in it, as pretrain --read keeps it",
    )


def _add_paper(crossval: argparse.ArgumentParser) -> None:
    paper = crossval.add_argument_group("the paper's protocol, with --corpus iemocap")
    paper.add_argument(
        "--text-encoder",
        metavar="FOLDER|NAME",
        help="an ALBERT of transformers to start from, such as albert-base-v2; "
        "default: that of --checkpoint",
    )
    paper.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    paper.add_argument(
        "--mixed-precision",
        choices=["no", "fp16", "bf16"],
        help="precision of training; default: that of `accelerate launch`, else no",
    )
    paper.add_argument(
        "--parallel",
        choices=["folds", "batches"],
        default="folds",
        help="under `accelerate launch`: processes train folds of their own (the result of one "
        "process), or share each batch (for more processes than folds)",
    )
    paper.add_argument(
        "--save-every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="longest work that a kill costs, in whole epochs (default: 30)",
    )


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
    confusions = commands.add_parser(
        "confusions",
        parents=[shared, recognised],
        help="count which words a recogniser hears for which, on synthetic speech",
    )
    confusions.add_argument(
        "--each",
        type=positive,
        default=400,
        metavar="N",
        help="sentences of each corpus and class, at most (default: 400)",
    )
    confusions.add_argument("--out", type=Path, required=True, help="table to write (TSV)")
    words = commands.add_parser(
        "words",
        parents=[shared, recognised],
        help="the text classifier on test sentences as written and as recognised",
    )
    words.add_argument("--checkpoint", type=Path, help="default: the packaged one")
    words.add_argument("--sentences", type=positive, default=800, help="how many (default: 800)")
    words.add_argument("--out", type=Path, required=True, help="Markdown file to write")
