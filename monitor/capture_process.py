"""A microphone in a process of its own, for a monitor that hears several.

PortAudio lists devices when it is initialised, and initialising it again ends every stream of the process. Where
each microphone has its own PortAudio, one that comes back at another index is found without touching the others,
and a driver that crashes takes nobody along. It costs 50 MB for each.

Both sides are here: :class:`InputProcess`, which the monitor uses as it uses :class:`~monitor.portaudio.Input`, and
:func:`main`, which runs in the process. It writes a line of JSON, the device or an error, then blocks; it ends when
its standard input does, so also with a monitor that is killed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from monitor.errors import CaptureError
from monitor.portaudio import Input, InputDevice, Post

OPEN_S: Final = 10.0
"""A process that says nothing for so long after its start is given up."""

WAITING_BLOCKS: Final = 64
"""Blocks that wait to be written; beyond them, the driver has lost audio."""

_BLOCK: Final = struct.Struct("<dBII")
"""The driver's time of the first sample, whether audio was lost before it, samples and channels; then float32."""


class InputProcess:
    """A microphone in another process; used from one thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

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
        """As :meth:`Input.open`; ``post`` and ``finished`` are called on a thread of this object.

        Raises:
            CaptureError: No such device, or it cannot be opened.
        """
        asked = {
            "choice": choice,
            "before": None if before is None else dataclasses.asdict(before),
            "channels": channels,
            "block_ms": block_ms,
        }
        process = self._process = subprocess.Popen(  # noqa: S603 - this very program
            # -P: Python files where the monitor was started are not run; what it imports is found where it found it.
            [sys.executable, "-P", "-m", "monitor.capture_process", json.dumps(asked)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the monitor, which ends this in order
        )
        assert process.stdout is not None
        try:
            device = _device(process.stdout)
        except BaseException:
            self.close()
            raise
        self._reader = threading.Thread(
            target=_read_blocks,
            args=(process.stdout, post, finished),
            name="stser-capture-blocks",
            daemon=True,
        )
        self._reader.start()
        return device

    def close(self) -> None:
        """End the process that there is."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()

    def list_anew(self) -> None:
        """Every process lists its devices anew."""


def _device(answers: IO[bytes]) -> InputDevice:
    ready, _, _ = select.select([answers], [], [], OPEN_S)
    if not ready:
        raise CaptureError("the microphone's process does not answer; the audio system may hang")
    line = answers.readline()
    if not line:
        raise CaptureError(
            "the microphone's process ended before the device was open; its standard error may say why"
        )
    told = json.loads(line)
    if "error" in told:
        raise CaptureError(told["error"])
    return InputDevice(**told)


def _read_blocks(blocks: IO[bytes], post: Post, finished: Callable[[], None]) -> None:
    while len(head := blocks.read(_BLOCK.size)) == _BLOCK.size:
        adc_s, overflow, n_samples, channels = _BLOCK.unpack(head)
        data = blocks.read(4 * n_samples * channels)
        if len(data) < 4 * n_samples * channels:
            break
        post(np.frombuffer(data, np.float32).reshape(n_samples, channels), bool(overflow), adc_s)
    finished()


# --- in the process ------------------------------------------------------------------------------


class _Blocks:
    """Between PortAudio's thread, which cannot wait, and the pipe, which may be full."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[bytes | None] = queue.Queue(WAITING_BLOCKS)
        self._lost = False

    def post(self, samples: NDArray[np.float32], overflow: bool, adc_s: float) -> None:
        head = _BLOCK.pack(adc_s, overflow or self._lost, *samples.shape)
        try:
            self._waiting.put_nowait(head + samples.tobytes())
        except queue.Full:
            self._lost = True
        else:
            self._lost = False

    def close(self) -> None:
        self._waiting.put(None)

    def write_to(self, pipe: IO[bytes]) -> None:
        while (block := self._waiting.get()) is not None:
            pipe.write(block)
            pipe.flush()


def main(arguments: list[str]) -> int:
    """Open the device that is asked for and write what it delivers."""
    asked: dict[str, Any] = json.loads(arguments[0])
    pipe, blocks = sys.stdout.buffer, _Blocks()
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        native = Input()
        before = asked.pop("before")
        device = native.open(
            asked.pop("choice"),
            None if before is None else InputDevice(**before),
            post=blocks.post,
            finished=blocks.close,
            **asked,
        )
    except CaptureError as error:
        pipe.write(json.dumps({"error": str(error)}).encode() + b"\n")
        pipe.flush()
        return CaptureError.exit_code
    pipe.write(json.dumps(dataclasses.asdict(device)).encode() + b"\n")
    pipe.flush()
    blocks.write_to(pipe)
    return 0


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    # Not in order: a driver that hangs would hold the process.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
