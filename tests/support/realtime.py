"""A recording in real time, as a source of the pipeline; and what sources and publishers are that open nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Self

from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, AudioFrame, AudioGap, Samples


class AlwaysOpen:
    """A part of the pipeline with nothing to open or close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None


class InRealTime(AlwaysOpen):
    """A recording as a microphone would deliver it: each frame when its last sample has been said.

    Args:
        samples: Shared by all that play it.
        name: Of the source.
        first: Sample to begin with; at the end, it goes round.
        n_samples: How much to play; None plays all of it once.
        begins_in_s: When.
    """

    live = True

    def __init__(
        self,
        samples: Samples,
        name: str = "recording",
        *,
        first: int = 0,
        n_samples: int | None = None,
        begins_in_s: float = 0.0,
    ) -> None:
        self.name = name
        self._samples = samples[: len(samples) - len(samples) % FRAME_SAMPLES]
        self._first = first - first % FRAME_SAMPLES
        self._n_samples = len(samples) if n_samples is None else n_samples
        self._begins_in_s = begins_in_s
        self.began_s = 0.0
        """``time.perf_counter()`` at the first sample."""

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        self.began_s = time.perf_counter() + self._begins_in_s
        for start in range(0, self._n_samples - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            due_s = self.began_s + (start + FRAME_SAMPLES) / SAMPLE_RATE_HZ
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            at = (self._first + start) % len(self._samples)
            yield AudioFrame(start, self._samples[at : at + FRAME_SAMPLES])

    def stop(self) -> None:
        return None
