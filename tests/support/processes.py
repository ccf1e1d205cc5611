"""Programs that tests run beside themselves: waited for until ready, and always brought down."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable

POLL_S = 0.01


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    """Poll until ``ready()``.

    Raises:
        RuntimeError: The process has ended, or is not ready within 10 s.
    """
    deadline_s = time.monotonic() + 10
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with exit code {process.returncode}")
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{what} was not ready within 10 s")
        time.sleep(POLL_S)


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate; kill what does not heed it within 2 s. Returns when the process is gone."""
    process.terminate()
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether a connection to the loopback port is taken."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
