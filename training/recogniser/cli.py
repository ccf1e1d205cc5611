"""``stser-train recogniser``: the embedded recogniser, built and measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from config.loader import load
from training.recogniser.settings import RecogniserSettings
from training.whole_file import check_place, write_whole

SETTINGS: Final = Path(__file__).parents[2] / "config" / "train_recogniser.toml"
EMBEDDED: Final = Path(__file__).parents[2] / "monitor" / "recogniser"


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """The flags of ``recogniser build`` and ``recogniser evaluate``."""
    recogniser = commands.add_parser("recogniser", help="the embedded English recogniser")
    steps = recogniser.add_subparsers(dest="step", required=True)
    build = steps.add_parser("build", parents=[shared], help="from corpora to a Vosk model")
    build.add_argument(
        "--teacher",
        type=Path,
        metavar="WHISPER",
        help="a Whisper that teaches phones, as transformers saves it",
    )
    build.add_argument("--run", type=Path, help="folder of checkpoints; default: in --cache")
    build.add_argument("--out", type=Path, help="folder of the model; default: the package's")
    evaluate = steps.add_parser("evaluate", parents=[shared], help="word errors, confidence, speed")
    evaluate.add_argument(
        "--model", type=Path, action="append", help="default: the package's; may be repeated"
    )
    evaluate.add_argument("--side", choices=["valid", "test"], default="test")
    evaluate.add_argument(
        "--limit", type=int, default=0, help="utterances of each set at most; default: all"
    )
    evaluate.add_argument("--out", type=Path, help="Markdown page to write, and JSON beside it")


def run(flags: argparse.Namespace) -> int:
    """Run ``build`` or ``evaluate``; returns the exit code."""
    settings = load(flags.config or SETTINGS, RecogniserSettings)
    embedded = EMBEDDED / settings.name
    if flags.step == "build":
        from training.recogniser.recipe import build

        taught = "" if flags.teacher is None else "-taught"
        run_folder = flags.run or flags.cache / f"recogniser-run-{settings.version}{taught}"
        out = flags.out or embedded
        check_place(out, folder=True)
        build(flags.root, flags.cache, run_folder, out, settings, flags.teacher)
        return 0
    from training.recogniser.evaluation import Recogniser
    from training.recogniser.report import measure, page

    if flags.out is not None:
        check_place(flags.out)
    recognisers = [Recogniser(folder) for folder in flags.model or [embedded]]
    results = measure(recognisers, flags.root, settings, flags.side, flags.limit)
    if flags.out is not None:
        write_whole(flags.out, page(results, _command(flags)))
        write_whole(flags.out.with_suffix(".json"), json.dumps(results, indent=1) + "\n")
    return 0


def _command(flags: argparse.Namespace) -> str:
    """The command line, for the page that it writes."""
    side = f" --side {flags.side}" if flags.side != "test" else ""
    limit = f" --limit {flags.limit}" if flags.limit else ""
    models = "".join(f" --model {folder.name}" for folder in flags.model or ())
    return f"stser-train recogniser evaluate{side}{limit}{models} --out {flags.out.name}"
