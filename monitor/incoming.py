"""Audio that a client sends, as a source like the microphone: same frames, same segments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from monitor.events import SAMPLE_RATE_HZ, AudioFrame, AudioGap, DeviceHappening
from monitor.framer import Framer

FRAMES_AT_A_TIME: Final = 25
"""Half a second; then the event loop gets its turn, however much a client sends at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSettings:
    """Audio that clients send to ``/audio``."""

    enabled: bool = True
    """False takes none."""
    max_streams: int = 8
    """Streams of clients at once; the next one is answered 503."""
    idle_timeout_s: float = 60.0
    """A client that sends nothing for so long is dropped."""
    max_message_bytes: int = 1 << 20
    """Longest message: half a minute of audio at 16 kHz."""

    def __post_init__(self) -> None:
        if self.max_streams < 1:
            raise ValueError(
                f"audio.max_streams ({self.max_streams}) must be at least 1; audio.enabled = false takes none."
            )
        if self.idle_timeout_s <= 0:
            raise ValueError(f"audio.idle_timeout_s ({self.idle_timeout_s:g}) must be more than 0.")
        if self.max_message_bytes < 2:
            raise ValueError(
                f"audio.max_message_bytes ({self.max_message_bytes}) must be at least 2: one sample."
            )


class IncomingAudio:
    """Headerless mono PCM16, little-endian, in messages of any length.

    :meth:`hear` returns when the message was heard, so a client that sends faster than the monitor works has to
    wait, and at most one message is held.
    """

    live = False

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self._rate_hz = SAMPLE_RATE_HZ
        self._framer: Framer | None = None
        self._message = b""
        self._stopped = False
        self._news = asyncio.Event()
        self._idle = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._stopped = True
        self._idle.set()

    def set_rate(self, rate_hz: int) -> None:
        """Rate of the messages that come; before the first of them.

        Raises:
            ValueError: It lies out of range, or audio has come already.
        """
        if self._framer is not None:
            raise ValueError("the sample rate cannot change once audio has come")
        Framer(rate_hz, 1)
        self._rate_hz = rate_hz

    async def hear(self, message: bytes) -> None:
        """Have a message heard; one at a time.

        Raises:
            ValueError: It ends within a sample.
        """
        if len(message) % 2:
            raise ValueError(f"PCM16 has two bytes a sample, and {len(message)} bytes came")
        if self._stopped:
            return
        self._message = message
        self._idle.clear()
        self._news.set()
        await self._idle.wait()

    def stop(self) -> None:
        self._stopped = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap | DeviceHappening]:
        while not self._stopped or self._message:
            await self._news.wait()
            self._news.clear()
            message, self._message = self._message, b""
            for number, frames in enumerate(self._cut(message)):
                if number:
                    await asyncio.sleep(0)
                yield frames
            self._idle.set()
        for frame in self._framer.flush() if self._framer is not None else []:
            yield frame

    def _cut(self, message: bytes) -> list[AudioFrame]:
        if self._framer is None:
            self._framer = Framer(self._rate_hz, 1, at_a_time=FRAMES_AT_A_TIME)
        return self._framer.push(np.frombuffer(message, "<i2").reshape(-1, 1))
