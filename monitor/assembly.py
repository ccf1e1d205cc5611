"""Settings in, a pipeline out: the one place where parts are chosen and joined."""

from __future__ import annotations

import logging
import socket
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from monitor.asr import VoskTranscriber, find_model
from monitor.capture import DeviceSource, default_device
from monitor.errors import UsageError
from monitor.events import MonitorStarted
from monitor.inference import EnsembleWorker
from monitor.pipeline import Pipeline
from monitor.ports import AudioSource, Publisher
from monitor.publish.console import Console
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
EventFormat = Literal["jsonl", "human"]


def choose_source(settings: MonitorSettings, audio: str | None, pace: Pace | None) -> AudioSource:
    """The file or pipe that was named, else the device that was named, else the system's, else the demo."""
    if audio == "-":
        return PipeSource(sys.stdin.buffer)
    if audio is not None:
        return FileSource(Path(audio), pace or "max")
    if pace is not None:
        raise UsageError("--pace is for files: a microphone sets its own. Name one with --input.")
    if settings.capture.device is None and default_device() is None:
        logger.info("No microphone found: playing the bundled recording at real-time pace instead.")
        return FileSource(DEMO, "realtime")
    return DeviceSource(settings.capture)


def choose_event_output(path: str, shape: EventFormat | None) -> Publisher:
    """Where events are written: a file or standard output, as JSON Lines or for people."""
    if path != "-":
        if shape == "human":
            return Console.to_file(Path(path))
        return JsonLines.to_file(Path(path))
    if shape == "human" or (shape is None and sys.stdout.isatty()):
        return Console(sys.stdout)
    return JsonLines(sys.stdout.buffer)
