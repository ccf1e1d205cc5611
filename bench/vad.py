"""Our energy VAD beside silero-vad and webrtcvad, on the same speech, noise and reference.

    STSER_DATA=FOLDER python -m bench.vad

writes docs/results/vad.md, and vad.json beside it. Seeded: the rates are the same on every machine; the cost
is not. silero-vad runs as ONNX on one thread, without PyTorch.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import webrtcvad

from bench.machine import describe_machine
from bench.vad_tracks import (
    BRIDGED_FRAMES,
    LABEL_RANGE_DB,
    SNRS_DB,
    SPEECH,
    SPEECH_DBFS,
    Flags,
    Half,
    tracks,
)
from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from monitor.segmenter import FRAME_MS, SegmenterSettings
from monitor.vad import EnergyVad, VadSettings

RESULTS: Final = Path(__file__).parents[1] / "docs" / "results"

SILERO_WINDOW: Final = 512
SILERO_CONTEXT: Final = 64
SILERO_ONSET, SILERO_OFFSET = 0.5, 0.35
"""Its own defaults: speech from 0.5 on, until below 0.35."""

OURS: Final = "energy (ours)"

Detector = Callable[[Samples], Flags]
"""Whole frames of 20 ms in, a decision on each out; starts anew with each call."""


def energy(samples: Samples) -> Flags:
    """Ours, with its default settings."""
    vad = EnergyVad()
    return np.array([frame.speech for frame in vad.push(samples)])


class Silero:
    """silero-vad: windows of 32 ms; a frame is judged by the window that holds its middle."""

    def __init__(self) -> None:
        package = importlib.util.find_spec("silero_vad")
        if package is None or package.origin is None:
            raise SystemExit("silero-vad is missing: pip install -e .[bench]")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            Path(package.origin).parent / "data" / "silero_vad.onnx",
            options,
            providers=["CPUExecutionProvider"],
        )

    def __call__(self, samples: Samples) -> Flags:
        n_windows = -(-len(samples) // SILERO_WINDOW)
        padded = np.zeros(SILERO_CONTEXT + n_windows * SILERO_WINDOW, np.float32)
        padded[SILERO_CONTEXT : SILERO_CONTEXT + len(samples)] = samples
        state = np.zeros((2, 1, 128), np.float32)
        rate_hz = np.array(SAMPLE_RATE_HZ, np.int64)
        speech, decisions = False, np.zeros(n_windows, bool)
        for i in range(n_windows):
            window = padded[None, i * SILERO_WINDOW : (i + 1) * SILERO_WINDOW + SILERO_CONTEXT]
            given = {"input": window, "state": state, "sr": rate_hz}
            probability, state = self._session.run(None, given)
            speech = probability[0, 0] >= (SILERO_OFFSET if speech else SILERO_ONSET)
            decisions[i] = speech
        middles = np.arange(len(samples) // FRAME_SAMPLES) * FRAME_SAMPLES + FRAME_SAMPLES // 2
        return decisions[middles // SILERO_WINDOW]


@dataclass(frozen=True)
class Webrtc:
    """webrtcvad: frames of 20 ms, 16 bits."""

    mode: int
    """From 0, which misses least, to 3, which has the fewest false alarms."""

    def __call__(self, samples: Samples) -> Flags:
        vad = webrtcvad.Vad(self.mode)
        pcm = (samples * np.float32(32_767)).astype("<i2").tobytes()
        size = 2 * FRAME_SAMPLES
        frames = range(0, len(pcm), size)
        return np.array([vad.is_speech(pcm[i : i + size], SAMPLE_RATE_HZ) for i in frames])


@dataclass
class Count:
    """Frames, by what they are and what they were taken for."""

    speech: int = 0
    missed: int = 0
    pause: int = 0
    false: int = 0

    def add(self, truth: Flags, decided: Flags) -> None:
        self.speech += int(truth.sum())
        self.missed += int((truth & ~decided).sum())
        self.pause += int((~truth).sum())
        self.false += int((~truth & decided).sum())

    def rates(self) -> dict[str, float]:
        """Percent of the speech that was missed, and of the pauses that were taken for speech."""
        return {
            "miss": round(100 * self.missed / max(1, self.speech), 2),
            "false_alarm": round(100 * self.false / max(1, self.pause), 2),
        }


def as_segments(decided: Flags, settings: SegmenterSettings) -> Flags:
    """Frames within the segments that a detector's decisions lead to, by the monitor's rules:
    minimum speech, pre-roll, hangover, tail."""
    kept = np.zeros_like(decided)
    n_hangover = max(1, -(-settings.silence_ms // FRAME_MS))
    n_least = -(-settings.min_speech_ms // FRAME_MS)
    n_before, n_after = -(-settings.pre_roll_ms // FRAME_MS), -(-settings.tail_ms // FRAME_MS)
    start, last, run = -1, -1, 0
    for i, speech in enumerate(decided):
        run = run + 1 if speech else 0
        if speech and (start >= 0 or run >= n_least):
            start = start if start >= 0 else i - run + 1
            last = i
        if start >= 0 and i - last >= n_hangover:
            kept[max(0, start - n_before) : min(last + n_after, i) + 1] = True
            start = -1
    if start >= 0:
        kept[max(0, start - n_before) : last + 1 + n_after] = True
    return kept


Counts = dict[str, dict[str, Count]]
"""By detector, then by condition."""


def _counts() -> Counts:
    return defaultdict(lambda: defaultdict(Count))


def snr_name(snr_db: int | None) -> str:
    return "clean" if snr_db is None else f"{snr_db} dB"


def measure(half: Half) -> dict[str, Any]:
    """All figures of this benchmark."""
    detectors: dict[str, Detector] = {
        OURS: energy,
        "silero-vad": Silero(),
        "webrtcvad 1": Webrtc(1),
        "webrtcvad 3": Webrtc(3),
    }
    frames, segments, kinds = _counts(), _counts(), _counts()
    cost_s: dict[str, float] = dict.fromkeys(detectors, 0.0)
    audio_s, n_tracks = 0.0, 0
    settings = SegmenterSettings()
    for track in tracks(half):
        audio_s += len(track.samples) / SAMPLE_RATE_HZ
        n_tracks += 1
        whole = as_segments(track.speech, settings)
        for name, detector in detectors.items():
            started_s = time.process_time()
            decided = detector(track.samples)
            cost_s[name] += time.process_time() - started_s
            within = as_segments(decided, settings)
            frames[name][snr_name(track.snr_db)].add(track.speech, decided)
            segments[name][snr_name(track.snr_db)].add(whole, within)
            if track.snr_db == 10:
                kinds[name][track.noise].add(track.speech, decided)
    return {
        "half": half,
        "machine": describe_machine("silero-vad", "webrtcvad-wheels"),
        "tracks": n_tracks,
        "audio_s": round(audio_s, 1),
        "speech_share": round(_share(frames), 3),
        "frames": _rates(frames),
        "segments": _rates(segments),
        "frames_at_10_db_by_noise": _rates(kinds),
        "cost_ms_per_audio_s": {n: round(1000 * s / audio_s, 3) for n, s in cost_s.items()},
    }


def _share(counts: Counts) -> float:
    total = next(iter(next(iter(counts.values())).values()))
    return total.speech / (total.speech + total.pause)


def _rates(counts: Counts) -> dict[str, dict[str, dict[str, float]]]:
    return {
        name: {condition: count.rates() for condition, count in by.items()}
        for name, by in counts.items()
    }


def page(figures: dict[str, Any]) -> str:
    """The figures as docs/results/vad.md."""
    machine = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    hours = figures["audio_s"] / 3600
    share = 100 * figures["speech_share"]
    settings, vad = SegmenterSettings(), VadSettings()
    return f"""# Voice activity: ours beside silero-vad and webrtcvad

`STSER_DATA=FOLDER python -m bench.vad` wrote this page and [vad.json](vad.json). The rates are seeded and the same
everywhere; the cost is that of one machine: {machine}.

## Method

- Speech: utterances of {", ".join(SPEECH)}, with 0.4 to 2 s between them,
  each scaled to {SPEECH_DBFS:g} dBFS while it speaks. {figures["tracks"]} tracks ({hours:.1f} h), {share:.0f} % of the
  frames speech; each detector starts anew with each track.
- Noise: ten kinds of ESC-10 and background recordings, one kind to a track, added at 20, 10, 5 and 0 dB below the
  speech. The level is the mean over the track: a bark or a sneeze is far louder while it lasts. `clean` has nothing
  added, and its pauses are digital silence.
- Half of the speakers and of the noise recordings, the `{figures["half"]}` half; the other (`--half tuning`) is there
  to choose settings by.
- Reference, the same for all, from the clean recording: a frame of 20 ms is speech down to {LABEL_RANGE_DB:g} dB below
  the utterance's 95th percentile of level; gaps up to {BRIDGED_FRAMES * FRAME_MS} ms within speech are speech; what was
  inserted between utterances is a pause. It goes by level, as our detector does, and no human has checked it: `clean`
  flatters ours.
- Detectors, with their defaults: ours (onset {vad.onset_db:g} dB above the noise floor, offset {vad.offset_db:g} dB);
  silero-vad (on at {SILERO_ONSET}, off below {SILERO_OFFSET}; its 32 ms window decides the frames whose middle it
  holds); webrtcvad in modes 1 and 3.
- Cells: speech frames missed / pause frames taken for speech, percent.

## Frames

The bare decision on each frame.

{_table(figures["frames"])}

## Segments

The same decisions after the monitor's rules, alike for all detectors and for the reference: {settings.min_speech_ms} ms
of speech open a segment, {settings.silence_ms} ms of silence close it, {settings.pre_roll_ms} ms before and
{settings.tail_ms} ms after are kept. This is what the ensemble gets to hear.

{_table(figures["segments"])}

## Frames at 10 dB, by noise

{_transposed(figures["frames_at_10_db_by_noise"])}

## Cost

Milliseconds of CPU, one thread, for one second of audio. Ours is Python and numpy, the others are native code.

| | ms |
|---|---|
{_rows(figures["cost_ms_per_audio_s"])}

## Who errs least

By the mean of both rates; of the others, the best.

{_verdict(figures)}
"""


def _cell(rates: dict[str, float]) -> str:
    return f"{rates['miss']:.1f} / {rates['false_alarm']:.1f}"


def _table(by_name: dict[str, dict[str, dict[str, float]]]) -> str:
    conditions = [snr_name(snr_db) for snr_db in SNRS_DB]
    lines = [f"| | {' | '.join(conditions)} |", "|---" * (len(conditions) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(_cell(by[c]) for c in conditions)} |"
        for name, by in by_name.items()
    ]
    return "\n".join(lines)


def _transposed(by_name: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [f"| | {' | '.join(by_name)} |", "|---" * (len(by_name) + 1) + "|"]
    lines += [
        f"| {kind} | {' | '.join(_cell(by[kind]) for by in by_name.values())} |"
        for kind in sorted(next(iter(by_name.values())))
    ]
    return "\n".join(lines)


def _rows(values: dict[str, float]) -> str:
    return "\n".join(f"| {name} | {value:.2f} |" for name, value in values.items())


def _verdict(figures: dict[str, Any]) -> str:
    """Who errs least, by the mean of both rates, and by how much, in words."""
    lines = []
    for title in ("frames", "segments"):
        by_name = figures[title]
        for snr_db in SNRS_DB:
            condition = snr_name(snr_db)
            means = {name: sum(by[condition].values()) / 2 for name, by in by_name.items()}
            best = min(means, key=lambda name: means[name])
            if best == OURS:
                rest = [name for name in means if name != OURS]
                second = min(rest, key=lambda name: means[name])
                end = f"ours wins: {means[OURS]:.1f} %, {second} {means[second]:.1f} %."
            else:
                end = f"ours loses: {means[OURS]:.1f} %, {best} {means[best]:.1f} %."
            lines.append(f"- {title.capitalize()}, {condition}: {end}")
    cost = figures["cost_ms_per_audio_s"]
    lines.append(
        f"- For one second of audio ours takes {cost[OURS]:.2f} ms, silero-vad "
        f"{cost['silero-vad']:.2f} ms, webrtcvad {cost['webrtcvad 3']:.2f} ms."
    )
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page and its figures."""
    flags = argparse.ArgumentParser(prog="python -m bench.vad", description=__doc__)
    flags.add_argument("--half", choices=["report", "tuning"], default="report")
    flags.add_argument("--print", action="store_true", help="print, and write nothing")
    given = flags.parse_args()
    figures = measure(given.half)
    if given.print:
        print(json.dumps(figures, indent=1))
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "vad.md").write_text(page(figures), "utf-8")
    (RESULTS / "vad.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
