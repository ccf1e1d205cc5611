"""``stser-train tables``: figures of ``crossval`` and ``baseline`` side by side, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.crossval import HEARD
from training.errors import TrainingError

Figures = Mapping[str, Mapping[str, float]]

CORPORA = {"ravdess": "RAVDESS", "emodb": "Emo-DB", "nemo": "nEMO"}


def tables(crossval: Path, baseline: Path, notes: Mapping[str, Any]) -> str:
    """The page docs/results/training.md.

    Args:
        crossval: ``crossval.json``.
        baseline: ``baseline.json``.
        notes: Of the shipped checkpoint's manifest.

    Raises:
        TrainingError: A file is missing.
    """
    folds, others = _read(crossval), _read(baseline)
    return "\n".join([_INTRODUCTION, _speech(folds, others), _text(notes, others), _pairs(folds)])


def _read(path: Path) -> Figures:
    try:
        return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]
    except OSError as error:
        raise TrainingError(
            f"{path}: not there. Run stser-train {path.stem} --out {path.parent} first."
        ) from error


_INTRODUCTION = """\
# Training results of stser-open 0.1.0

Written by `stser-train tables` from the output of these commands, on the corpora named in
[LICENSE-weights.md](../../LICENSE-weights.md) below `$STSER_DATA`:

    stser-train fit --out stser_core/weights/stser-open --albert ALBERT
    stser-train crossval --out runs/crossval
    stser-train baseline --out runs/baseline
    stser-train tables --crossval runs/crossval --baseline runs/baseline --out docs/results/training.md

WA is the share of correct utterances, UA the mean recall over the four classes. All figures are
speaker-independent: five folds by speaker over all three corpora at once, validation speakers drawn
from the training speakers. Chance is .25.
"""


def _speech(folds: Figures, others: Figures) -> str:
    lines = [
        "## Speech classifier, UA",
        "",
        "One STSER model a fold, trained on all three corpora. *n heard*: utterances of the unseen",
        "speaker that the adaptation had heard before, without labels. The baseline (openSMILE",
        "eGeMAPSv02 and an RBF support vector machine) is trained on each corpus alone; *oracle*",
        "normalises with all of the test speaker's utterances, which no live monitor can know.",
        "",
        "| corpus | "
        + " | ".join(f"{n} heard" for n in HEARD)
        + " | baseline | baseline, oracle |",
        "|---" * (len(HEARD) + 3) + "|",
    ]
    for corpus, name in CORPORA.items():
        ours = [f"{folds[f'{corpus}, {n} heard']['UA']:.3f}" for n in HEARD]
        theirs = [
            f"{others[f'eGeMAPS + SVM, {corpus}, {kind}']['UA']:.3f}"
            for kind in ("plain", "speaker oracle")
        ]
        lines.append(f"| {name} | " + " | ".join(ours + theirs) + " |")
    lines += ["", "Deviation of UA over the folds, nothing heard: " + _deviations(folds) + ".", ""]
    return "\n".join(lines)


def _deviations(folds: Figures) -> str:
    return ", ".join(
        f"{name} {folds[f'{corpus}, 0 heard']['UA sd']:.3f}" for corpus, name in CORPORA.items()
    )


def _text(notes: Mapping[str, Any], others: Figures) -> str:
    lines = [
        "## Text classifier",
        "",
        "Sentences of the corpora's `dev.csv`, lower-cased and without punctuation, as a recogniser",
        "writes. The baseline reads the sentences as they are, punctuation included.",
        "",
        "| corpus | sentences | WA | UA | TF-IDF on this corpus, UA | TF-IDF on all corpora, UA |",
        "|---|---|---|---|---|---|",
    ]
    for corpus, figures in notes["text_test"].items():
        theirs = [
            f"{others[f'TF-IDF + logistic regression, {corpus}, {kind}']['UA']:.3f}"
            for kind in ("own corpus", "all corpora")
        ]
        lines.append(
            f"| {corpus} | {figures['sentences']} | {figures['WA']:.3f} | {figures['UA']:.3f} | "
            + " | ".join(theirs)
            + " |"
        )
    return "\n".join([*lines, ""])


def _pairs(folds: Figures) -> str:
    lines = [
        "## Bimodal classifier and ensemble",
        "",
        "No open corpus has English speech whose words carry the emotion, too. So each utterance of a",
        "held-out speaker (10 heard) is paired with a held-out sentence of the same label. This says",
        "whether fusion works, and nothing of how often voice and words agree in life.",
        "",
        "| | WA | UA |",
        "|---|---|---|",
    ]
    for name in ("speech", "text", "bimodal", "STSER"):
        figures = folds[f"pairs, {name}"]
        lines.append(f"| {name} | {figures['WA']:.3f} | {figures['UA']:.3f} |")
    return "\n".join([*lines, ""])
