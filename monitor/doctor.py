"""``stser-monitor --doctor``: what this machine has, what is wrong with it, and the remedy for each.

Every check is made with the part that the monitor itself would use, and none ends the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile

from monitor.asr import find_model
from monitor.assembly import DEMO, assemble, host_name, versions
from monitor.capture import DeviceSource
from monitor.commands import CommandDesk
from monitor.errors import (
    CaptureError,
    DeviceHeldError,
    ModelError,
    MonitorError,
    PublishError,
    UsageError,
)
from monitor.events import SAMPLE_RATE_HZ, AudioFrame, AudioGap, DeviceLost, Samples
from monitor.held_devices import held_microphones
from monitor.portaudio import InputDevice, find_device, list_devices
from monitor.publish.guard import is_loopback
from monitor.publish.journal import Journal
from monitor.publish.mqtt import MqttPublisher
from monitor.segmenter import FULL_SCALE
from monitor.settings import MonitorSettings
from stser_core.checkpoint import read_manifest
from stser_core.ensemble import DEFAULT_CHECKPOINT
from stser_core.errors import CheckpointError

LISTEN_S: Final = 3.0
PATIENCE_S: Final = 5.0
"""A microphone that has delivered nothing for so long delivers nothing."""
SENTENCE: Final = (0.4, 3.6)
"""Seconds of the bundled recording that hold its first sentence and the silence around it."""
NOISY_DBFS: Final = -40.0
"""A room louder than this hides soft speech."""
WIDTH: Final = 100
LET_GO: Final = (
    "End the program that 'fuser -v /dev/snd/*' names, choose another microphone with --device, or have the "
    "monitor wait with --wait-for-device. With an audio server (PipeWire, PulseAudio) programs share a microphone."
)


class Status(StrEnum):
    """How a check has ended."""

    OK = "ok"
    NOTE = "note"
    """Works, but could be better, or has not been checked."""
    PROBLEM = "problem"
    """The monitor would not do its work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found."""

    part: str
    status: Status
    text: str
    remedy: str = ""
    """What to do about it; empty where there is nothing to do."""
    exit_code: int = 0
    """Of a problem: the code that the monitor itself would end with."""
    figures: dict[str, Any] = field(default_factory=dict)
    """For programs: the numbers in the text, and more."""


def _problem(part: str, error: MonitorError | CheckpointError, remedy: str) -> Finding:
    code = error.exit_code if isinstance(error, MonitorError) else ModelError.exit_code
    return Finding(part, Status.PROBLEM, str(error), remedy, code)


async def examine(settings: MonitorSettings) -> list[Finding]:
    """Make every check in turn; takes about ten seconds."""
    findings = [_programs()]
    findings += [
        await asyncio.to_thread(check, settings) for check in (_devices, _model, _recogniser, _port)
    ]
    deaf = any(finding.part == "devices" and finding.exit_code for finding in findings)
    for part, ask in CHECKS:
        if part == "microphone" and deaf:
            continue
        try:
            findings.append(await ask(settings))
        except (MonitorError, CheckpointError) as error:
            findings.append(_problem(part, error, "See the finding above that names its cause."))
    order = (
        "programs",
        "devices",
        "microphone",
        "model",
        "recogniser",
        "utterance",
        "port",
        "broker",
    )
    return sorted(findings, key=lambda finding: order.index(finding.part))


def exit_code(findings: Sequence[Finding]) -> int:
    """0 where the monitor would do its work, else the code of the first part that would not."""
    return next((finding.exit_code for finding in findings if finding.exit_code), 0)


# --- how it is said ----------------------------------------------------------------------------


def page(findings: Sequence[Finding]) -> str:
    """The findings for people, worst news marked, a remedy below each."""
    lines: list[str] = []
    for finding in findings:
        head = f"{finding.status.upper():8}{finding.part:12}"
        indent = " " * len(head)
        for number, paragraph in enumerate(finding.text.splitlines()):
            start = indent if number else head
            lines += textwrap.wrap(paragraph, WIDTH, initial_indent=start, subsequent_indent=indent)
        if finding.remedy:
            lines += textwrap.wrap(
                f"Remedy: {finding.remedy}", WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    n_problems = sum(finding.status is Status.PROBLEM for finding in findings)
    verdict = "The monitor can work here."
    if n_problems:
        verdict = f"{n_problems} problem{'s' if n_problems > 1 else ''} to solve first."
    return "\n".join([*lines, "", verdict, ""])


def as_json(findings: Sequence[Finding]) -> str:
    """The same for programs: one JSON object on one line."""
    code = exit_code(findings)
    tree = {
        "usable": code == 0,
        "exit_code": code,
        "findings": [
            {
                "part": finding.part,
                "status": finding.status.value,
                "text": finding.text,
                "remedy": finding.remedy,
                "exit_code": finding.exit_code,
                "figures": finding.figures,
            }
            for finding in findings
        ],
    }
    return json.dumps(tree, allow_nan=False) + "\n"


# --- what is there -----------------------------------------------------------------------------


def _programs() -> Finding:
    found = versions()
    text = ", ".join(f"{name} {number}" for name, number in found.items())
    return Finding("programs", Status.OK, text, figures=dict(found))


def _devices(settings: MonitorSettings) -> Finding:
    try:
        devices = list_devices()
    except CaptureError as error:
        return _problem("devices", error, "Install PortAudio, then run this again.")
    held = held_microphones()
    figures: dict[str, Any] = {
        "devices": [_device_figures(device) for device in devices],
        "held": held,
    }
    if not devices and not held:
        return Finding(
            "devices",
            Status.PROBLEM,
            "No input device: this machine has no microphone that PortAudio can see.",
            "Plug a microphone in; on a desktop, check that its audio server runs (pactl info) and "
            "that this user may use it (group 'audio'). Without one, --input FILE works.",
            CaptureError.exit_code,
            figures,
        )
    try:
        chosen = [find_device(choice, devices) for choice in settings.capture.devices]
    except DeviceHeldError as error:
        return replace(_problem("devices", error, LET_GO), figures=figures)
    except CaptureError as error:
        finding = _problem("devices", error, "Name one of these with --device.")
        return replace(finding, figures=figures)
    lines = [_device_line(device, chosen) for device in devices]
    text = "\n".join([*lines, *(f"{name}: held by another program" for name in held)])
    figures["chosen"] = [device.index for device in chosen]
    return Finding("devices", Status.OK, text, figures=figures)


def _device_figures(device: InputDevice) -> dict[str, Any]:
    return {
        "index": device.index,
        "name": device.name,
        "channels": device.channels,
        "sample_rate_hz": device.sample_rate_hz,
        "default": device.default,
    }


def _device_line(device: InputDevice, chosen: Sequence[InputDevice]) -> str:
    mark = "-> " if device in chosen else ""
    return (
        f"{mark}device {device.index} {device.name!r}: {device.channels} ch, "
        f"{device.sample_rate_hz} Hz{', the default' if device.default else ''}"
    )


def _model(settings: MonitorSettings) -> Finding:
    folder = settings.ensemble.checkpoint or DEFAULT_CHECKPOINT
    try:
        found = read_manifest(folder).model_id
    except CheckpointError as error:
        return _problem("model", error, "Install the package again, or name a checkpoint: --model.")
    return Finding(
        "model",
        Status.OK,
        f"{found.name} {found.version}, every file as its manifest says, {found.digest}",
        figures={"name": found.name, "version": found.version, "digest": found.digest},
    )


def _recogniser(settings: MonitorSettings) -> Finding:
    if not settings.asr.enabled:
        return Finding(
            "recogniser",
            Status.NOTE,
            "Off: the voice alone is judged.",
            "Leave --no-asr out, or set asr.enabled = true, for the words to count.",
        )
    try:
        found = find_model(settings.asr.model or None, models_url=settings.asr.models_url)
    except ModelError as error:
        return _problem("recogniser", error, "Leave --vosk-model out for the embedded one.")
    digest = _folder_digest(found.path)
    figures = {"name": found.name, "digest": digest, "embedded": found.embedded}
    status = Status.NOTE if found.embedded else Status.OK
    return Finding("recogniser", status, f"{found.name}, {digest}", found.notice, figures=figures)


def _folder_digest(folder: Path) -> str:
    """``sha256:...`` over the names and contents of all files, by name."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return "sha256:" + digest.hexdigest()


# --- what is heard -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sound:
    """Three seconds of a microphone, measured."""

    level_dbfs: float
    """RMS of the whole."""
    peak_dbfs: float
    noise_dbfs: float
    """RMS of the quietest tenth of the frames."""
    clipped: float
    """Share of samples at full scale."""
    zero: bool
    """True where every sample is exactly 0, which no converter delivers."""

    @classmethod
    def of(cls, samples: Samples) -> Sound:
        """Measure at least one frame."""
        frames = samples[: len(samples) // 320 * 320].reshape(-1, 320).astype(np.float64)
        powers = np.sort(np.mean(frames**2, axis=1))
        quiet = powers[: max(1, len(powers) // 10)]
        return cls(
            level_dbfs=_decibels(float(np.mean(powers))),
            peak_dbfs=_decibels(float(np.max(np.abs(samples))) ** 2),
            noise_dbfs=_decibels(float(np.mean(quiet))),
            clipped=float(np.mean(np.abs(samples) >= FULL_SCALE)),
            zero=not np.any(samples),
        )


def _decibels(power: float) -> float:
    return round(10 * float(np.log10(max(power, 1e-12))), 1)


async def _microphone(settings: MonitorSettings) -> Finding:
    """Listen to the first of them for three seconds."""
    if not settings.capture.devices:
        return Finding("microphone", Status.NOTE, "None is wanted: audio comes from clients only.")
    device = settings.capture.devices[0]
    source = DeviceSource(replace(settings.capture, device=device, wait_for_device=False))
    blocks: list[Samples] = []
    n_lost = 0
    try:
        async with source:
            try:
                async with asyncio.timeout(LISTEN_S + PATIENCE_S):
                    async for audio in source:
                        if isinstance(audio, AudioFrame):
                            blocks.append(audio.samples)
                        elif isinstance(audio, AudioGap):
                            n_lost += audio.length
                        elif isinstance(audio, DeviceLost):
                            break
                        if len(blocks) * 320 >= LISTEN_S * SAMPLE_RATE_HZ:
                            break
            except TimeoutError:
                pass
    except DeviceHeldError as error:
        return _problem("microphone", error, LET_GO)
    except CaptureError as error:
        return _problem("microphone", error, "See --list-devices, and --device to choose one.")
    if not blocks:
        return Finding(
            "microphone",
            Status.PROBLEM,
            f"{source.name}: open, but it delivers no audio.",
            "It is suspended or stalled: plug it in again, or restart the audio server "
            "(systemctl --user restart pipewire pulseaudio).",
            CaptureError.exit_code,
        )
    return judged(source.name, np.concatenate(blocks), n_lost, settings)


def judged(name: str, samples: Samples, n_lost: int, settings: MonitorSettings) -> Finding:
    """What there is to say of some seconds of a microphone."""
    sound = Sound.of(samples)
    text = (
        f"{name}: {len(samples) / SAMPLE_RATE_HZ:.1f} s heard, level {sound.level_dbfs:.0f} dBFS, "
        f"peak {sound.peak_dbfs:.0f}, noise {sound.noise_dbfs:.0f}, "
        f"clipped {sound.clipped:.1%}, lost {n_lost * 1000 // SAMPLE_RATE_HZ} ms."
    )
    figures = {
        "device": name,
        "level_dbfs": sound.level_dbfs,
        "peak_dbfs": sound.peak_dbfs,
        "noise_dbfs": sound.noise_dbfs,
        "clipped_share": round(sound.clipped, 6),
        "muted": sound.zero,
        "lost_ms": n_lost * 1000 // SAMPLE_RATE_HZ,
        "heard_ms": len(samples) * 1000 // SAMPLE_RATE_HZ,
    }
    status, remedy, code = Status.OK, "", 0
    if sound.zero:
        status, code = Status.PROBLEM, CaptureError.exit_code
        text += " Every sample is zero: it is muted."
        remedy = (
            "Unmute it: its own switch, the desktop's sound settings, or pactl set-source-mute."
        )
    elif sound.clipped >= settings.vad.clipped_share:
        status = Status.NOTE
        text += " It is clipped: verdicts on such speech are withheld."
        remedy = "Lower its level in the sound settings, or speak from further away."
    elif sound.noise_dbfs > NOISY_DBFS:
        status = Status.NOTE
        text += " The room, or its level, is loud: soft speech drowns."
        remedy = "Lower its level, come closer, or look for a fan. Somebody who speaks without a "
        remedy += "pause looks like this, too: be silent and run this again."
    elif sound.peak_dbfs < settings.vad.min_level_dbfs:
        status = Status.NOTE
        text += " Nothing was loud enough to be speech."
        remedy = "Speak during the test. If you did: raise its level in the sound settings."
    elif n_lost:
        status = Status.NOTE
        text += " Audio was lost."
        remedy = "Something else keeps this machine busy; or raise capture.block_ms."
    return Finding("microphone", status, text, remedy, code, figures)


# --- what comes of it --------------------------------------------------------------------------


async def _utterance(settings: MonitorSettings) -> Finding:
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


# --- who gets it -------------------------------------------------------------------------------


def _port(settings: MonitorSettings) -> Finding:
    chosen = settings.websocket
    if not chosen.enabled:
        return Finding("port", Status.NOTE, "No dashboard and no WebSocket: --no-ws.")
    where = f"{chosen.host}:{chosen.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            chosen.host, chosen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        mine = _monitor_answers(chosen.host, chosen.port)
        return Finding(
            "port",
            Status.PROBLEM,
            f"{where} cannot be listened on ({error.strerror})"
            + (": a monitor serves there already." if mine else "."),
            "Stop the other monitor, or choose another port."
            if mine
            else "Choose another with --ws-port, or 0 for a free one.",
            PublishError.exit_code,
            {"host": chosen.host, "port": chosen.port, "monitor_runs": mine},
        )
    reach = "this machine only" if is_loopback(chosen.host) else "the network"
    return Finding(
        "port",
        Status.OK,
        f"{where} is free; it will be reached from {reach}.",
        figures={"host": chosen.host, "port": chosen.port},
    )


def _monitor_answers(host: str, port: int) -> bool:
    """Whether what holds the port is a monitor."""
    name = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{name}:{port}/healthz", timeout=2) as answer:  # nosec B310
            return bool(json.loads(answer.read(1_000)).get("status") == "alive")
    except (OSError, ValueError, AttributeError):
        return False


async def _broker(settings: MonitorSettings) -> Finding:
    if settings.mqtt.url is None:
        return Finding("broker", Status.NOTE, "None: events go to no MQTT broker.")
    node = settings.node or host_name()
    try:
        journal = Journal(None, node, settings.journal)
        await MqttPublisher(settings.mqtt, node, (), journal, CommandDesk()).check()
    except PublishError as error:
        return _problem(
            "broker",
            error,
            "Check the address, name and password in --mqtt-url, that the broker runs, and that a "
            "firewall lets its port through. The monitor itself would keep trying.",
        )
    return Finding("broker", Status.OK, "It takes the monitor in.")


CHECKS: Final[tuple[tuple[str, Callable[[MonitorSettings], Awaitable[Finding]]], ...]] = (
    ("microphone", _microphone),
    ("utterance", _utterance),
    ("broker", _broker),
)
