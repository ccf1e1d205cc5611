"""Bytes on the port of the running program."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

ANSWER_S: Final = 5.0
"""Somebody else has an answer within this time, or the monitor is held up."""

HANDSHAKE = (
    b"GET /events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    + base64.b64encode(b"0123456789abcdef")
    + b"\r\n\r\n"
)


class Program:
    """``stser-monitor`` on the bundled recording, and a port to throw bytes at."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stser-fuzz-")
        self._log = Path(self._folder.name) / "log"
        flags = ("--ws-port", "0", "--no-asr", "--journal", "off", "--pace", "realtime")
        recording = ROOT / "monitor" / "demo" / "conversation.flac"
        long = Path(self._folder.name) / "long.wav"
        self._lengthen(recording, long)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "monitor", "--input", str(long), *flags],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=ROOT,
            )
        self.port = self._wait_for_port()

    @staticmethod
    def _lengthen(recording: Path, path: Path) -> None:
        """An hour, so that the port stays open."""
        import soundfile

        samples, rate_hz = soundfile.read(recording, dtype="int16")
        with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16") as file:
            for _ in range(3_600 * rate_hz // len(samples)):
                file.write(samples)

    def _wait_for_port(self) -> int:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and self.process.poll() is None:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", self._log.read_text("utf-8", "replace"))
            if found:
                return int(found[1])
            time.sleep(0.05)
        raise RuntimeError(f"the monitor did not open its port: {self._log.read_text()}")

    def descriptors(self) -> int:
        """Files and sockets that it holds."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def check(self) -> None:
        """It lives, answers, and has reported no error of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S) as client:
            client.settimeout(ANSWER_S)
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = client.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        log = self._log.read_text("utf-8", "replace")
        assert "Traceback" not in log, log[log.index("Traceback") :][:4_000]

    def throw(self, data: bytes, *, upgrade: bool) -> None:
        """Send bytes, to HTTP or as what follows a WebSocket handshake; then be gone."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S) as client:
            client.settimeout(0.05)
            if upgrade:
                client.sendall(HANDSHAKE)
            with contextlib.suppress(OSError):
                client.sendall(data)
                client.recv(65_536)
                client.recv(65_536)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()


_programs: list[Program] = []


def the_program() -> Program:
    """One for all inputs, started with the first."""
    if not _programs:
        _programs.append(Program())
    return _programs[0]


def end_program() -> None:
    """The one that the targets have started."""
    while _programs:
        _programs.pop().close()


def _thrown(data: bytes, *, upgrade: bool) -> None:
    program = the_program()
    program.throw(data, upgrade=upgrade)
    program.check()


def http_bytes(data: bytes) -> None:
    """Any bytes on the port leave the monitor at work for everybody else."""
    _thrown(data, upgrade=False)


def websocket_bytes(data: bytes) -> None:
    """Any bytes after the handshake, too."""
    _thrown(data, upgrade=True)
