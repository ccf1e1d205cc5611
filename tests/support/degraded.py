"""A real part in the place of another, in a pipeline that is assembled but does not run yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from monitor.asr import AsrSettings, Engine, VoskTranscriber, find_model
from monitor.assembly import Assembly
from monitor.inference import EnsembleWorker
from monitor.stream import Stream


def recognise_with(
    stream: Stream,
    load: Callable[[Path], Engine],
    settings: AsrSettings | None = None,
    turns: threading.Semaphore | None = None,
) -> None:
    """Have a stream's words from another engine, with the embedded model."""
    judging = stream._judging
    judging._transcriber = VoskTranscriber(
        find_model("stser-tiny-en"),
        AsrSettings() if settings is None else settings,
        load=load,
        turns=turns,
        shedding=judging._shedding,
    )


def judge_with(parts: Assembly, ensemble: EnsembleWorker) -> None:
    """Have the verdicts on all streams from another ensemble."""
    parts.pipeline._ensemble = ensemble
    for stream in parts.streams:
        stream._judging._ensemble = ensemble
