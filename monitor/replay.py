"""Recorded or piped audio as a source like the microphone: same frames, same segments."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import stat
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final, Literal, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from monitor.errors import UsageError
from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, AudioFrame, AudioGap
from monitor.framer import Framer
from monitor.wav_header import UnknownLengthFile, read_wav_header

logger = logging.getLogger(__name__)

BLOCK_MS: Final = 100
"""Audio read at a time; the event loop gets its turn after each block."""

BLOCK_FRAMES: Final = BLOCK_MS * SAMPLE_RATE_HZ // 1000 // FRAME_SAMPLES

BLOCK_BYTES: Final = 2 * SAMPLE_RATE_HZ * BLOCK_MS // 1000
"""The same of mono PCM16 at the monitor's own rate."""

FRAME_S: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ

OPEN_ENDED: Final = frozenset({"MP3", "OGG"})
"""Formats that are streams of packets: a shorter one is a complete, shorter one."""

CONTAINERS: Final = (
    (0, b"RIFF", "a WAV file"),
    (0, b"fLaC", "a FLAC file"),
    (0, b"OggS", "an Ogg file"),
    (0, b"ID3", "an MP3 file"),
    (4, b"ftyp", "an MP4 or M4A file"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
)
"""What files of audio begin with: where, the bytes, and what it is then."""

Pace = Literal["realtime", "max"]


def container_of(head: bytes) -> str | None:
    """What a file with these first bytes is; None for none of :data:`CONTAINERS`."""
    named = (what for at, mark, what in CONTAINERS if head[at : at + len(mark)] == mark)
    return next(named, None)


class FileSource:
    """An audio file: WAV, FLAC, Ogg, Opus, MP3 and whatever else libsndfile reads.

    It is never dropped: it waits for its consumer. At real-time pace, each frame comes when its
    last sample would have been captured; a consumer that was late gets what has become due at once,
    so that the file does not drift.
    """

    live = False

    def __init__(self, path: Path, pace: Pace = "max") -> None:
        self._path = path
        self.pace: Final = pace
        self._stopped = False
        self._resources = ExitStack()
        self._file: soundfile.SoundFile
        self._framer: Framer

    @property
    def name(self) -> str:
        return self._path.name

    async def __aenter__(self) -> Self:
        """Open the file and look at its beginning and its end.

        Raises:
            UsageError: It cannot be used; says why.
        """
        with ExitStack() as stack:
            self._file = _opened(self._path, stack)
            try:
                self._framer = Framer(
                    self._file.samplerate,
                    self._file.channels,
                    at_a_time=1 if self.pace == "realtime" else BLOCK_FRAMES,
                )
            except ValueError as error:
                raise UsageError(f"{self._path}: {error} Convert the file first.") from error
            self._resources = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._resources.close()

    def stop(self) -> None:
        self._stopped = True

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        """The frames of the file.

        Raises:
            UsageError: The file is damaged further on.
        """
        started_s = asyncio.get_running_loop().time()
        for frames in self._blocks():
            for frame in frames:
                if self.pace == "realtime":
                    await self._wait_until_due(frame, started_s)
                if self._stopped:
                    return
                yield frame
            await asyncio.sleep(0)

    async def _wait_until_due(self, frame: AudioFrame, started_s: float) -> None:
        due_s = started_s + frame.start / SAMPLE_RATE_HZ + FRAME_S
        await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))

    def _blocks(self) -> Iterator[list[AudioFrame]]:
        n_block = self._file.samplerate * BLOCK_MS // 1000
        while len(chunk := self._read(n_block)):
            yield self._framer.push(chunk)
        yield self._framer.flush()

    def _read(self, n: int) -> NDArray[np.float32]:
        try:
            chunk: NDArray[np.float32] = self._file.read(n, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            at_s = self._file.tell() / self._file.samplerate
            raise UsageError(
                f"{self._path}: damaged after {at_s:.1f} s ({_said(error)}). "
                "What came before has been analysed; convert or copy the file anew."
            ) from error
        return chunk


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read from its beginning to its end.

    soundfile seeks after every read, to where it is already. A decoder of MP3 starts anew at a
    seek, without the bits that the packets before carried over: what follows would be silence.
    """

    def seekable(self) -> bool:
        return False


def _opened(path: Path, stack: ExitStack) -> soundfile.SoundFile:
    """The file, known to have audio up to its end; ``stack`` closes it.

    Raises:
        UsageError: Naming the path, what is wrong with it and what would do.
    """
    descriptor = _descriptor(path)
    closing = stack.enter_context(ExitStack())
    closing.callback(os.close, descriptor)
    header = read_wav_header(descriptor)
    if header is not None and header.data_start is None:
        raise UsageError(
            f"{path}: truncated: it ends after {header.file_bytes} bytes, within the WAV header. "
            "Copy or record it again."
        )
    if header is not None and header.missing_bytes:
        raise UsageError(
            f"{path}: truncated: its header promises {header.data_bytes} bytes of audio, "
            f"{header.missing_bytes} are missing. Copy it again, or repair it with: "
            f"sox --ignore-length {path} repaired.wav"
        )
    source: int | UnknownLengthFile = descriptor
    if header is not None and header.data_start is not None and header.length_was_never_noted:
        closing.pop_all()  # from here on, the file object closes it
        source = stack.enter_context(UnknownLengthFile(descriptor, header.data_start))
    try:
        file = stack.enter_context(SequentialFile(source, closefd=False))
    except soundfile.LibsndfileError as error:
        what = container_of(os.pread(descriptor, 12, 0))
        raise UsageError(
            f"{path}: not audio that can be read ({f'{what}: ' if what else ''}{_said(error)}). "
            "Use WAV, FLAC, Ogg, Opus or MP3, or convert it with: ffmpeg -i IN out.wav"
        ) from error
    _check_end(path, file)
    return file


def _descriptor(path: Path) -> int:
    """The path, open for reading.

    Raises:
        UsageError: It is missing, not a file, empty, or not ours to read.
    """
    try:
        # A named pipe would block here until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{path}: cannot be opened ({reason}). Check the path given to --input."
        ) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size > 0:
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path}: is a folder. Name one audio file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(
            f"{path}: is not a file. Pipe 16 kHz mono PCM16 into standard input instead, "
            "with --input -."
        )
    raise UsageError(f"{path}: has no audio: the file is empty. Copy or record it again.")


def _check_end(path: Path, file: soundfile.SoundFile) -> None:
    """Refuse a file without audio, and one whose last sample is not there."""
    if file.frames == 0:
        raise UsageError(f"{path}: has no audio: its length is zero. Copy or record it again.")
    if file.format in OPEN_ENDED:
        return
    try:
        file.seek(file.frames - 1)
        complete = len(file.read(1)) == 1
        file.seek(0)
    except soundfile.LibsndfileError:
        complete = False
    if not complete:
        raise UsageError(
            f"{path}: truncated or damaged: its header promises "
            f"{file.frames / file.samplerate:.1f} s of audio, and the end of it cannot be read. "
            "Copy or record it again."
        )


def _said(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(". ").lower()


class PipeSource:
    """Headerless mono PCM16 at 16 kHz, little-endian, on standard input, at the pace at which it is written.

    It is read as fast as it is consumed, so whoever writes has to wait for a slow consumer, as for
    any pipe. A thread of its own waits for input, because the event loop cannot wait for every kind
    of it.
    """

    live = False

    def __init__(self, stdin: BinaryIO) -> None:
        self._stdin = stdin
        self._framer = Framer(SAMPLE_RATE_HZ, 1, at_a_time=BLOCK_FRAMES)
        self._rest = b""
        self._stopped = False
        self._resources = ExitStack()
        self._reader: ThreadPoolExecutor
        self._descriptor = self._wake_in = self._wake_out = -1

    @property
    def name(self) -> str:
        return "standard input"

    async def __aenter__(self) -> Self:
        """Get ready to read.

        Raises:
            UsageError: Standard input is closed, or is a terminal.
        """
        try:
            self._descriptor = self._stdin.fileno()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"standard input is not open ({error}). Pipe PCM16 into it."
            ) from error
        if os.isatty(self._descriptor):
            raise UsageError(
                "standard input is a terminal, and --input - reads PCM16 audio. Pipe it in, for "
                "instance: ffmpeg -i talk.mp3 -f s16le -ar 16000 -ac 1 - | stser-monitor --input -"
            )
        self._wake_out, self._wake_in = os.pipe()
        self._resources.callback(os.close, self._wake_out)
        self._resources.callback(os.close, self._wake_in)
        self._reader = self._resources.enter_context(ThreadPoolExecutor(1, "stser-stdin"))
        self._resources.callback(self.stop)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._resources.close()

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            if self._wake_in >= 0:
                os.write(self._wake_in, b"x")

    async def __aiter__(self) -> AsyncIterator[AudioFrame | AudioGap]:
        """The frames of what comes in until it ends.

        Raises:
            UsageError: Nothing came, or it is a file with a header.
        """
        loop = asyncio.get_running_loop()
        heard = False
        while data := await loop.run_in_executor(self._reader, self._read):
            if not heard and (what := container_of(data)):
                raise UsageError(
                    f"standard input is {what}, and --input - reads headerless PCM16. Give its path "
                    "to --input, or convert it with: ffmpeg -i FILE -f s16le -ar 16000 -ac 1 -"
                )
            heard = True
            for frame in self._framer.push(self._samples(data)):
                yield frame
        if not heard and not self._stopped:
            raise UsageError(
                "standard input has no audio: it ended before the first sample. Check the program "
                "that writes to the pipe."
            )
        if self._rest:
            logger.warning("standard input ended within a sample: %d byte(s)", len(self._rest))
        for frame in self._framer.flush():
            yield frame

    def _read(self) -> bytes:
        """The next bytes as soon as there are any; none at the end or after :meth:`stop`."""
        if self._stopped:
            return b""
        ready, _, _ = select.select([self._descriptor, self._wake_out], [], [])
        return b"" if self._wake_out in ready else os.read(self._descriptor, BLOCK_BYTES)

    def _samples(self, data: bytes) -> NDArray[np.int16]:
        """Whole samples, ``(samples, 1)``; half of one waits for the next read."""
        data = self._rest + data
        n_whole = len(data) - len(data) % 2
        self._rest = data[n_whole:]
        return np.frombuffer(data[:n_whole], "<i2").reshape(-1, 1)
