"""Settings in, a pipeline out: the one place where parts are chosen and joined."""

from __future__ import annotations

import logging
import os
import platform
import re
import socket
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Literal

from config.loader import user_path
from monitor.asr import SharedVosk, VoskTranscriber, find_model
from monitor.capture import DeviceSource
from monitor.commands import CommandDesk
from monitor.errors import UsageError
from monitor.events import ModelId, MonitorStarted
from monitor.heard_voice import VoiceFile
from monitor.held_devices import held_microphones
from monitor.incoming import IncomingAudio
from monitor.inference import EnsembleWorker
from monitor.judging import Judging
from monitor.pipeline import Pipeline
from monitor.portaudio import default_device
from monitor.ports import AudioSource, Publisher, WrittenPublisher
from monitor.publish.console import Console
from monitor.publish.journal import Journal, journal_path
from monitor.publish.jsonl import JsonLines
from monitor.publish.lines import Lines
from monitor.publish.websocket import WebSocketPublisher
from monitor.publish.wire import WireEncoder
from monitor.reception import Reception
from monitor.recorder import Recorder
from monitor.replay import FileSource, PipeSource
from monitor.segmenter import Segmenter
from monitor.settings import MonitorSettings
from monitor.shedding import Shedding
from monitor.state import EmotionState
from monitor.stream import Stream
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
    streams: tuple[Stream, ...]
    """Those from the start."""
    websocket: WebSocketPublisher | None
    notice: str
    """A line for whoever started it."""
    offline: bool
    """Files are read as fast as it goes: it will be over before anybody opens a page."""


def choose_sources(
    settings: MonitorSettings, audio: Sequence[str], pace: Pace | None
) -> list[AudioSource]:
    """The files or the pipe that were named, else the devices that were named, else the system's, else the demo."""
    if audio:
        if list(audio).count("-") > 1:
            raise UsageError("--input - is given twice: there is one standard input.")
        return [
            PipeSource(_standard_input()) if name == "-" else FileSource(Path(name), pace or "max")
            for name in audio
        ]
    if pace is not None:
        raise UsageError("--pace is for files: a microphone sets its own. Name one with --input.")
    chosen = settings.capture
    if (
        chosen.device is None
        and not chosen.wait_for_device
        and default_device() is None
        and not held_microphones()  # which is an error, and no reason for a demo
    ):
        logger.info("No microphone found: playing the bundled recording at real-time pace instead.")
        return [FileSource(DEMO, "realtime")]
    several = len(chosen.devices) > 1
    return [
        DeviceSource(replace(chosen, device=device), own_process=several)
        for device in chosen.devices
    ]


def _standard_input() -> BinaryIO:
    if sys.stdin is None:  # as ``<&-`` leaves it
        raise UsageError("--input -: standard input is closed. Pipe PCM16 into it.")
    return sys.stdin.buffer


def choose_names(settings: MonitorSettings, count: int) -> list[str]:
    """A name for each stream: those that were given, then ``mic-2`` and so on."""
    given = settings.stream_names
    if len(given) > max(1, count):
        raise UsageError(
            f"--stream names {len(given)} streams ({', '.join(given)}), and there are {count}. "
            "Give each --device or --input at most one name."
        )
    numbered = [f"{given[0]}-{number}" for number in range(2, count + 1) if number > len(given)]
    names = [*given, *numbered][:count]
    if len(set(names)) < len(names):
        raise UsageError(f"--stream: {', '.join(names)} are not all different. Name each.")
    return names


def choose_event_output(
    path: str, shape: EventFormat | None, *, transcript: bool, patient: Collection[str] = ()
) -> WrittenPublisher:
    """Where events are written: a file or standard output, as JSON Lines, for people or as EmotionML.

    Args:
        path: The file, or ``-``.
        shape: None chooses by whether it is a terminal.
        transcript: Whether the words are written.
        patient: CloudEvents sources of streams that wait for a slow reader.
    """
    if path == "-" and sys.stdout is None:  # as ``>&-`` leaves it
        raise UsageError("standard output is closed. Open it, or name a file with --events.")
    human = shape == "human" or (shape is None and path == "-" and sys.stdout.isatty())
    if human and path == "-" and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from monitor.publish.terminal import Terminal  # loads Rich

        return Terminal(sys.stdout, transcript=transcript, patient=patient)
    if human:
        output = sys.stdout if path == "-" else Path(path)
        return Console(output, transcript=transcript, patient=patient)
    target = sys.stdout.buffer if path == "-" else Path(path)
    if shape == "emotionml":
        from monitor.publish.emotionml import EmotionMl  # loads an XML library

        return EmotionMl(target, transcript=transcript, patient=patient)
    return JsonLines(target, transcript=transcript, patient=patient)


def choose_journal(settings: MonitorSettings, node: str, *, offline: bool) -> Journal:
    """Where events are kept: the file that was named, else the user's, else memory.

    Args:
        settings: All of them.
        node: Name of this machine.
        offline: A file that is read as fast as it goes can be read again: nothing needs to be kept.
    """
    chosen = settings.journal.path
    if chosen == "off" or (not chosen and offline):
        kept = settings.journal
        if not settings.websocket.enabled and settings.mqtt.url is None:
            kept = replace(kept, max_events=1)  # nobody can ask for what was missed
        return Journal(None, node, kept)
    return Journal(journal_file(settings, node), node, settings.journal, required=bool(chosen))


def journal_file(settings: MonitorSettings, node: str) -> Path:
    """The journal of a live stream: the file that was named, else the user's."""
    if settings.journal.path:
        return user_path(settings.journal.path, "journal.path")
    return journal_path(node, settings.stream_names[0])


def choose_voice(settings: MonitorSettings, stream: str, source: AudioSource) -> VoiceFile | None:
    """Where the voice of a stream is kept; files of further streams have the stream's name in theirs.

    That of a client is not: the next one of its name may be somebody else.
    """
    if not settings.adaptation.state_file or isinstance(source, IncomingAudio):
        return None
    path = user_path(settings.adaptation.state_file, "adaptation.state_file")
    if stream != settings.stream_names[0]:
        path = path.with_name(f"{path.stem}.{stream}{path.suffix}")
    return VoiceFile(path)


def assemble(
    settings: MonitorSettings,
    *,
    audio: Sequence[str] = (),
    pace: Pace | None = None,
    events: str = "-",
    event_format: EventFormat | None = None,
) -> Assembly:
    """Choose and join the parts; nothing is opened or loaded yet.

    Args:
        settings: All of them.
        audio: Files, or ``-`` for standard input; none for microphones.
        pace: Of the files.
        events: A file to append to, or ``-`` for standard output.
        event_format: Shape of what is written there; None chooses by whether it is a terminal.

    Raises:
        MonitorError: A name, file or address that cannot be used.
    """
    node = settings.node or host_name()
    sources = choose_sources(settings, audio, pace)
    names = choose_names(settings, len(sources))
    main = names[0] if names else settings.stream_names[0]
    offline = bool(sources) and all(
        isinstance(source, FileSource) and source.pace == "max" for source in sources
    )
    workshop = Workshop(settings, node, offline=offline)
    output = choose_event_output(
        events,
        event_format,
        transcript=settings.transcript and settings.output.transcript,
        patient={
            f"/stser/{node}/{name}"
            for name, source in zip(names, sources, strict=True)
            if not source.live
        },
    )
    streams = tuple(
        workshop.new_stream(name, source, output.lines)
        for name, source in zip(names, sources, strict=True)
    )
    reception = Reception(settings.audio, workshop.new_stream, own=len(streams))
    journal = choose_journal(settings, node, offline=offline)
    desk = CommandDesk()
    publishers: list[Publisher] = [output]
    websocket, mqtt = None, None
    if settings.mqtt.url is not None:
        from monitor.publish.mqtt import MqttPublisher  # loads an MQTT library

        mqtt = MqttPublisher(settings.mqtt, node, names, journal, desk)
    if settings.websocket.enabled:
        websocket = WebSocketPublisher(
            settings.websocket,
            journal,
            desk,
            reception,
            audio=settings.audio,
            main=f"/stser/{node}/{main}",
            broker=mqtt,
            recorder=workshop.recorder,
        )
        publishers.append(websocket)
    if mqtt is not None:
        publishers.append(mqtt)
    pipeline = Pipeline(
        streams=streams,
        ensemble=workshop.ensemble,
        journal=journal,
        publishers=publishers,
        desk=desk,
        reception=reception,
        shedding=workshop.shedding,
        recorder=workshop.recorder,
        preload=workshop.preload,
        hurry=output.lines.hurry,
    )
    return Assembly(pipeline, streams, websocket, workshop.notice, offline)


class Workshop:
    """Makes streams, all with the same models and settings.

    Args:
        settings: All of them.
        node: Name of this machine.
        offline: Nobody is there to be told anything in passing.

    Raises:
        ModelError: The recogniser's model cannot be found.
    """

    def __init__(self, settings: MonitorSettings, node: str, *, offline: bool) -> None:
        chosen = settings.ensemble
        classifiers = chosen.classifiers
        if not settings.asr.enabled and "speech" in classifiers:
            classifiers = ("speech",)  # the others would never have words: not even loaded
        self.ensemble = EnsembleWorker(
            lambda: Stser.load(
                chosen.checkpoint,
                engine=chosen.engine,
                classifiers=classifiers,
                explain_words=chosen.explain_words,
            ),
            chosen.hang_s,
        )
        self._settings = settings
        self._node = node
        # A file at full speed has its verdicts at once.
        self._provisional = replace(
            settings.provisional, enabled=settings.provisional.enabled and not offline
        )
        self.recorder = None
        if settings.record.folder is not None:
            self.recorder = Recorder(settings.record.folder, settings.record)
        self.shedding = Shedding(settings.shedding)
        self._vosk = SharedVosk()
        self._model = None
        if settings.asr.enabled:
            self._model = find_model(settings.asr.model or None, models_url=settings.asr.models_url)

    @property
    def notice(self) -> str:
        """A line on what is heard."""
        if self._model is None:
            return "No recogniser: the voice alone is judged."
        return self._model.notice

    def preload(self) -> None:
        """Begin to load what the first stream will need, beside what all of them share."""
        if self._model is not None:
            self._vosk.preload(self._model.path)

    def new_stream(self, name: str, source: AudioSource, lines: Lines | None = None) -> Stream:
        """A stream that has not begun; with lines, one that waits for their reader where it can."""
        settings, model = self._settings, self._model
        transcriber = None
        if model is not None:
            transcriber = VoskTranscriber(
                model,
                settings.asr,
                load=self._vosk.load,
                turns=self._vosk.turns,
                shedding=self.shedding,
            )
        judging = Judging(
            ensemble=self.ensemble,
            transcriber=transcriber,
            abstention=settings.abstention,
            provisional=self._provisional,
            shedding=self.shedding,
            voice=choose_voice(settings, name, source),
        )
        return Stream(
            name,
            source=source,
            segmenter=Segmenter(settings.vad, settings.segmenter),
            judging=judging,
            encoder=WireEncoder(self._node, name, transcript=settings.transcript),
            state=EmotionState(settings.state),
            shedding=self.shedding,
            recorder=self.recorder,
            lines=lines,
            started=self._started,
        )

    def _started(self, model: ModelId) -> MonitorStarted:
        return MonitorStarted(
            versions=versions(),
            settings_digest=self._settings.digest(),
            model=model,
            modalities=("speech", "text") if self._model is not None else ("speech",),
            recogniser=self._model.name if self._model is not None else "off",
            embedded=self._model is not None and self._model.embedded,
            notice=self.notice,
            recording=self.recorder is not None,
        )


def host_name() -> str:
    """This machine's name, in the letters that topics allow."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", socket.gethostname().partition(".")[0]) or "localhost"


def versions() -> dict[str, str]:
    """Of the monitor and of the packages that the verdict depends on."""
    packages = ("stser-monitor", "numpy", "onnxruntime", "vosk")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
