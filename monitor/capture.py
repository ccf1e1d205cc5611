"""The microphone: PortAudio blocks at the device's own rate, as frames of the stream.

PortAudio's thread copies a block, posts it to the event loop and returns. Whatever does not fit
between there and the consumer is dropped as a whole and reported as an :class:`AudioGap`: this is
the only place where the monitor drops audio.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from monitor.errors import CaptureError
from monitor.events import AudioFrame, AudioGap
from monitor.framer import Framer
from monitor.mailbox import Mailbox

logger = logging.getLogger(__name__)

MAX_LOST_S: Final = 10.0
"""An overflow that seems to have lost more than this is a driver whose clock cannot be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSettings:
    """The microphone."""

    device: int | str | None = None
    """Index, or part of the name; without it, the system's default."""
    channels: int = 1
    """Channels to open; their mean is heard. More helps where the voice is not on the first."""
    block_ms: int = 20
    """Audio that the driver delivers at a time: less is sooner, and costs more."""
    backlog_ms: int = 2_000
    """Audio that may wait for a slow monitor; beyond it, the oldest half is dropped."""

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= 64:
            raise ValueError(f"capture.channels ({self.channels}) must lie between 1 and 64.")
        if not 5 <= self.block_ms <= 200:
            raise ValueError(
                f"capture.block_ms ({self.block_ms}) must lie between 5 and 200: it adds to the "
                "time to a verdict."
            )
        if not 2 * self.block_ms <= self.backlog_ms <= 60_000:
            raise ValueError(
                f"capture.backlog_ms ({self.backlog_ms}) must be at least two blocks "
                f"({2 * self.block_ms}) and at most 60000: it bounds how late a verdict can be."
            )


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
    if not devices:
        raise CaptureError(
            f"there is no {wanted}: this machine has no microphone at all. "
            "Plug one in, or use --input FILE."
        )
    raise CaptureError(f"there is no {wanted}. There are: {_listed(devices)}.")


def _listed(devices: list[InputDevice]) -> str:
    return ", ".join(f"{device.index} {device.name!r}" for device in devices)


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    """First sample, counted at the device's rate with all that was lost."""
    lost: int
    """Samples that the driver lost just before."""
    overflow: bool
    samples: NDArray[np.float32]
    """``(samples, channels)``."""


class DeviceSource:
    """A microphone, from entry to exit of the context."""

    live = True

    def __init__(self, settings: CaptureSettings | None = None) -> None:
        self._settings = settings if settings is not None else CaptureSettings()
        self._device: InputDevice | None = None
        self._thread = ThreadPoolExecutor(1, "stser-capture")
        self._stream: Any = None
        self._blocks = _mailbox(self._settings)
        self._framer: Framer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._n_input = 0
        self._due_s = 0.0
        self._overflows = 0
        self._stopping = False

    @property
    def name(self) -> str:
        return self._device.name if self._device is not None else "microphone"

    @property
    def overflows(self) -> int:
        """How often the driver has reported lost audio."""
        return self._overflows

    async def __aenter__(self) -> Self:
        """Open the device; blocks wait in the mailbox from here on.

        Raises:
            CaptureError: PortAudio is missing, no such device, or it cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._thread, self._open)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self._loop is None:
            self._blocks.close()
        else:
            # Behind the blocks that have been posted already.
            self._loop.call_soon(self._blocks.close)

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        """Frames as they are captured, and gaps where audio was lost.

        Raises:
            CaptureError: The device has gone; after all that it delivered.
        """
        expected = 0
        async for block in self._blocks:
            if block.start > expected or block.overflow:
                dropped = block.start - block.lost > expected
                reason = "backlog" if dropped else "overflow"
                yield self._framer.gap(block.start - expected, reason)
            expected = block.start + len(block.samples)
            for frame in self._framer.push(block.samples):
                yield frame
        for frame in self._framer.flush():
            yield frame
        if not self._stopping:
            raise CaptureError(
                f"{self.name}: the microphone has stopped delivering: it was unplugged, or its "
                "audio server ended. Plug it in again and restart."
            )

    # --- on the capture thread ---

    def _open(self) -> None:
        portaudio = _portaudio()
        device = find_device(self._settings.device, list_devices())
        self._device = device
        channels = min(self._settings.channels, device.channels)
        rate_hz = device.sample_rate_hz
        try:
            self._framer = Framer(rate_hz, channels)
            self._stream = portaudio.RawInputStream(
                device=device.index,
                samplerate=rate_hz,
                channels=channels,
                dtype="float32",
                blocksize=rate_hz * self._settings.block_ms // 1000,
                callback=_poster(self._post, channels),
                finished_callback=self._finished,
            )
            self._stream.start()
        except (portaudio.PortAudioError, ValueError) as error:
            self._close()
            raise CaptureError(
                f"{device.name}: the microphone cannot be opened ({error.args[0]}). Another "
                "program may hold it; see --list-devices for others."
            ) from error
        logger.info("listening to %s (%d Hz, %d ch)", device.name, rate_hz, channels)

    def _close(self) -> None:
        if self._stream is not None:
            # Not stop(): it waits for the driver, which on a stalled device never comes back.
            self._stream.abort(ignore_errors=True)
            self._stream.close(ignore_errors=True)
            self._stream = None

    # --- on PortAudio's thread ---

    def _post(self, samples: NDArray[np.float32], overflow: bool, adc_s: float) -> None:
        self._call_soon(self._receive, samples, overflow, adc_s)

    def _finished(self) -> None:
        self._call_soon(self._blocks.close)

    def _call_soon(self, function: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        # A closed loop refuses: nobody listens any more, and PortAudio must not see an exception.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    # --- on the event loop ---

    def _receive(self, samples: NDArray[np.float32], overflow: bool, adc_s: float) -> None:
        if self._stopping:
            return
        assert self._device is not None
        rate_hz = self._device.sample_rate_hz
        lost = 0
        if overflow:
            self._overflows += 1
            late_s = adc_s - self._due_s
            lost = round(late_s * rate_hz) if 0 < late_s < MAX_LOST_S and self._due_s > 0 else 0
        self._blocks.offer(_Block(self._n_input + lost, lost, overflow, samples))
        self._n_input += lost + len(samples)
        # Some drivers know no time and say 0; then nobody knows how much was lost.
        self._due_s = adc_s + len(samples) / rate_hz if adc_s > 0 else 0.0


def _mailbox(settings: CaptureSettings) -> Mailbox[_Block]:
    capacity = settings.backlog_ms // settings.block_ms
    return Mailbox(capacity, bite=capacity // 2)


def _poster(
    post: Callable[[NDArray[np.float32], bool, float], None], channels: int
) -> Callable[[Any, int, Any, Any], None]:
    """PortAudio's callback: copy, post, return."""

    def callback(buffer: Any, n_frames: int, times: Any, status: Any) -> None:
        samples = np.frombuffer(buffer, np.float32).reshape(n_frames, channels).copy()
        post(samples, bool(status.input_overflow), float(times.inputBufferAdcTime))

    return callback


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
