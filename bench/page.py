"""The benchmark's figures as docs/results/benchmark.md."""

from __future__ import annotations

import textwrap
from typing import Any

from bench import cost, overhead
from bench.capacity import RULE
from bench.goals import goals

Figures = dict[str, Any]

PICTURES = "../images/benchmark"


def page(figures: Figures) -> str:
    """Markdown of what was measured."""
    lines = [
        "# The benchmark",
        "",
        *_prose(
            "`make bench ARGS=--write` wrote this page, [benchmark.json](benchmark.json) and its pictures: others and "
            "the monitor in turns, in one run. CPU time of one thread, median (least to most) of "
            f"{figures['effort']['rounds']} turns, unless said otherwise."
        ),
        *_goals(figures),
    ]
    for section, text in (
        ("utterance", _utterance),
        ("voice_activity", _voice_activity),
        ("overhead", _overhead),
        ("stages", _stages),
        ("start", _start),
        ("memory", _memory),
        ("microphone", _microphone),
        ("streams", _streams),
    ):
        if section in figures:
            lines += text(figures[section])
    lines += ["## Machine", ""]
    lines += [f"- {name}: {value}" for name, value in figures["machine"].items()]
    lines.append(f"- processes waiting on average when it began: {figures['load_before']:g}")
    return "\n".join(lines) + "\n"


def _prose(text: str) -> list[str]:
    return [textwrap.fill(text, 118), ""]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _goals(figures: Figures) -> list[str]:
    rows = [
        [goal.what, goal.wanted, goal.found, "met" if goal.met else f"missed. {goal.why}"]
        for goal in goals(figures)
    ]
    if not rows:
        return []
    return [
        "## Goals",
        "",
        *_table(["", "goal", "measured", ""], rows),
    ]


def _spread(costs: Figures) -> str:
    return f"{costs['median']:.3g} ({costs['least']:.3g} to {costs['most']:.3g})"


def _utterance(section: Figures) -> list[str]:
    by_length: Figures = section["by_length"]
    names = list(next(iter(by_length.values())))
    rows = [
        [name, *(_spread(costs[name]) for costs in by_length.values())]
        + [
            f"{costs[name]['median'] / costs[cost.OURS]['median']:.3g}"
            for costs in by_length.values()
        ]
        for name in names
    ]
    head = [
        "",
        *(f"{length}, ms" for length in by_length),
        *(f"{length}, ratio" for length in by_length),
    ]
    return [
        "## An utterance",
        "",
        *_prose(
            "From samples at 16 kHz, and for STSER the words (150 a minute), to a posterior; for the others "
            "to their features. The networks run in ONNX Runtime on one thread, with random weights of the "
            "real shape: a classifier on top would come in addition. The input of whisper-tiny is always "
            "padded to 30 s. Which words weighed: of words that were met before. Ratios are to the first line."
        ),
        *_table(head, rows),
        f"![CPU against length]({PICTURES}-utterance.png)",
        "",
    ]


def _voice_activity(section: Figures) -> list[str]:
    rows = [[name, _spread(costs)] for name, costs in section.items()]
    return [
        "## Voice activity detection",
        "",
        *_prose("Milliseconds for a second of audio. How well each hears is in [vad.md](vad.md)."),
        *_table(["", "ms"], rows),
    ]


def _overhead(section: Figures) -> list[str]:
    bare = section["ms_per_s"][overhead.BARE]
    rows = [
        [name, f"{ms:.2f}", f"{100 * (ms / bare - 1):+.0f} %"]
        for name, ms in section["ms_per_s"].items()
    ]
    return [
        "## The whole pipeline beside bare Vosk",
        "",
        *_prose(
            "CPU milliseconds for a second of audio, all threads, of programs over the bundled recording at "
            "full speed, start-up taken out (a long file less a short one). Bare Vosk is the loop of its own"
            " example on the same model. It hears the pauses, too; the monitor gives it speech alone."
        ),
        *_table(["", "ms", "against bare Vosk"], rows),
    ]


def _stages(section: Figures) -> list[str]:
    rows = [[name, f"{ms:.2f}"] for name, ms in section.items()]
    return [
        "## Where the time goes",
        "",
        *_prose("CPU milliseconds for a second of audio of each stage alone, in one thread."),
        *_table(["", "ms"], rows),
    ]


def _start(section: Figures) -> list[str]:
    rows = [
        [name, f"{each['median_s']:.2f}", f"{each['most_s']:.2f}", f"{each['memory_mb']:.0f}"]
        for name, each in section.items()
    ]
    return [
        "## Start-up",
        "",
        *_prose(
            "From starting the program, with its page, to `monitor.started`: everything loaded, open and "
            "listening. Not the first start after installation, for which Python compiles the modules."
        ),
        *_table(["", "median, s", "most, s", "memory then, MB"], rows),
    ]


def _memory(section: Figures) -> list[str]:
    rows = [
        [name, *(f"{run[key]:.0f}" for key in ("peak_mb", "steady_mb")), f"{run['growth_mb']:+.2f}"]
        for name, run in section.items()
    ]
    minutes = next(iter(section.values()))["minutes"]
    return [
        "## Memory",
        "",
        *_prose(
            f"Resident, over {minutes:g} minutes of audio at full speed. "
            "Growth: the last tenth above the one in the middle."
        ),
        *_table(["", "most, MB", "at the end, MB", "growth, MB"], rows),
        f"![Memory over time]({PICTURES}-memory.png)",
        "",
    ]


def _microphone(section: Figures) -> list[str]:
    keys = ("p50", "p95", "p99")
    rows = [
        [
            name,
            str(run["utterances"]),
            *(
                f"{run[part][key]:.0f}"
                for part in ("to_event_ms", "beyond_the_pause_ms")
                for key in keys
            ),
        ]
        for name, run in section.items()
    ]
    head = ["", "utterances", *(f"to the event, {key}" for key in keys)]
    return [
        "## From the last word to the event, through a microphone",
        "",
        *_prose(
            "Milliseconds. The bundled recording is spoken into a virtual microphone (PulseAudio, ALSA, "
            "PortAudio); a second program records it and says when each sample had come. Most of the time is"
            " the pause that has to be waited for; the last columns are without it: what the device buffers and"
            " the monitor."
        ),
        *_table([*head, *(f"beyond the pause, {key}" for key in keys)], rows),
    ]


def _streams(section: Figures) -> list[str]:
    rows = [
        [
            *(str(trial["streams"]), name, f"{trial['p50_ms']:.1f}", f"{trial['p95_ms']:.1f}"),
            *(f"{trial['p99_ms']:.1f}", f"{trial['cores']:.2f}", f"{trial['memory_mb']:.0f}"),
            "yes" if trial["holds"] else "no",
        ]
        for name, trials in section.items()
        for trial in trials
    ]
    return [
        "## Live streams in one process",
        "",
        *_prose(
            "Each plays the recording from another place in it, in real time. Milliseconds from the moment "
            f"at which a pause had lasted long enough to the event. {RULE} Rule and search are those of "
            "[load.md](load.md), too, where the audio comes through the capture."
        ),
        *_table(["streams", "", "p50", "p95", "p99", "cores", "memory, MB", "holds"], rows),
        f"![Streams]({PICTURES}-streams.png)",
        "",
    ]
