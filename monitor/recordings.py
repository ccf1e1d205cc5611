"""A folder of recordings: ``<stream>/<time>_<start>ms.wav``, mode 0600, and the files of it that are being written.

A file's name says when it began, and where on the stream's clock. It holds audio without holes: another one begins
after what was not heard (muted, lost), and after ``segment_s``, or less where many streams share ``max_mb``. Its
header is right after every write, so that after ``kill -9`` every file can be played. Used on one thread: disks may
be slow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Self

import numpy as np

from monitor.errors import UsageError
from monitor.events import SAMPLE_RATE_HZ, AudioFrame, Samples, to_ms
from monitor.retention import Retention
from stser_core.audio import float_to_pcm16

logger = logging.getLogger(__name__)

BATCH_SAMPLES: Final = SAMPLE_RATE_HZ
"""Samples that are written at once; as many may be lost with the process."""
_NAMES: Final = re.compile(r"\d{8}T\d{6}\.\d{3}Z_\d+ms\.wav")
_SAMPLE_BYTES: Final = 2
_HEADER_BYTES: Final = 44


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
    """Length of a file at most; less where many streams share ``max_mb``."""

    def __post_init__(self) -> None:
        if self.max_age_h <= 0:
            raise ValueError(f"record.max_age_h ({self.max_age_h:g}) must be more than 0.")
        if self.max_mb < 1:
            raise ValueError(f"record.max_mb ({self.max_mb:g}) must be at least 1.")
        if not 1 <= self.segment_s <= 86_400:
            raise ValueError(f"record.segment_s ({self.segment_s:g}) must be from 1 to 86400.")


@dataclass(slots=True)
class Batch:
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


class Recordings:
    """The folder, and the file of each stream that is open.

    Args:
        folder: Where; made where it is missing.
        settings: How much is kept.
        clock: Seconds since the epoch, for names and age.
    """

    def __init__(self, folder: Path, settings: RecordSettings, clock: Callable[[], float]) -> None:
        self.folder = folder
        self.samples = 0
        """Written so far, all streams."""
        self.failed = False
        self._settings = settings
        self._retention = Retention(
            folder,
            _NAMES,
            max_age_s=settings.max_age_h * 3_600,
            max_bytes=settings.max_mb * 1e6,
            clock=clock,
        )
        self._files: dict[str, _OpenFile] = {}

    def opened(self) -> Self:
        """Make the folder, and see that it can be written.

        Raises:
            UsageError: It cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.folder / f".{os.getpid()}.probe"
            probe.touch(0o600)
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"--record {self.folder}: cannot be written ({error.strerror}). Name a folder that you may write to."
            ) from error
        return self

    def write(self, stream: str, batch: Batch) -> None:
        """Add to the stream's file, or begin one."""
        if self.failed:
            return
        try:
            pcm = float_to_pcm16(np.concatenate(batch.frames)).tobytes()
            self._close(self._retention.make_room(len(pcm) + _HEADER_BYTES))
            file = self._file_for(stream, batch)
            file.wav.writeframes(pcm)
            file.raw.flush()
        except OSError as error:
            self._fail(error)
            return
        file.end = batch.end
        self.samples += batch.end - batch.start

    def look(self) -> None:
        """Delete what is too old or too much, also where nothing is written, or can be."""
        self._close(self._retention.look())

    def end(self, stream: str) -> None:
        """Close the stream's file."""
        file = self._files.pop(stream, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        for stream in list(self._files):
            self.end(stream)

    def _file_for(self, stream: str, batch: Batch) -> _OpenFile:
        file = self._files.get(stream)
        if file is not None and (file.end != batch.start or batch.end - file.start > self._longest):
            self.end(stream)
            file = None
        if file is None:
            file = self._files[stream] = self._begin(stream, batch)
        return file

    @property
    def _longest(self) -> float:
        """Samples of a file. Those open are a quarter of ``max_mb`` together: others are there to be deleted."""
        share = self._settings.max_mb * 1e6 / 4 / len(self._files) / _SAMPLE_BYTES
        return min(self._settings.segment_s * SAMPLE_RATE_HZ, share)

    def _begin(self, stream: str, batch: Batch) -> _OpenFile:
        folder = self.folder / stream
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

    def _close(self, deleted: set[Path]) -> None:
        for stream, file in list(self._files.items()):
            if file.path in deleted:
                self.end(stream)

    def _fail(self, error: OSError) -> None:
        logger.error(
            "recording to %s has stopped (%s); the monitor goes on. Make room on the disk, or name another folder, "
            "and start it again.",
            self.folder,
            error.strerror,
        )
        self.failed = True
        self.close()


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
