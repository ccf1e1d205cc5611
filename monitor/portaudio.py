"""PortAudio: which microphones there are, and one of them open, on one thread.

PortAudio lists devices when it is initialised, and only then; :meth:`Input.list_anew` has it look again.
"""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitor.errors import CaptureError, DeviceHeldError
from monitor.held_devices import REMEDY, held_microphones

Post = Callable[[NDArray[np.float32], bool, float], None]
"""Takes a block, ``(samples, channels)``; whether audio was lost just before; and the driver's time of its
first sample, 0 where it knows none."""


UNAVAILABLE: Final = -9985
"""PortAudio's code for a device that is busy."""


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A microphone, as PortAudio lists it."""

    index: int
    name: str
    channels: int
    """As many as it can deliver."""
    sample_rate_hz: int
    """Its own rate."""
    default: bool
    """True for the system's default."""


def list_devices() -> list[InputDevice]:
    """Every input device that was there when PortAudio was first asked.

    Raises:
        CaptureError: PortAudio is not installed.
    """
    portaudio = _portaudio()
    default = portaudio.default.device[0]
    return [
        InputDevice(
            index=device["index"],
            name=device["name"],
            channels=device["max_input_channels"],
            sample_rate_hz=round(device["default_samplerate"]),
            default=device["index"] == default,
        )
        for device in portaudio.query_devices()
        if device["max_input_channels"] > 0
    ]


def default_device() -> InputDevice | None:
    """The system's default microphone, if it has one.

    Raises:
        CaptureError: PortAudio is not installed.
    """
    return next((device for device in list_devices() if device.default), None)


def find_device(choice: int | str | None, devices: list[InputDevice]) -> InputDevice:
    """The device meant by an index, a part of a name in any case, or None for the default.

    Raises:
        DeviceHeldError: Another program holds it.
        CaptureError: None or several match; lists what there is.
    """
    if choice is None:
        found = [device for device in devices if device.default]
        wanted = "default microphone"
    elif isinstance(choice, int) or choice.isdecimal():
        found = [device for device in devices if device.index == int(choice)]
        wanted = f"microphone with index {choice}"
    else:
        part = choice.casefold()
        found = [device for device in devices if device.name.casefold() == part]
        found = found or [device for device in devices if part in device.name.casefold()]
        wanted = f"microphone whose name contains {choice!r}"
    if len(found) == 1:
        return found[0]
    if found:
        raise CaptureError(
            f"{choice!r} is part of several microphones' names: {_listed(found)}. "
            "Give more of the name, or the index."
        )
    held = held_microphones()
    meant = [name for name in held if _may_mean(choice, name)]
    if meant:
        raise _held_by_another(" and ".join(meant))
    if not devices and not held:
        raise CaptureError(
            f"there is no {wanted}: this machine has no microphone at all. "
            "Plug one in, or use --input FILE."
        )
    others = f" Held by other programs: {', '.join(held)}." if held else ""
    raise CaptureError(f"there is no {wanted}. There are: {_listed(devices) or 'none'}.{others}")


def _may_mean(choice: int | str | None, held: str) -> bool:
    """Whether a device that is not listed may be the one that is wanted; an index could be any."""
    if choice is None:
        return True
    # PortAudio calls a card 'USB Audio: - (hw:1,0)'; what comes before the colon is ALSA's name, too.
    by_index = isinstance(choice, int) or choice.isdecimal()
    return not by_index and str(choice).casefold().partition(":")[0] in held.casefold()


def _held_by_another(name: str) -> DeviceHeldError:
    return DeviceHeldError(f"{name}: another program holds the microphone. {REMEDY}")


def _listed(devices: list[InputDevice]) -> str:
    return ", ".join(f"{device.index} {device.name!r}" for device in devices)


def find_again(
    choice: int | str | None, before: InputDevice | None, devices: list[InputDevice]
) -> InputDevice:
    """The device meant by a choice, after devices may have come and gone.

    An index may be another device's by now: the one that had it ``before`` is found by its name.

    Raises:
        DeviceHeldError: Another program holds it.
        CaptureError: None or several match.
    """
    by_index = isinstance(choice, int) or (choice is not None and choice.isdecimal())
    if not by_index or before is None:
        return find_device(choice, devices)
    same = [device for device in devices if device.name == before.name]
    return next((device for device in same if device.index == before.index), None) or find_device(
        before.name, devices
    )


_open_inputs: set[int] = set()
"""Streams that are open in this process. PortAudio lists devices when it is initialised only, and initialising
it again would end them. Capture threads only."""


class Input:
    """What one thread alone touches: PortAudio, and its stream while it is open.

    Raises:
        CaptureError: On creation, where PortAudio is not installed.
    """

    def __init__(self) -> None:
        self._portaudio = _portaudio()
        self._stream: Any = None

    def open(
        self,
        choice: int | str | None,
        before: InputDevice | None,
        *,
        channels: int,
        block_ms: int,
        post: Post,
        finished: Callable[[], None],
    ) -> InputDevice:
        """Open the device that is meant at its own rate.

        Args:
            choice: Index, or part of the name; None for the system's default.
            before: The device that the choice meant before.
            channels: As many as it has, if those are fewer.
            block_ms: Length of a block.
            post: Called with each block, on PortAudio's own thread.
            finished: Called there when no more blocks will come.

        Raises:
            DeviceHeldError: Another program holds it.
            CaptureError: No such device, or it cannot be opened.
        """
        device = find_again(choice, before, list_devices())
        channels = min(channels, device.channels)
        rate_hz = device.sample_rate_hz
        try:
            self._stream = self._portaudio.RawInputStream(
                device=device.index,
                samplerate=rate_hz,
                channels=channels,
                dtype="float32",
                blocksize=rate_hz * block_ms // 1000,
                callback=_poster(post, channels),
                finished_callback=finished,
            )
            _open_inputs.add(id(self._stream))
            self._stream.start()
        except (self._portaudio.PortAudioError, ValueError) as error:
            self.close()
            if UNAVAILABLE in error.args:
                raise _held_by_another(device.name) from error
            raise CaptureError(
                f"{device.name}: the microphone cannot be opened ({error.args[0]}). "
                "See --list-devices for others, and --doctor for what is wrong."
            ) from error
        return device

    def close(self) -> None:
        """Close what is open."""
        if self._stream is not None:
            # Not stop(): it waits for the driver, which on a stalled device never comes back.
            self._stream.abort(ignore_errors=True)
            self._stream.close(ignore_errors=True)
            _open_inputs.discard(id(self._stream))
            self._stream = None

    def list_anew(self) -> None:
        """See the devices that have come since PortAudio was first asked.

        Raises:
            CaptureError: The audio system is not there.
        """
        if _open_inputs:
            return
        try:
            # After a failure it is not initialised, and says so.
            with contextlib.suppress(self._portaudio.PortAudioError):
                self._portaudio._terminate()
            self._portaudio._initialize()
        except self._portaudio.PortAudioError as error:
            raise CaptureError(f"the audio system cannot be asked ({error.args[0]})") from error


def _poster(post: Post, channels: int) -> Callable[[Any, int, Any, Any], None]:
    """PortAudio's callback: copy, post, return."""

    def callback(buffer: Any, n_frames: int, times: Any, status: Any) -> None:
        samples = np.frombuffer(buffer, np.float32).reshape(n_frames, channels).copy()
        post(samples, bool(status.input_overflow), float(times.inputBufferAdcTime))

    return callback


def leave_portaudio_alone() -> None:
    """Its thread hangs in the driver, and so would whoever ended it in order at the end of the process."""
    import sounddevice

    atexit.unregister(sounddevice._exit_handler)


def _portaudio() -> Any:
    """The sounddevice module, which looks for PortAudio when it is imported.

    Raises:
        CaptureError: PortAudio is not installed.
    """
    try:
        import sounddevice
    except OSError as error:
        raise CaptureError(
            "PortAudio is missing, without which no microphone can be heard. Install it with: "
            "apt-get install libportaudio2"
        ) from error
    return sounddevice
