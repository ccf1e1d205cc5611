"""The microphone: PortAudio blocks at the device's own rate, as frames of the stream.

PortAudio's thread copies a block, posts it to the event loop and returns. Whatever does not fit
between there and the consumer is dropped as a whole and reported as an :class:`AudioGap`: this is
the only place where the monitor drops audio.

A device that ends, or delivers nothing although it is open, is looked for until it is back. The time without
it is a gap on the stream clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from monitor.capture_process import InputProcess
from monitor.device_health import DeviceHealth
from monitor.errors import CaptureError
from monitor.events import (
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    DeviceHappening,
    DeviceLost,
    DeviceRecovered,
)
from monitor.framer import Framer
from monitor.mailbox import Mailbox
from monitor.portaudio import Input, InputDevice, leave_portaudio_alone
from monitor.worker import NativeWorker

logger = logging.getLogger(__name__)

MAX_LOST_S: Final = 10.0
"""An overflow that seems to have lost more than this is a driver whose clock cannot be trusted."""

RETRY_LEAST_S: Final = 0.25
RETRY_MOST_S: Final = 4.0
"""Wait between two looks for a device that is away; it doubles from the least to the most."""

NO_DEVICE: Final = "none"
"""The choice of no microphone at all."""

FAREWELL_S: Final = 2.0
"""A driver that does not close its device in this time is left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSettings:
    """The microphone."""

    device: tuple[int | str, ...] | int | str | None = None
    """Index, or part of the name; a list for several microphones, each a stream of its own; 'none' for audio of
    clients only. Without it, the system's default."""
    channels: int = 1
    """Channels to open; their mean is heard. More helps where the voice is not on the first."""
    block_ms: int = 20
    """Audio that the driver delivers at a time: less is sooner, and costs more."""
    backlog_ms: int = 2_000
    """Audio that may wait for a slow monitor; beyond it, all but the newest eighth is dropped."""
    wait_for_device: bool = False
    """True waits at the start for a microphone that is not there, or that another program holds; False ends with an
    error."""
    stalled_after_s: float = 2.0
    """A microphone that delivers nothing for so long is opened again."""
    quiet_after_s: float = 10.0
    """A microphone that is muted or silent for so long is reported."""

    def __post_init__(self) -> None:
        if isinstance(self.device, tuple) and not self.device:
            raise ValueError("capture.device is an empty list. Name a microphone, or leave it out.")
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
        if not 0.5 <= self.stalled_after_s <= 60:
            raise ValueError(
                f"capture.stalled_after_s ({self.stalled_after_s:g}) must lie between 0.5 and 60: "
                "less takes a busy machine for a fault, more loses what is said meanwhile."
            )
        if not 1 <= self.quiet_after_s <= 3_600:
            raise ValueError(
                f"capture.quiet_after_s ({self.quiet_after_s:g}) must lie between 1 and 3600."
            )

    @property
    def devices(self) -> tuple[int | str | None, ...]:
        """The choice of each microphone; None for the system's default."""
        if self.device == NO_DEVICE:
            return ()
        return self.device if isinstance(self.device, tuple) else (self.device,)


Microphone = Input | InputProcess


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    """First sample, counted at the device's rate with all that was lost."""
    lost: int
    """Samples that the driver lost just before."""
    overflow: bool
    samples: NDArray[np.float32]
    """``(samples, channels)``."""


@dataclass(slots=True)
class _Take:
    """What one opening of the device has delivered. Event-loop thread only."""

    blocks: Mailbox[_Block]
    rate_hz: int = SAMPLE_RATE_HZ
    n_input: int = 0
    due_s: float = 0.0
    """Time of the driver at which the next block begins; 0 where it knows no time."""
    last_s: float = 0.0
    """Time of the loop at which the last block came."""

    def receive(
        self, samples: NDArray[np.float32], overflow: bool, adc_s: float, now_s: float
    ) -> None:
        """Put a block where the consumer finds it."""
        lost = 0
        if overflow:
            late_s = adc_s - self.due_s
            trusted = 0 < late_s < MAX_LOST_S and self.due_s > 0
            lost = round(late_s * self.rate_hz) if trusted else 0
        self.blocks.offer(_Block(self.n_input + lost, lost, overflow, samples))
        self.n_input += lost + len(samples)
        self.last_s = now_s
        # Some drivers know no time and say 0; then nobody knows how much was lost.
        self.due_s = adc_s + len(samples) / self.rate_hz if adc_s > 0 else 0.0


class DeviceSource:
    """A microphone, from entry to exit of the context."""

    live = True

    def __init__(
        self, settings: CaptureSettings | None = None, *, own_process: bool = False
    ) -> None:
        """Nothing is opened yet.

        Args:
            settings: Of this microphone.
            own_process: Keeps its PortAudio apart from that of other microphones.
        """
        self._settings = settings if settings is not None else CaptureSettings()
        (self._choice,) = self._settings.devices
        self._worker = NativeWorker[Microphone](
            "stser-capture", InputProcess if own_process else Input, capacity=1
        )
        self._device: InputDevice | None = None
        self._take = self._new_take()
        self._framer = Framer(SAMPLE_RATE_HZ, 1)
        self._health = DeviceHealth(self._settings.quiet_after_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._absent = False
        self._lost_s = 0.0
        """Time of the loop since which nothing is heard."""
        self._times_lost = 0

    @property
    def name(self) -> str:
        return self._device.name if self._device is not None else "microphone"

    async def __aenter__(self) -> Self:
        """Open the device; blocks wait in the mailbox from here on.

        Raises:
            CaptureError: PortAudio is missing, no such device, or it cannot be opened; the last two
                only where ``capture.wait_for_device`` is false.
        """
        self._loop = asyncio.get_running_loop()
        self._lost_s = self._loop.time()
        await self._worker.start()
        try:
            await self._open()
        except CaptureError as error:
            if not self._settings.wait_for_device:
                await self._worker.close()
                raise
            self._absent = True
            logger.warning("%s Waiting for it.", error)
        except BaseException:
            await self._worker.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._stopping.set()
        try:
            # An audio server that hangs holds the thread; the program ends without it.
            async with asyncio.timeout(FAREWELL_S):
                await self._worker.call(lambda native: native.close())
                await self._worker.close()
        except TimeoutError:
            logger.warning("%s: its driver does not answer; left as it is", self.name)
            leave_portaudio_alone()

    def stop(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._loop is None:
            self._take.blocks.close()
        else:
            # Behind the blocks that have been posted already.
            self._loop.call_soon(self._take.blocks.close)

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap | DeviceHappening]:
        """Frames as they are captured, gaps where audio was lost, and what happened to the device."""
        reason = "absent" if self._absent else ""
        while True:
            if not reason:
                async for heard in self._hear():
                    yield heard
            if self._stopping.is_set():
                break
            reason = reason or ("ended" if self._take.blocks.closed else "stalled")
            # Closes an open segment, and lets go of what cannot be joined to what comes.
            yield self._framer.gap(0, "lost")
            yield self._lost(reason)
            attempts = await self._find_again()
            if not attempts:
                break
            for happening in self._recovered(attempts):
                yield happening
            reason = ""
        for frame in self._framer.flush():
            yield frame

    async def _hear(self) -> AsyncIterator[AudioFrame | AudioGap | DeviceHappening]:
        """What the device delivers until it stops to."""
        expected = 0
        blocks = self._take.blocks
        while await self._delivers():
            block = blocks.take()
            if block.start > expected or block.overflow:
                dropped = block.start - block.lost > expected
                reason = "backlog" if dropped else "overflow"
                yield self._framer.gap(block.start - expected, reason)
            expected = block.start + len(block.samples)
            for frame in self._framer.push(block.samples):
                yield frame
                for happening in self._health.push(frame, self.name):
                    yield happening
            if len(blocks):
                await asyncio.sleep(0)  # behind: no stream holds up the others' verdicts

    async def _delivers(self) -> bool:
        """Wait for a block; False where the stream has ended or has stalled."""
        if len(self._take.blocks):
            return True
        try:
            async with asyncio.timeout(self._settings.stalled_after_s):
                return await self._take.blocks.ready()
        except TimeoutError:
            # What a busy loop has not handed over yet is no stall of the device.
            await asyncio.sleep(0)
            return len(self._take.blocks) > 0

    def _lost(self, reason: str) -> DeviceLost:
        if self._take.last_s:
            self._lost_s = self._take.last_s
        self._times_lost += 1
        self._health.interrupted()
        if reason != "absent":
            logger.warning("%s: lost (%s); looking for it", self.name, reason)
        return DeviceLost(self.name, reason, self._times_lost, self._framer.clock)

    async def _find_again(self) -> int:
        """Open the device until it delivers; how many attempts it took, or 0 where told to stop."""
        attempts, wait_s = 0, RETRY_LEAST_S
        reasons: set[str] = set()
        while not self._stopping.is_set():
            attempts += 1
            try:
                # A device that is open, but stalled, is known by its silence only.
                if await self._unless_stopped(self._reopen()) and await self._delivers():
                    return attempts
            except CaptureError as error:
                if str(error) not in reasons:  # each once: this may go on for days
                    reasons.add(str(error))
                    logger.info("%s: still away: %s", self.name, error)
            if await self._stops_within(wait_s):
                break
            wait_s = min(2 * wait_s, RETRY_MOST_S)
        return 0

    async def _reopen(self) -> bool:
        await self._worker.call(lambda native: native.close())
        await self._worker.call(lambda native: native.list_anew())
        await self._open()
        return True

    def _recovered(self, attempts: int) -> list[DeviceHappening | AudioGap]:
        assert self._device is not None
        take = self._take
        first_s = take.last_s - take.n_input / take.rate_hz
        start = self._framer.clock
        length = max(0, round((first_s - self._lost_s) * SAMPLE_RATE_HZ))
        logger.info("listening to %s again after %.1f s", self.name, length / SAMPLE_RATE_HZ)
        self._framer = Framer(take.rate_hz, self._channels(self._device), start=start + length)
        return [
            AudioGap(start, length, "lost"),
            DeviceRecovered(self.name, attempts, length, start + length),
        ]

    async def _unless_stopped(self, work: Awaitable[bool]) -> bool:
        """The result; False where told to stop first. An audio server that hangs never answers."""
        working = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return working.done() and working.result()
        finally:
            stopped.cancel()
            working.cancel()

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    # --- between the loop and PortAudio --------------------------------------------------------

    async def _open(self) -> None:
        """A new take of the device.

        Raises:
            CaptureError: No such device, or it cannot be opened.
        """
        take, loop = self._new_take(), asyncio.get_running_loop()

        def call_soon(function: Callable[..., None], *arguments: Any) -> None:
            # A closed loop refuses: nobody listens any more, and PortAudio must not see an exception.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(function, *arguments)

        def post(samples: NDArray[np.float32], overflow: bool, adc_s: float) -> None:
            call_soon(take.receive, samples, overflow, adc_s, loop.time())

        def finished() -> None:
            call_soon(take.blocks.close)

        settings, choice, before = self._settings, self._choice, self._device
        device = await self._worker.call(
            lambda native: native.open(
                choice,
                before,
                channels=settings.channels,
                block_ms=settings.block_ms,
                post=post,
                finished=finished,
            )
        )
        take.rate_hz = device.sample_rate_hz
        if self._device is None:
            self._framer = Framer(
                device.sample_rate_hz, self._channels(device), start=self._framer.clock
            )
        self._take, self._device = take, device
        if self._stopping.is_set():  # stop() has closed the take before this one
            take.blocks.close()
        logger.debug("%s is open (%d Hz)", device.name, device.sample_rate_hz)

    def _channels(self, device: InputDevice) -> int:
        return min(self._settings.channels, device.channels)

    def _new_take(self) -> _Take:
        capacity = self._settings.backlog_ms // self._settings.block_ms
        return _Take(Mailbox(capacity, bite=max(1, capacity - capacity // 8)))
