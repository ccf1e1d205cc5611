"""The paper's tables from finished folds, with confusion matrices, speakers and curves."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stser_core.labels import EMOTIONS
from training.corpora.iemocap import CENSUS
from training.figures import draw_bars, draw_confusions, draw_curves
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.whole_file import write_whole

PUBLISHED: Final = {
    "speech": (53.35, 55.0),
    "text": (59.32, 59.4),
    "bimodal": (70.83, 71.7),
    "STSER": (71.06, 72.05),
}
"""WA and UA of the paper in percent, by row."""

Fold = Mapping[str, Any]
"""A fold as ``fold-N.json`` holds it."""
Counts = Mapping[str, NDArray[np.int64]]
"""Confusion matrices by row of the tables."""
Table = list[list[str]]
"""Rows of cells, the head first."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the folds, in percent."""

    mean: float
    deviation: float
    """Of the folds as a population: they are all the sessions there are."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(float(np.mean(values)) * 100, float(np.std(values)) * 100)

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.deviation:.2f}"


def with_baseline(folds: Sequence[Fold], baseline: Sequence[Fold]) -> list[Fold]:
    """Folds of STSER whose test utterances also hold what each baseline took them for."""
    return [
        {
            **fold,
            "test": [
                {**each, "baseline": other["baseline"]}
                for each, other in zip(fold["test"], theirs["test"], strict=True)
            ],
        }
        for fold, theirs in zip(folds, baseline, strict=True)
    ]


def write_report(folds: Sequence[Fold], out: Path, words: str = "reference") -> str:
    """Write all tables and pictures into the results folder.

    Args:
        folds: All folds of the run, with their baselines.
        out: Its folder.
        words: Where the words come from, for the reader.

    Returns:
        Tables 1 and 2 as Markdown, as ``tables.md`` holds them.
    """
    by_fold = _write_common(folds, out)
    for name, table in (("table2", table_2(by_fold)), ("curves", curve_table(folds))):
        write_whole(out / f"{name}.csv", as_csv(table))
    draw_curves(out / "curves", _curves(folds))
    text = (
        f"Table 1. {_HEAD.format(len(folds))}\n\n{as_markdown(table_1(by_fold))}\n"
        "Table 2. Published (Chen and Zhao) beside ours, in percent.\n\n"
        f"{as_markdown(table_2(by_fold))}{_caution(by_fold, words)}"
    )
    write_whole(out / "tables.md", text)
    return text


def write_baseline_report(folds: Sequence[Fold], out: Path, words: str = "reference") -> str:
    """Write the baselines' tables and pictures into a folder of their own.

    Args:
        folds: Without posteriors of STSER.
        out: The folder.
        words: Where the words come from, for the reader.

    Returns:
        Their rows of Table 1 as Markdown, as ``tables.md`` holds them.
    """
    by_fold = _write_common(folds, out)
    text = (
        f"Baselines. {_HEAD.format(len(folds))}\n\n{as_markdown(table_1(by_fold))}"
        f"{_caution(by_fold, words)}"
    )
    write_whole(out / "tables.md", text)
    return text


_HEAD: Final = "{} folds by session: mean and deviation over the folds, in percent."


def _caution(by_fold: Sequence[Counts], words: str) -> str:
    """What a reader of the tables must know: a part of the corpus, words that were heard."""
    tested = sum(int(next(iter(counts.values())).sum()) for counts in by_fold)
    whole = sum(CENSUS.values())
    lines = []
    if tested != whole:
        lines.append(
            f"A part of the corpus, or another: {tested:,} utterances instead of {whole:,}. These "
            "figures do not compare with published ones."
        )
    if words != "reference":
        lines.append(f"Words as the recogniser heard them: {words}.")
    return "".join(f"\n{line}\n" for line in lines)


def _write_common(folds: Sequence[Fold], out: Path) -> list[Counts]:
    """Write what both reports hold; returns the counts of each fold."""
    by_fold = [fold_counts(fold) for fold in folds]
    total = {name: np.sum([counts[name] for counts in by_fold], axis=0) for name in by_fold[0]}
    tables = {
        "table1": table_1(by_fold),
        "folds": fold_table(folds, by_fold),
        "speakers": speaker_table(folds),
        **{f"confusion-{_slug(name)}": confusion_table(counts) for name, counts in total.items()},
    }
    for name, table in tables.items():
        write_whole(out / f"{name}.csv", as_csv(table))
    draw_confusions(out / "confusion", total)
    _draw_speakers(out / "speakers", tables["speakers"])
    write_whole(out / "results.json", json.dumps(_figures(by_fold), indent=1) + "\n")
    return by_fold


def fold_counts(fold: Fold) -> Counts:
    """Confusion matrix of each row of the tables on the test session."""
    return _counts(fold["test"])


def _counts(tested: Sequence[Mapping[str, Any]]) -> Counts:
    labels = [emotion.value for emotion in EMOTIONS]
    truth = np.array([labels.index(each["label"]) for each in tested], np.int64)
    judged = {
        name: [int(np.argmax(each["posteriors"][name])) for each in tested]
        for name in tested[0].get("posteriors", ())
    }
    for name in tested[0]["baseline"]:
        judged[name] = [labels.index(each["baseline"][name]) for each in tested]
    return {name: confusion(truth, np.array(classes)) for name, classes in judged.items()}


def _slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^A-Za-z]+", "-", name)


def _spreads(by_fold: Sequence[Counts], name: str) -> tuple[Spread, Spread]:
    return (
        Spread.of([weighted_accuracy(counts[name]) for counts in by_fold]),
        Spread.of([unweighted_accuracy(counts[name]) for counts in by_fold]),
    )


def table_1(by_fold: Sequence[Counts]) -> Table:
    """The paper's Table 1: speech, text, bimodal and STSER, WA and UA; below them the baselines."""
    rows = [[name, *map(str, _spreads(by_fold, name))] for name in by_fold[0]]
    return [["model", "WA", "UA"], *rows]


def table_2(by_fold: Sequence[Counts]) -> Table:
    """The paper's Table 2: published figures beside ours, and the difference; then the baselines."""
    rows = []
    for name in by_fold[0]:
        published = PUBLISHED.get(name, (None, None))
        cells = []
        for spread, theirs in zip(_spreads(by_fold, name), published, strict=True):
            paper = "" if theirs is None else f"{theirs:.2f}"
            difference = "" if theirs is None else f"{spread.mean - theirs:+.2f}"
            cells += [paper, f"{spread.mean:.2f}", difference]
        rows.append([name, *cells])
    return [["model", *(f"{m} {w}" for m in ("WA", "UA") for w in ("paper", "ours", "+/-"))], *rows]


def fold_table(folds: Sequence[Fold], by_fold: Sequence[Counts]) -> Table:
    """WA and UA of each fold, 0 to 1."""
    rows = [
        [fold["session"], name, *_scores(counts[name])]
        for fold, counts in zip(folds, by_fold, strict=True)
        for name in counts
    ]
    return [["test_session", "model", "utterances", "WA", "UA"], *rows]


def speaker_table(folds: Sequence[Fold]) -> Table:
    """WA and UA of each test speaker, 0 to 1."""
    said: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for fold in folds:
        for each in fold["test"]:
            said[each["speaker"]].append(each)
    rows = [
        [speaker, name, *_scores(counts)]
        for speaker in sorted(said)
        for name, counts in _counts(said[speaker]).items()
    ]
    return [["speaker", "model", "utterances", "WA", "UA"], *rows]


def _scores(counts: NDArray[np.int64]) -> list[str]:
    return [
        str(int(counts.sum())),
        f"{weighted_accuracy(counts):.4f}",
        f"{unweighted_accuracy(counts):.4f}",
    ]


def curve_table(folds: Sequence[Fold]) -> Table:
    """Every epoch of every branch: training loss in nats, validation accuracy 0 to 1."""
    rows = [
        [fold["session"], e["branch"], str(e["epoch"]), f"{e['loss']:.6f}", f"{e['accuracy']:.6f}"]
        for fold in folds
        for e in fold["curves"]
    ]
    return [["test_session", "branch", "epoch", "training_loss", "validation_accuracy"], *rows]


def confusion_table(counts: NDArray[np.int64]) -> Table:
    """True class in rows, judged class in columns, all folds together."""
    names = [emotion.value for emotion in EMOTIONS]
    rows = [[name, *map(str, row)] for name, row in zip(names, counts.tolist(), strict=True)]
    return [["true", *names], *rows]


def as_csv(table: Table) -> str:
    """Comma-separated, one line a row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """A Markdown table."""
    head, *rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _curves(folds: Sequence[Fold]) -> dict[str, list[tuple[str, list[float], list[float]]]]:
    curves: dict[str, list[tuple[str, list[float], list[float]]]] = defaultdict(list)
    for fold in folds:
        for branch in dict.fromkeys(e["branch"] for e in fold["curves"]):
            epochs = [e for e in fold["curves"] if e["branch"] == branch]
            losses, accuracies = ([e[key] for e in epochs] for key in ("loss", "accuracy"))
            curves[branch].append((fold["session"], losses, accuracies))
    return dict(curves)


def _draw_speakers(path: Path, table: Table) -> None:
    speakers = list(dict.fromkeys(row[0] for row in table[1:]))
    names = dict.fromkeys(row[1] for row in table[1:])
    bars = {name: [float(row[4]) for row in table[1:] if row[1] == name] for name in names}
    draw_bars(path, speakers, bars)


def _figures(by_fold: Sequence[Counts]) -> dict[str, Any]:
    return {
        name: {
            measure: {"mean": round(spread.mean, 4), "deviation": round(spread.deviation, 4)}
            for measure, spread in zip(("WA", "UA"), _spreads(by_fold, name), strict=True)
        }
        for name in by_fold[0]
    }
