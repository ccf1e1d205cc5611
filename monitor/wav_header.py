"""What a WAV file promises: libsndfile plays a truncated file without a word, so it is checked
here."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any, Final

UNKNOWN_LENGTH: Final = 0x7FFF_0000
"""From here on a length is a placeholder: sox (0x7FFFF000), ffmpeg (0xFFFFFFFF) and arecord
(0x80000000) write one to a pipe, where they cannot come back to note the length."""

MOST_CHUNKS: Final = 1_000
"""A file with more before its audio is given up: a large one of zeros would have millions."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """Where the audio of a WAV file lies."""

    data_start: int | None
    """Byte at which the audio begins; None where the file ends before."""
    data_bytes: int
    """Length of the audio as the header has it."""
    file_bytes: int

    @property
    def missing_bytes(self) -> int:
        """Audio that the header promises and the file does not hold."""
        if self.data_start is None or self.data_bytes >= UNKNOWN_LENGTH:
            return 0
        return max(0, self.data_start + self.data_bytes - self.file_bytes)

    @property
    def length_was_never_noted(self) -> bool:
        """True where the length is 0 although audio follows: a pipe, or a recorder that was
        killed."""
        return (
            self.data_start is not None
            and self.data_bytes == 0
            and self.file_bytes > self.data_start
        )


def read_wav_header(descriptor: int) -> WavHeader | None:
    """The header of the WAV file that is open at ``descriptor``; None where it is no WAV file, or where
    :data:`MOST_CHUNKS` come before the audio.

    Reads at absolute positions: the descriptor's own position stays.
    """
    file_bytes = os.fstat(descriptor).st_size
    start = os.pread(descriptor, 12, 0)
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE"[: len(start) - 8]:
        return None
    at = 12
    for _ in range(MOST_CHUNKS):
        chunk = os.pread(descriptor, 8, at)
        if len(chunk) < 8:
            return WavHeader(None, 0, file_bytes)
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return WavHeader(at + 8, length, file_bytes)
        at += 8 + length + length % 2  # chunks are padded to even lengths
    return None


class UnknownLengthFile(io.FileIO):
    """A WAV file whose length of 0 reads as "unknown", so that libsndfile reads to its end."""

    def __init__(self, descriptor: int, data_start: int) -> None:
        super().__init__(descriptor)
        self._length_at = data_start - 4

    def readinto(self, buffer: Any) -> int:
        """Read as any file does, with 0xFFFFFFFF where the length is."""
        view = memoryview(buffer).cast("B")
        at = self.tell()
        n = super().readinto(view) or 0
        for byte in range(max(at, self._length_at), min(at + n, self._length_at + 4)):
            view[byte - at] = 0xFF
        return n
