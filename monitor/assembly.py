"""Settings in, a pipeline out: the one place where parts are chosen and joined."""

from __future__ import annotations

import logging
import os
import platform
import re
import socket
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from monitor.asr import VoskTranscriber, find_model
from monitor.capture import DeviceSource
from monitor.commands import CommandDesk
from monitor.errors import UsageError
from monitor.events import MonitorStarted
from monitor.heard_voice import VoiceFile
from monitor.inference import EnsembleWorker
from monitor.pipeline import Pipeline
from monitor.portaudio import default_device
from monitor.ports import AudioSource, Publisher
from monitor.publish.console import Console
from monitor.publish.emotionml import EmotionMl
from monitor.publish.journal import Journal, journal_path
from monitor.publish.jsonl import JsonLines
from monitor.publish.mqtt import MqttPublisher
from monitor.publish.websocket import WebSocketPublisher
from monitor.publish.wire import WireEncoder
from monitor.replay import FileSource, PipeSource
from monitor.segmenter import Segmenter
from monitor.settings import MonitorSettings
from monitor.state import EmotionState
from stser_core.ensemble import Stser

logger = logging.getLogger(__name__)

DEMO = Path(__file__).parent / "demo" / "conversation.flac"
"""Played where the machine has no microphone."""

Pace = Literal["realtime", "max"]
EventFormat = Literal["jsonl", "human", "emotionml"]


@dataclass(frozen=True, slots=True)
class Assembly:
    """A pipeline that is ready to run, and what the command line wants to know of it."""

    pipeline: Pipeline
    source: AudioSource
    websocket: WebSocketPublisher | None
    notice: str
    """A line for whoever started it."""


def choose_source(settings: MonitorSettings, audio: str | None, pace: Pace | None) -> AudioSource:
    """The file or pipe that was named, else the device that was named, else the system's, else the demo."""
    if audio == "-":
        return PipeSource(sys.stdin.buffer)
    if audio is not None:
        return FileSource(Path(audio), pace or "max")
    if pace is not None:
        raise UsageError("--pace is for files: a microphone sets its own. Name one with --input.")
    chosen = settings.capture
    if chosen.device is None and not chosen.wait_for_device and default_device() is None:
        logger.info("No microphone found: playing the bundled recording at real-time pace instead.")
        return FileSource(DEMO, "realtime")
    return DeviceSource(chosen)


def choose_event_output(path: str, shape: EventFormat | None, *, transcript: bool) -> Publisher:
    """Where events are written: a file or standard output, as JSON Lines, for people or as EmotionML."""
    human = shape == "human" or (shape is None and path == "-" and sys.stdout.isatty())
    if human and path == "-" and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from monitor.publish.terminal import Terminal  # loads Rich

        return Terminal(sys.stdout, transcript=transcript)
    if human:
        return Console(sys.stdout if path == "-" else Path(path), transcript=transcript)
    lines = EmotionMl if shape == "emotionml" else JsonLines
    return lines(sys.stdout.buffer if path == "-" else Path(path))


def choose_journal(settings: MonitorSettings, node: str, source: str, *, offline: bool) -> Journal:
    """Where events are kept: the file that was named, else the user's, else memory.

    Args:
        settings: All of them.
        node: Name of this machine.
        source: CloudEvents source of the stream.
        offline: A file that is read as fast as it goes can be read again: nothing needs to be kept.
    """
    chosen = settings.journal.path
    if chosen == "off" or (not chosen and offline):
        return Journal(None, source, settings.journal)
    path = Path(chosen).expanduser() if chosen else journal_path(node, settings.stream)
    return Journal(path, source, settings.journal, required=bool(chosen))


def assemble(
    settings: MonitorSettings,
    *,
    audio: str | None = None,
    pace: Pace | None = None,
    events: str = "-",
    event_format: EventFormat | None = None,
) -> Assembly:
    """Choose and join the parts; nothing is opened or loaded yet.

    Args:
        settings: All of them.
        audio: A file, ``-`` for standard input, or None for a microphone.
        pace: Of a file.
        events: A file to append to, or ``-`` for standard output.
        event_format: Shape of what is written there; None chooses by whether it is a terminal.

    Raises:
        MonitorError: A name, file or address that cannot be used.
    """
    node = settings.node or host_name()
    source = choose_source(settings, audio, pace)
    model = None
    if settings.asr.enabled:
        model = find_model(settings.asr.model or None, models_url=settings.asr.models_url)
    encoder = WireEncoder(node, settings.stream, transcript=settings.transcript)
    offline = isinstance(source, FileSource) and source.pace == "max"
    journal = choose_journal(settings, node, encoder.source, offline=offline)
    desk = CommandDesk()
    websocket = None
    if settings.websocket.enabled:
        websocket = WebSocketPublisher(settings.websocket, journal, desk)
    publishers: list[Publisher] = [
        choose_event_output(events, event_format, transcript=settings.transcript)
    ]
    if websocket is not None:
        publishers.append(websocket)
    if settings.mqtt.url is not None:
        publishers.append(MqttPublisher(settings.mqtt, node, settings.stream, journal, desk))
    chosen = settings.ensemble
    notice = model.notice if model is not None else "No recogniser: the voice alone is judged."
    pipeline = Pipeline(
        source=source,
        segmenter=Segmenter(settings.vad, settings.segmenter),
        transcriber=None if model is None else VoskTranscriber(model, settings.asr),
        ensemble=EnsembleWorker(
            lambda: Stser.load(
                chosen.checkpoint, engine=chosen.engine, classifiers=chosen.classifiers
            )
        ),
        encoder=encoder,
        journal=journal,
        desk=desk,
        publishers=publishers,
        state=EmotionState(settings.state),
        abstention=settings.abstention,
        voice=VoiceFile(Path(kept).expanduser())
        if (kept := settings.adaptation.state_file)
        else None,
        # A file at full speed has its verdicts at once: there is nobody to tell in passing.
        provisional=replace(
            settings.provisional, enabled=settings.provisional.enabled and not offline
        ),
        started=lambda ensemble: MonitorStarted(
            versions=versions(),
            settings_digest=settings.digest(),
            model=ensemble.model,
            modalities=("speech", "text") if model is not None else ("speech",),
            recogniser=model.name if model is not None else "off",
            notice=notice,
        ),
    )
    return Assembly(pipeline, source, websocket, notice)


def host_name() -> str:
    """This machine's name, in the letters that topics allow."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", socket.gethostname().partition(".")[0]) or "localhost"


def versions() -> dict[str, str]:
    """Of the monitor and of the packages that the verdict depends on."""
    packages = ("stser-monitor", "numpy", "onnxruntime", "vosk")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
