"""The benchmark's curves as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import cost, overhead
from bench.capacity import LIMIT_MS

Figures = dict[str, Any]
COLOURS = {overhead.WITHOUT_ASR: "#1b6ca8", overhead.WITH_ASR: "#c2571a"}


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Write the pictures of what was measured; returns them."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"axes.grid": True, "grid.alpha": 0.3, "figure.dpi": 120, "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for section, picture in (("utterance", _lengths), ("streams", _streams), ("memory", _memory)):
        if section in figures:
            drawn.append(folder / f"benchmark-{section}.png")
            figure = picture(figures[section])
            figure.savefig(drawn[-1], bbox_inches="tight")
    return drawn


def _lengths(section: Figures) -> Any:
    figure, axes = _axes(1)
    (plot,) = axes
    lengths = [float(length) for length in section["curve"]]
    for name, colour in (
        (cost.OURS, "#1b6ca8"),
        (cost.OURS_VOICE, "#5aa469"),
        (cost.OURS_LOG_MEL, "#999999"),
    ):
        plot.plot(
            lengths,
            [costs[name]["median"] for costs in section["curve"].values()],
            "o-",
            color=colour,
            label=name,
        )
    plot.set(xlabel="length of the utterance, s", ylabel="CPU, ms", ylim=(0, None), xlim=(0, None))
    plot.legend()
    return figure


def _streams(section: Figures) -> Any:
    figure, axes = _axes(2)
    for name, trials in section.items():
        counts = [trial["streams"] for trial in trials]
        for plot, key in zip(axes, ("p95_ms", "cores"), strict=True):
            plot.plot(counts, [t[key] for t in trials], "o-", color=COLOURS[name], label=name)
    for plot in axes:
        plot.set_xscale("log", base=2)
        plot.xaxis.set_major_formatter("{x:.0f}")
    axes[0].axhline(LIMIT_MS, color="black", linestyle=":", linewidth=1)
    axes[0].set(
        yscale="log", xlabel="live streams", ylabel="decision to event, 95th percentile, ms"
    )
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[1].set(xlabel="live streams", ylabel="cores in use", ylim=(0, None))
    axes[1].legend()
    return figure


def _memory(section: Figures) -> Any:
    figure, axes = _axes(1)
    (plot,) = axes
    for name, run in section.items():
        step = run["minutes"] / max(1, len(run["curve_mb"]) - 1)
        minutes = [number * step for number in range(len(run["curve_mb"]))]
        plot.plot(minutes, run["curve_mb"], color=COLOURS[name], label=name)
    plot.set(xlabel="audio heard, minutes", ylabel="resident memory, MB", ylim=(0, None))
    plot.legend(loc="lower right")
    return figure


def _axes(count: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * count + 0.6, 3.2), layout="constrained")
    return figure, [figure.add_subplot(1, count, place + 1) for place in range(count)]
