"""Audio as it was heard, in WAV files, where that is asked for; without it no audio is stored anywhere.

``DIR/<stream>/<time>_<start>ms.wav``, mode 0600: when it began, and where on the stream's clock. A file holds audio
without holes: another one begins after what was not heard (muted, lost), and after ``segment_s``. Written on a
thread of its own, about every second, so that after ``kill -9`` every file can be played.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Self

import numpy as np

from monitor.errors import UsageError
from monitor.events import SAMPLE_RATE_HZ, AudioFrame, Samples, to_ms
from monitor.worker import NativeWorker
from stser_core.audio import float_to_pcm16

logger = logging.getLogger(__name__)

BATCH_SAMPLES: Final = SAMPLE_RATE_HZ
"""Samples that are written at once; as many may be lost with the process."""
_WAITING_BATCHES: Final = 64
"""More than these, or than two of each stream, and live audio is left out rather than piled up in memory."""
_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{3}Z_\d+ms\.wav")
_SAMPLE_BYTES: Final = 2
_HEADER_BYTES: Final = 44
_LOOK_EVERY_S: Final = 60.0
"""How often files are looked through for old ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """Audio that is kept. Nothing is, unless a folder is named."""

    folder: Path | None = None
    """Folder for what is heard; without it, no audio is stored."""
    max_age_h: float = 24.0
    """Older files are deleted."""
    max_mb: float = 1_024.0
    """More than this in all, and the oldest files are deleted. One stream is 115 MB an hour."""
    segment_s: float = 600.0
    """Length of a file at most."""

    def __post_init__(self) -> None:
        if self.max_age_h <= 0:
            raise ValueError(f"record.max_age_h ({self.max_age_h:g}) must be more than 0.")
        if self.max_mb < 1:
            raise ValueError(f"record.max_mb ({self.max_mb:g}) must be at least 1.")
        if not 1 <= self.segment_s <= 86_400:
            raise ValueError(f"record.segment_s ({self.segment_s:g}) must be from 1 to 86400.")


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
    """Keeps the audio of all streams. A disk that is full or fails ends the recording, and nothing else.

    Args:
        folder: Where; made where it is missing.
        settings: How much is kept.
        clock: Seconds since the epoch, for names and age.

    Raises:
        UsageError: On entry, where the folder cannot be written.
    """

    def __init__(
        self, folder: Path, settings: RecordSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._shelf = _Shelf(folder, settings, clock)
        # What may wait is bounded here: the end of a file is never refused.
        self._worker = NativeWorker("record", self._shelf.opened, capacity=sys.maxsize)
        self._batches: dict[str, _Batch] = {}
        self._waiting = 0
        self._most_waiting = _WAITING_BATCHES
        self._lost = 0

    async def __aenter__(self) -> Self:
        await self._worker.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.settled()  # a disk that is behind would refuse the last seconds
        for stream in list(self._batches):
            self.end(stream)
        await self._worker.call(_Shelf.close)
        await self._worker.close()

    @property
    def health(self) -> RecordingHealth:
        """How it goes at the moment."""
        shelf = self._shelf
        written_s, lost_s = shelf.samples / SAMPLE_RATE_HZ, self._lost / SAMPLE_RATE_HZ
        return RecordingHealth(not shelf.failed, written_s, lost_s)

    def feed(self, stream: str, frame: AudioFrame, *, waits: bool = False) -> bool:
        """Keep a frame; what is not fed leaves a hole, after which another file begins. Returns at once.

        Args:
            stream: Its name.
            frame: What was heard.
            waits: Whether the source can wait for the disk: nothing of it is left out.

        Returns:
            Whether something was handed over to be written: a source that can wait does so, with :meth:`settled`.
        """
        batch = self._batches.get(stream)
        handed_over = batch is not None and (batch.end != frame.start or batch.full)
        if handed_over:
            self._hand_over(stream)
        if stream not in self._batches:
            began = self._clock() - len(frame.samples) / SAMPLE_RATE_HZ
            self._batches[stream] = _Batch(began, frame.start, frame.start, waits)
            self._most_waiting = max(self._most_waiting, 2 * len(self._batches))
        self._batches[stream].add(frame)
        return handed_over

    def end(self, stream: str) -> None:
        """The stream is over: close its file."""
        if stream in self._batches:
            self._hand_over(stream)
        self._worker.post(lambda shelf: shelf.end(stream))

    async def settled(self) -> None:
        """Wait until all that was handed over is written."""
        await self._worker.call(lambda _: None)

    def _hand_over(self, stream: str) -> None:
        batch = self._batches.pop(stream)
        if batch.waits or self._waiting < self._most_waiting:
            self._waiting += 1
            self._worker.post(lambda shelf: shelf.write(stream, batch), self._written)
            return
        if not self._lost:
            logger.warning(
                "the disk is too slow to record all that is heard: some of it is left out (/metrics counts it). "
                "Record on a faster disk (--record), or hear fewer streams."
            )
        self._lost += batch.end - batch.start

    def _written(self) -> None:
        self._waiting -= 1


@dataclass(slots=True)
class _Batch:
    """Audio without holes, on its way to the disk."""

    began: float
    """Seconds since the epoch at its first sample."""
    start: int
    end: int
    waits: bool
    """Its source waits until it is written."""
    frames: list[Samples] = field(default_factory=list)

    def add(self, frame: AudioFrame) -> None:
        self.frames.append(frame.samples)
        self.end += len(frame.samples)

    @property
    def full(self) -> bool:
        return self.end - self.start >= BATCH_SAMPLES


@dataclass(slots=True)
class _OpenFile:
    path: Path
    raw: BinaryIO
    wav: wave.Wave_write
    start: int
    end: int

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk
            self.wav.close()
        with contextlib.suppress(OSError):
            self.raw.close()


class _Shelf:
    """The folder and the files that are open. Used on the recorder's thread."""

    def __init__(self, folder: Path, settings: RecordSettings, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._files: dict[str, _OpenFile] = {}
        self._bytes = 0
        """Of all files, as of the last look at the folder and what was written since."""
        self._looked: float | None = None
        self.samples = 0
        self.failed = False

    def opened(self) -> Self:
        """Make the folder, and see that it can be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self._folder / f".{os.getpid()}.probe"
            probe.touch(0o600)
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"--record {self._folder}: cannot be written ({error.strerror}). Name a folder that you may write to."
            ) from error
        return self

    def write(self, stream: str, batch: _Batch) -> None:
        """Add to the stream's file, or begin one."""
        if self.failed:
            return
        try:
            pcm = float_to_pcm16(np.concatenate(batch.frames)).tobytes()
            self._make_room(len(pcm) + _HEADER_BYTES)
            file = self._file_for(stream, batch)
            file.wav.writeframes(pcm)
            file.raw.flush()
        except OSError as error:
            self._fail(error)
            return
        self._bytes += len(pcm)
        file.end = batch.end
        self.samples += batch.end - batch.start

    def end(self, stream: str) -> None:
        file = self._files.pop(stream, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        for stream in list(self._files):
            self.end(stream)

    def _file_for(self, stream: str, batch: _Batch) -> _OpenFile:
        file = self._files.get(stream)
        longest = self._settings.segment_s * SAMPLE_RATE_HZ
        if file is not None and (file.end != batch.start or batch.end - file.start > longest):
            self.end(stream)
            file = None
        if file is None:
            file = self._files[stream] = self._begin(stream, batch)
        return file

    def _begin(self, stream: str, batch: _Batch) -> _OpenFile:
        folder = self._folder / stream
        folder.mkdir(exist_ok=True, mode=0o700)
        at = datetime.fromtimestamp(batch.began, UTC)
        name = f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z_{to_ms(batch.start)}ms.wav"
        path = folder / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        raw = os.fdopen(descriptor, "wb")
        # Its writeframes() corrects the header each time.
        wav = wave.open(raw, "wb")  # noqa: SIM115
        wav.setnchannels(1)
        wav.setsampwidth(_SAMPLE_BYTES)
        wav.setframerate(SAMPLE_RATE_HZ)
        return _OpenFile(path, raw, wav, batch.start, batch.start)

    def _make_room(self, size: int) -> None:
        """Delete what is too old, and the oldest of what would be too much."""
        now, limit = self._clock(), self._settings.max_mb * 1e6
        looked_lately = self._looked is not None and 0 <= now - self._looked < _LOOK_EVERY_S
        if looked_lately and self._bytes + size <= limit:
            return
        self._looked = now
        too_old = now - self._settings.max_age_h * 3_600
        found = sorted(
            (path.stat().st_mtime, path.name, path)
            for path in self._folder.glob("*/*.wav")
            if _NAME.fullmatch(path.name)
        )
        self._bytes = sum(path.stat().st_size for *_, path in found)
        for changed, _, path in found:
            if changed < too_old or self._bytes + size > limit:
                self._bytes -= path.stat().st_size
                self._delete(path)

    def _delete(self, path: Path) -> None:
        for stream, file in list(self._files.items()):
            if file.path == path:
                self.end(stream)
        path.unlink(missing_ok=True)

    def _fail(self, error: OSError) -> None:
        logger.error(
            "recording to %s has stopped (%s); the monitor goes on. Make room on the disk, or name another folder, "
            "and start it again.",
            self._folder,
            error.strerror,
        )
        self.failed = True
        self.close()
