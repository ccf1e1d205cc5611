"""The adaptive hangover beside fixed ones, on speech with marked pauses.

    STSER_DATA=FOLDER python -m bench.hangover

writes docs/results/hangover.md, and hangover.json beside it. A recording is an utterance, opened at up to two of
its own short gaps between words, where a pause of 260 to 800 ms is put in: a hesitation. A pause of 1.5 s follows:
the end. Room noise lies over all. Speakers are others than those that the weights of the adaptive hangover were
found on.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench import vad_tracks
from bench.machine import describe_machine
from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, AudioFrame, Samples, Segment
from monitor.segmenter import Segmenter, SegmenterSettings
from monitor.vad import EnergyVad

RESULTS: Final = Path(__file__).parents[1] / "docs" / "results"
SPEECH: Final = {"librivox_mini": 5, "speechbrain_asr": 12, "mini_librispeech": 240, "ravdess": 100}
NOISE: Final = 2e-4
END_FRAMES: Final = 75
HESITATION_FRAMES: Final = (13, 41)
GAP_FRAMES: Final = (4, 12)
"""Own gaps between words that may be opened: long enough to be one, too short to end a sentence."""
VARIANTS: Final = {
    "adaptive (default)": SegmenterSettings(),
    "fixed 400 ms": SegmenterSettings(early_ms=0, late_ms=0),
    "fixed 300 ms": SegmenterSettings(silence_ms=300, early_ms=0, late_ms=0),
    "fixed 500 ms": SegmenterSettings(silence_ms=500, early_ms=0, late_ms=0),
}


@dataclass(frozen=True)
class Recording:
    samples: Samples
    hesitations: list[int]
    """Frames in the middle of each."""


def recordings() -> Iterator[Recording]:
    """All utterances of the report's speakers, each with its hesitations and its end."""
    vad_tracks.SPEECH.clear()
    vad_tracks.SPEECH.update(SPEECH)
    rng = np.random.default_rng(7)
    for utterance in vad_tracks._utterances("report"):
        level = np.sqrt(np.mean(utterance**2))
        speech = utterance * np.float32(10 ** (vad_tracks.SPEECH_DBFS / 20) / level)
        flags = spoken_frames(speech)
        at = np.flatnonzero(flags)
        if len(at) < 25:
            continue
        gaps = [
            int(a)
            for a, b in itertools.pairwise(at)
            if GAP_FRAMES[0] < b - a <= GAP_FRAMES[1] + 1 and a - at[0] > 20 and at[-1] - a > 20
        ]
        rng.shuffle(gaps)
        blocks, hesitations, done, length = [], [], 0, 0
        for gap in sorted(gaps[:2]):
            cut = gap + 3  # the gap's own middle: what is put in is as quiet as that
            pause = int(rng.integers(*HESITATION_FRAMES))
            blocks += [speech[done * FRAME_SAMPLES : cut * FRAME_SAMPLES], quiet(pause)]
            hesitations.append(length + cut - done + pause // 2)
            length += cut - done + pause
            done = cut
        blocks += [speech[done * FRAME_SAMPLES :], quiet(END_FRAMES)]
        whole = np.concatenate([quiet(25), *blocks])
        noisy = whole + rng.normal(0, NOISE, len(whole)).astype(np.float32)
        yield Recording(noisy, [25 + frame for frame in hesitations])


def quiet(n_frames: int) -> Samples:
    return np.zeros(n_frames * FRAME_SAMPLES, np.float32)


def spoken_frames(speech: Samples) -> list[bool]:
    """What our own VAD calls speech, in the same noise."""
    vad = EnergyVad()
    noise = np.random.default_rng(0).normal(0, NOISE, len(speech)).astype(np.float32)
    return [frame.speech for frame in vad.push(speech + noise)]


def segments_of(samples: Samples, settings: SegmenterSettings) -> list[Segment]:
    segmenter = Segmenter(settings=settings)
    outputs = [
        output
        for i in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
        for output in segmenter.push(AudioFrame(i, samples[i : i + FRAME_SAMPLES]))
    ]
    return [output for output in outputs + segmenter.flush() if isinstance(output, Segment)]


def measure(settings: SegmenterSettings, all_recordings: list[Recording]) -> dict[str, float]:
    """How many hesitations split an utterance, and how long ends were waited for."""
    n_hesitations = n_split = n_utterances = n_whole = 0
    waits: list[float] = []
    for recording in all_recordings:
        segments = segments_of(recording.samples, settings)
        closed = [segment.closed_at // FRAME_SAMPLES for segment in segments]
        pauses = list(recording.hesitations)
        split = [
            any(
                segment.speech_end // FRAME_SAMPLES <= frame + 2
                and abs(segment.speech_end // FRAME_SAMPLES - frame) <= HESITATION_FRAMES[1]
                and segment is not segments[-1]
                for segment in segments
            )
            for frame in pauses
        ]
        n_hesitations += len(pauses)
        n_split += sum(split)
        n_utterances += 1
        n_whole += not any(split)
        last = segments[-1] if closed else None
        if last is not None:
            waits.append((last.closed_at - last.speech_end) * 1000 / SAMPLE_RATE_HZ)
    return {
        "utterances": n_utterances,
        "hesitations": n_hesitations,
        "hesitations that split": n_split / n_hesitations,
        "utterances left whole": n_whole / n_utterances,
        "wait at the end, mean, ms": float(np.mean(waits)),
        "wait at the end, p25, ms": float(np.percentile(waits, 25)),
        "wait at the end, median, ms": float(np.median(waits)),
        "wait at the end, p75, ms": float(np.percentile(waits, 75)),
        "ends closed within 400 ms": float(np.mean(np.array(waits) <= 400)),
    }


def page(figures: dict[str, Any]) -> str:
    """The figures as docs/results/hangover.md."""
    variants = figures["variants"]
    lines = [
        "# How long to wait for more speech",
        "",
        "`STSER_DATA=FOLDER python -m bench.hangover` wrote this page. Read and acted speech with marked pauses:",
        "hesitations of 260 to 800 ms put into short gaps between words, and ends. Speakers other than those that",
        "the weights were found on. The adaptive hangover splits as few hesitations as 500 ms would, and waits less",
        "than 400 ms on average. It tells ends from hesitations only in part: by level alone, an end that does not",
        "fade waits up to 600 ms. Pitch told nothing more.",
        "",
        "| | " + " | ".join(variants) + " |",
        "|---|" + "---|" * len(variants),
    ]
    names = next(iter(variants.values()))
    lines += [
        f"| {name} | " + " | ".join(f"{variant[name]:.4g}" for variant in variants.values()) + " |"
        for name in names
    ]
    lines += ["", "Machine: " + ", ".join(f"{k} {v}" for k, v in figures["machine"].items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    found = list(recordings())
    figures: dict[str, Any] = {
        "machine": describe_machine(),
        "variants": {name: measure(settings, found) for name, settings in VARIANTS.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "hangover.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (RESULTS / "hangover.md").write_text(page(figures), "utf-8")


if __name__ == "__main__":
    main()
