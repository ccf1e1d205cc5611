"""Pictures of results, each as PNG and as SVG. The only file that knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stser_core.labels import EMOTIONS

_STYLE: Final[dict[Any, Any]] = {"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "stser"}

_COLUMNS: Final = 4
"""Matrices beside each other."""


def draw_confusions(path: Path, counts: Mapping[str, NDArray[np.int64]]) -> None:
    """One matrix a row of the tables: share of each true class (down) judged as each (across).

    Args:
        path: Without suffix; ``.png`` and ``.svg`` are written.
        counts: By name, ``(classes, classes)``.
    """
    with mpl.rc_context(_STYLE):
        columns = min(len(counts), _COLUMNS)
        rows = -(-len(counts) // columns)
        figure = Figure(figsize=(3.1 * columns, 3.2 * rows), layout="constrained")
        for place, (name, matrix) in enumerate(counts.items()):
            axes = figure.add_subplot(rows, columns, place + 1)
            shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            ticks = [emotion.value for emotion in EMOTIONS]
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set_yticks(range(len(ticks)), ticks)
            axes.set(title=name, xlabel="judged")
            if place % columns == 0:
                axes.set_ylabel("true")
            for (row, column), share in np.ndenumerate(shares):
                ink = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=ink)
        _save(figure, path)


def draw_curves(
    path: Path, curves: Mapping[str, Sequence[tuple[str, Sequence[float], Sequence[float]]]]
) -> None:
    """Training loss (above) and validation accuracy (below) by epoch, a column a branch.

    Args:
        path: Without suffix.
        curves: By branch, for each fold its name, losses in nats and accuracies, by epoch from 1.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.4 * len(curves), 4.6), layout="constrained")
        axes = figure.subplots(2, len(curves), sharex="col", squeeze=False)
        for column, (branch, folds) in enumerate(curves.items()):
            for name, losses, accuracies in folds:
                epochs = range(1, len(losses) + 1)
                axes[0, column].plot(epochs, losses, label=name)
                axes[1, column].plot(epochs, accuracies, label=name)
            axes[0, column].set(title=branch, ylabel="training loss (nats)")
            axes[1, column].set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1.02))
            axes[1, column].legend()
        _save(figure, path)


def draw_bars(path: Path, rows: Sequence[str], bars: Mapping[str, Sequence[float]]) -> None:
    """Groups of bars from 0 to 1.

    Args:
        path: Without suffix.
        rows: Names of the groups, such as speakers.
        bars: By series, one height a group; NaN leaves a gap.
    """
    with mpl.rc_context(_STYLE):
        width = max(5.0, 0.14 * len(rows) * len(bars) + 2)
        figure = Figure(figsize=(width, 3.4), layout="constrained")
        axes = figure.add_subplot()
        width = 0.8 / len(bars)
        for place, (name, heights) in enumerate(bars.items()):
            at = np.arange(len(rows)) + (place - (len(bars) - 1) / 2) * width
            axes.bar(at, heights, width, label=name)
        axes.set_xticks(range(len(rows)), rows, rotation=30, ha="right")
        axes.set(ylim=(0, 1), ylabel="UA")
        figure.legend(loc="outside upper center", ncols=min(len(bars), _COLUMNS))
        _save(figure, path)


def draw_reliability(path: Path, kinds: Mapping[str, Sequence[tuple[float, float, int]]]) -> None:
    """Accuracy against confidence: on the diagonal a probability means what it says.

    Args:
        path: Without suffix.
        kinds: By name, rows of mean confidence, accuracy and number of verdicts.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0.25, 1], [0.25, 1], color="grey", linestyle=":", linewidth=1)
        for name, rows in kinds.items():
            confidence, accuracy, _ = zip(*rows, strict=True)
            axes.plot(confidence, accuracy, marker="o", markersize=3, label=name)
        axes.set(xlabel="confidence", ylabel="share right", xlim=(0.25, 1), ylim=(0, 1))
        axes.legend()
        _save(figure, path)


def draw_coverage(path: Path, kinds: Mapping[str, Sequence[tuple[float, float, float]]]) -> None:
    """Accuracy of the verdicts that are kept against their share.

    Args:
        path: Without suffix.
        kinds: By name, rows of bound, share kept and accuracy.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for name, rows in kinds.items():
            _, share, accuracy = zip(*rows, strict=True)
            axes.plot(share, accuracy, label=name)
        axes.set(xlabel="share of verdicts given", ylabel="share right", xlim=(0, 1), ylim=(0.4, 1))
        axes.legend()
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path.with_suffix(".png"), dpi=150)
    # Without a date equal results give equal files.
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
