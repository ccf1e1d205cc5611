"""The emotion so far: what it costs, and how often it is what the whole utterance says.

    STSER_DATA=FOLDER python -m bench.provisional

writes docs/results/provisional.md, and provisional.json beside it. Utterances are judged after 1, 2 and 3 s by the
voice so far, as the monitor does, and as a whole, by the voice alone and with their text. The cost is the
ensemble's CPU time for every provisional verdict of an utterance, over the utterance's length.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr

from bench.faithfulness import rows
from bench.machine import describe_machine
from monitor.events import SAMPLE_RATE_HZ, AudioFrame, Samples, Segment
from monitor.provisional import ProvisionalSettings
from monitor.segmenter import FRAME_SAMPLES, Segmenter
from stser_core.ensemble import Stser
from stser_core.features import log_mel

RESULTS: Final = Path(__file__).parents[1] / "docs" / "results"
SPEECH: Final = {"ravdess/manifest": 300, "mini_librispeech/manifest": 150}
MOMENTS_S: Final = (1, 2, 3)


def segments() -> Iterator[tuple[Samples, list[str]]]:
    """Utterances that are one segment, with their words."""
    for row in rows(SPEECH):
        samples, rate_hz = soundfile.read(row["path"], dtype="float32")
        found = cut(soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ))
        if len(found) == 1:
            yield found[0], row["text"].lower().split()


def cut(samples: Samples) -> list[Samples]:
    """The segments of a recording."""
    segmenter = Segmenter()
    outputs = [
        output
        for i in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
        for output in segmenter.push(AudioFrame(i, samples[i : i + FRAME_SAMPLES]))
    ]
    return [
        samples[output.start : output.end]
        for output in outputs + segmenter.flush()
        if isinstance(output, Segment)
    ]


def measure(ensemble: Stser) -> dict[str, Any]:
    """Agreement at each moment, and the share of a core."""
    settings, schedule = ensemble.log_mel_settings, ProvisionalSettings()
    same: dict[int, list[tuple[bool, bool]]] = {moment: [] for moment in MOMENTS_S}
    spent_s = lasted_s = 0.0
    worst = 0.0
    for segment, words in segments():
        frames = log_mel(segment, settings)
        whole = ensemble.classify(frames, None).posterior.label
        read = ensemble.classify(frames, words).posterior.label
        length_s = len(segment) / SAMPLE_RATE_HZ
        for moment in MOMENTS_S:
            if length_s > moment + 0.3:
                n_frames = settings.n_frames(moment * SAMPLE_RATE_HZ)
                label = ensemble.classify(frames[:n_frames], None).posterior.label
                same[moment].append((label == whole, label == read))
        begun_s = time.process_time()
        for at in np.arange(schedule.after_ms / 1000, length_s, schedule.every_ms / 1000):
            ensemble.classify(frames[: settings.n_frames(int(at * SAMPLE_RATE_HZ))], None)
        cost_s = time.process_time() - begun_s
        spent_s, lasted_s = spent_s + cost_s, lasted_s + length_s
        worst = max(worst, cost_s / length_s)
    return {
        "moments": {
            f"{moment} s": {
                "utterances": len(pairs),
                "as the whole voice": float(np.mean([voice for voice, _ in pairs])),
                "as voice and words": float(np.mean([both for _, both in pairs])),
            }
            for moment, pairs in same.items()
        },
        "share of a core while someone speaks": spent_s / lasted_s,
        "share of a core, worst utterance": worst,
    }


def page(figures: dict[str, Any]) -> str:
    """The figures as docs/results/provisional.md."""
    found = figures["found"]
    lines = [
        "# The emotion so far",
        "",
        "`STSER_DATA=FOLDER python -m bench.provisional` wrote this page. How often the provisional label is that of",
        "the whole utterance, judged by the voice alone, or by voice and words.",
        "",
        "| after | utterances longer than that | as the whole voice | as voice and words |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {moment} | {table['utterances']} | {table['as the whole voice']:.1%} | {table['as voice and words']:.1%} |"
        for moment, table in found["moments"].items()
    ]
    mean = found["share of a core while someone speaks"]
    worst = found["share of a core, worst utterance"]
    goal = "met" if mean <= 0.05 else "missed"
    lines += [
        "",
        f"Cost while someone speaks: {mean:.2%} of a core on average, {worst:.2%} for the worst utterance "
        f"(goal: at most 5 %, {goal}).",
        "",
        f"Weights: {figures['model']}. Machine: "
        + ", ".join(f"{k} {v}" for k, v in figures["machine"].items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    ensemble = Stser.load()
    model = ensemble.model_id
    figures: dict[str, Any] = {
        "machine": describe_machine(),
        "model": f"{model.name} {model.version} ({model.digest})",
        "found": measure(ensemble),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "provisional.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (RESULTS / "provisional.md").write_text(page(figures), "utf-8")


if __name__ == "__main__":
    main()
