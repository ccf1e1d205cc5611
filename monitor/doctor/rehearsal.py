"""A sentence through every stage of the monitor itself."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import soundfile

from monitor.assembly import DEMO, assemble
from monitor.doctor.finding import Finding, Status
from monitor.errors import UsageError
from monitor.events import SAMPLE_RATE_HZ
from monitor.settings import MonitorSettings

SENTENCE: Final = (0.4, 3.6)
"""Seconds of the bundled recording that hold its first sentence and the silence around it."""


async def utterance(settings: MonitorSettings) -> Finding:
    """A sentence of the bundled recording, at the pace of speech, through the monitor itself."""
    with tempfile.TemporaryDirectory(prefix="stser-doctor-") as folder:
        sentence, events = Path(folder) / "sentence.wav", Path(folder) / "events.jsonl"
        start, end = (round(at_s * SAMPLE_RATE_HZ) for at_s in SENTENCE)
        samples, rate_hz = soundfile.read(DEMO, start=start, stop=end, dtype="int16")
        soundfile.write(sentence, samples, rate_hz, subtype="PCM_16")
        alone = replace(
            settings,
            websocket=replace(settings.websocket, enabled=False),
            mqtt=replace(settings.mqtt, url=None),
            journal=replace(settings.journal, path="off"),
            # Nothing of it is kept: not its sound, nor its voice among those that were heard.
            record=replace(settings.record, folder=None),
            adaptation=replace(settings.adaptation, state_file=""),
            # Nothing is prepared ahead: what each stage takes is to be seen.
            segmenter=replace(settings.segmenter, lead_ms=0),
            stream="doctor",
            transcript=True,
        )
        parts = assemble(
            alone, audio=[str(sentence)], pace="realtime", events=str(events), event_format="jsonl"
        )
        began_s = time.perf_counter()
        opened_s: list[float] = []
        await parts.pipeline.run(lambda: opened_s.append(time.perf_counter() - began_s))
        said = [json.loads(line) for line in events.read_text("utf-8").splitlines()]
    heard = [event["data"] for event in said if event["type"] == "org.stser.emotion.utterance.v1"]
    if not heard:
        return Finding(
            "utterance",
            Status.PROBLEM,
            "The test sentence led to no verdict: no speech was found in it.",
            "The settings of vad and segmenter do not let it pass; try without --config.",
            UsageError.exit_code,
        )
    first = heard[0]
    latency = first["latency_ms"]
    words = "" if first["transcript"] is None else f", words {first['transcript']['text']!r}"
    text = (
        f"The test sentence was judged {first['label']} ({first['confidence']:.2f}){words}. "
        f"From its end to the event {latency['total']:.0f} ms: "
        + ", ".join(f"{stage} {latency[stage]:.1f}" for stage in latency if stage != "total")
        + f". Models ready after {opened_s[0]:.1f} s."
    )
    figures = {"latency_ms": latency, "label": first["label"], "ready_s": round(opened_s[0], 2)}
    if settings.asr.enabled and not words:
        return Finding(
            "utterance",
            Status.NOTE,
            text + " The recogniser found no words.",
            "Try another --vosk-model.",
            figures=figures,
        )
    return Finding("utterance", Status.OK, text, figures=figures)
