"""The promises, which of them were kept, and docs/results/soak.md."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.machine import describe_machine
from bench.soak.audio import MixedAudio
from bench.soak.clients import Ledger, Reader
from bench.soak.resources import WARM_UP, Sample, slope
from stser_core.checkpoint import read_manifest
from stser_core.ensemble import DEFAULT_CHECKPOINT

PAGE = Path(__file__).parents[2] / "docs" / "results" / "soak.md"
MAX_SLOPE_MB_PER_HOUR = 2.0
"""Of audio."""
BY_HAND = "## What it shows"


@dataclass
class Report:
    recogniser: bool
    failures: int
    """Of the recogniser, injected."""
    samples: list[Sample]
    ledger: Ledger
    reader: Reader
    sources: list[MixedAudio]
    visits: Counter[str]
    before: Sample
    after: Sample

    @property
    def faults(self) -> Counter[str]:
        """Injected into all streams."""
        return sum((source.faults for source in self.sources), Counter())

    def checks(self) -> dict[str, bool]:
        """Every promise, and whether it was kept."""
        kinds, ledger, reader = self.ledger.kinds, self.ledger, self.reader
        faults = self.faults
        settled = [s for s in self.samples if s.audio_h >= WARM_UP * self.samples[-1].audio_h]
        return {
            "segments begun = ended = judged": kinds["speech.started"]
            == kinds["speech.ended"]
            == kinds["emotion.utterance"],
            "utterances numbered without a hole": ledger.out_of_order == 0,
            "sequences without a hole": ledger.holes == 0,
            "gaps reported = gaps injected": self.ledger.dropped["gaps"] == faults.total(),
            "device.lost = device.recovered = injected": kinds["device.lost"]
            == kinds["device.recovered"]
            == faults["lost"],
            "transcripts missing = recogniser failures": ledger.dropped["transcripts"]
            == self.failures,
            "a reader has, or was told of, every event up to its last": len(reader.last)
            == len(self.sources)
            and reader.events + reader.told_lost == sum(reader.last.values()),
            f"memory slope below {MAX_SLOPE_MB_PER_HOUR:g} MB/h of audio": slope(self.samples)
            < MAX_SLOPE_MB_PER_HOUR,
            # One for each stream whose recogniser hangs, and one for the disk.
            # What ends at the end is no growth.
            "threads bounded": max(s.threads for s in settled) - settled[0].threads
            <= len(self.sources) + 1,
            "no task left": self.after.tasks <= self.before.tasks,
            "no descriptor left": self.after.descriptors <= self.before.descriptors,
        }


def page(reports: list[Report], arguments: str, seed: int) -> str:
    """The results as Markdown, with the command that got them."""
    machine = describe_machine()
    weights = read_manifest(DEFAULT_CHECKPOINT).description
    lines = [
        "# Soak",
        "",
        f'`make soak ARGS="{arguments}"`, seed {seed}, on {machine["processor"]}, {machine["cores"]} cores, with '
        f"{weights.name} {weights.version}.",
        "",
    ]
    for report in reports:
        lines += section(report)
    # What is written there by hand stays.
    by_hand = PAGE.read_text("utf-8").partition(BY_HAND)
    return "\n".join(lines) + "\n" + "".join(by_hand[1:])


def section(report: Report) -> list[str]:
    """One run."""
    last = report.samples[-1]
    windows = [w for w in report.ledger.latencies if w]
    third = max(1, len(windows) // 3)
    early, late = (
        statistics.median(x for w in part for x in w)
        for part in (windows[:third], windows[-third:])
    )
    speed = last.audio_h * 3_600 / last.wall_s
    heard = "1 stream" if len(report.sources) == 1 else f"{len(report.sources)} streams"
    lines = [
        f"## {'With' if report.recogniser else 'Without'} the recogniser",
        "",
        f"{heard}, {last.audio_h:.2f} h of audio in {last.wall_s / 60:.1f} minutes ({speed:.0f} times real time).",
        "",
        "| promise | kept |",
        "|---|---|",
        *(f"| {name} | {'yes' if kept else 'NO'} |" for name, kept in report.checks().items()),
        "",
        f"- Memory slope after the warm-up: {slope(report.samples):.2f} MB for each hour of audio.",
        f"- Median of recogniser and ensemble after the end of a segment: {early:.1f} ms in the first third, "
        f"{late:.1f} ms in the last. At full speed work waits for work: it says nothing of live latency.",
        f"- Scenes: {_counted(sum((s.scenes for s in report.sources), Counter()))}.",
        f"- Faults injected: {_counted(report.faults)}, recogniser {report.failures}.",
        f"- Events: {_counted(report.ledger.kinds)}.",
        f"- Reader: {report.reader.events} events, told of {report.reader.told_lost} lost. "
        f"Visitors: {_counted(report.visits)}.",
        "",
        "| wall, s | audio, h | memory, MB | tasks | threads | descriptors |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    step = max(1, len(report.samples) // 12)
    lines += [
        f"| {s.wall_s:.0f} | {s.audio_h:.2f} | {s.rss_mb:.1f} | {s.tasks} | {s.threads} | {s.descriptors} |"
        for s in [*report.samples[::step], report.after]
    ]
    return [*lines, ""]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common()) or "none"
