"""Which microphones there are, and what the first of them hears."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from monitor.capture import DeviceSource
from monitor.doctor.finding import Finding, Status, problem
from monitor.errors import CaptureError, DeviceHeldError
from monitor.events import SAMPLE_RATE_HZ, AudioFrame, AudioGap, DeviceLost, Samples
from monitor.held_devices import held_microphones
from monitor.portaudio import InputDevice, find_device, list_devices
from monitor.segmenter import FULL_SCALE
from monitor.settings import MonitorSettings

LISTEN_S: Final = 3.0
PATIENCE_S: Final = 5.0
"""A microphone that has delivered nothing for so long delivers nothing."""
NOISY_DBFS: Final = -40.0
"""A room louder than this hides soft speech."""
LET_GO: Final = (
    "End the program that 'fuser -v /dev/snd/*' names, choose another microphone with --device, or have the "
    "monitor wait with --wait-for-device. With an audio server (PipeWire, PulseAudio) programs share a microphone."
)


def devices(settings: MonitorSettings) -> Finding:
    """Those that PortAudio sees, which of them would be heard, and which another program holds."""
    if not settings.capture.devices:
        return Finding("devices", Status.NOTE, "None is wanted: audio comes from clients only.")
    try:
        present = list_devices()
    except CaptureError as error:
        return problem("devices", error, "Install PortAudio, then run this again.")
    held = held_microphones()
    figures: dict[str, Any] = {
        "devices": [_device_figures(device) for device in present],
        "held": held,
    }
    if not present and not held:
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
        chosen = [find_device(choice, present) for choice in settings.capture.devices]
    except DeviceHeldError as error:
        return replace(problem("devices", error, LET_GO), figures=figures)
    except CaptureError as error:
        finding = problem("devices", error, "Name one of these with --device.")
        return replace(finding, figures=figures)
    lines = [_device_line(device, chosen) for device in present]
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


async def microphone(settings: MonitorSettings) -> Finding:
    """Listen to the first of those that are wanted, for three seconds."""
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
        return problem("microphone", error, LET_GO)
    except CaptureError as error:
        return problem("microphone", error, "See --list-devices, and --device to choose one.")
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
