"""Audio as it was heard, in files, where that is asked for; without it no audio is stored anywhere.

Frames are gathered for about a second, and written (:mod:`monitor.recordings`) on a thread of its own. What waits
for the disk is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from monitor.events import SAMPLE_RATE_HZ, AudioFrame
from monitor.recordings import Batch, Recordings, RecordSettings
from monitor.worker import NativeWorker

logger = logging.getLogger(__name__)

_WAITING_BATCHES: Final = 64
"""More than these, or than two of each stream, and live audio is left out rather than piled up in memory."""
_LOOK_EVERY_S: Final = 60.0
_PATIENCE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class RecordingHealth:
    """How the recording goes."""

    active: bool
    """False once the disk has failed."""
    written_s: float
    """Audio written so far, all streams."""
    lost_s: float
    """Audio that was not written, because the disk was too slow."""


class Recorder:
    """Keeps the audio of all streams. A disk that is full or fails ends the recording, and nothing else. One that hangs
    costs what it does not take, and holds nobody up for longer than ``patience_s``.

    Args:
        folder: Where; made where it is missing.
        settings: How much is kept.
        clock: Seconds since the epoch, for names and age.
        look_every_s: How often the folder is looked through for old files, heard or not.
        patience_s: A disk that takes nothing for so long hangs.

    Raises:
        UsageError: On entry, where the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        settings: RecordSettings,
        clock: Callable[[], float] = time.time,
        *,
        look_every_s: float = _LOOK_EVERY_S,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._folder = folder
        self._look_every_s = look_every_s
        self._patience_s = patience_s
        self._clock = clock
        self._recordings = Recordings(folder, settings, clock)
        # What may wait is bounded here: the end of a file is never refused.
        self._worker = NativeWorker("record", self._recordings.opened, capacity=sys.maxsize)
        self._batches: dict[str, Batch] = {}
        self._waiting = 0
        self._most_waiting = _WAITING_BATCHES
        self._lost = 0
        self._hangs = False

    async def __aenter__(self) -> Self:
        await self._worker.start()
        self._worker.post(Recordings.look)
        self._looking = asyncio.create_task(self._keep_looking(), name="look for old recordings")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._looking.cancel()
        try:
            # A disk that hangs holds the thread; the program ends without it.
            async with asyncio.timeout(self._patience_s):
                await self.settled()  # a disk that is behind would refuse the last seconds
                for stream in list(self._batches):
                    self.end(stream)
                await self._worker.call(Recordings.close)
                await self._worker.close()
        except TimeoutError:
            logger.warning(
                "the disk of %s does not answer; what it has not taken is not recorded. See whether it is still there.",
                self._folder,
            )

    @property
    def health(self) -> RecordingHealth:
        """How it goes at the moment."""
        recordings = self._recordings
        written_s, lost_s = recordings.samples / SAMPLE_RATE_HZ, self._lost / SAMPLE_RATE_HZ
        return RecordingHealth(not recordings.failed, written_s, lost_s)

    def feed(self, stream: str, frame: AudioFrame, *, waits: bool = False) -> bool:
        """Keep a frame; what is not fed leaves a hole, after which another file begins. Returns at once.

        Args:
            stream: Its name.
            frame: What was heard.
            waits: Whether the source can wait for the disk: nothing of it is left out, unless the disk hangs.

        Returns:
            Whether something was handed over to be written: a source that can wait does so, with :meth:`settled`.
        """
        batch = self._batches.get(stream)
        handed_over = batch is not None and (batch.end != frame.start or batch.full)
        if handed_over:
            self._hand_over(stream)
        if stream not in self._batches:
            began = self._clock() - len(frame.samples) / SAMPLE_RATE_HZ
            self._batches[stream] = Batch(began, frame.start, frame.start, waits)
            self._most_waiting = max(self._most_waiting, 2 * len(self._batches))
        self._batches[stream].add(frame)
        return handed_over

    def end(self, stream: str) -> None:
        """The stream is over: close its file."""
        if stream in self._batches:
            self._hand_over(stream)
        self._worker.post(lambda recordings: recordings.end(stream))

    async def settled(self) -> None:
        """Wait until all that was handed over is written, or the disk hangs."""
        if self._hangs:
            return
        try:
            async with asyncio.timeout(self._patience_s):
                await self._worker.call(lambda _: None)
        except TimeoutError:
            self._hangs = True

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            self._worker.post(Recordings.look)

    def _hand_over(self, stream: str) -> None:
        batch = self._batches.pop(stream)
        if (batch.waits and not self._hangs) or self._waiting < self._most_waiting:
            self._waiting += 1
            self._worker.post(lambda recordings: recordings.write(stream, batch), self._written)
            return
        if not self._lost:
            logger.warning(
                "the disk is too slow to record all that is heard: some of it is left out (/metrics counts it). "
                "Record on a faster disk (--record), or hear fewer streams."
            )
        self._lost += batch.end - batch.start

    def _written(self) -> None:
        self._waiting -= 1
        self._hangs = False
