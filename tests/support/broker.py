"""A real mosquitto on a free port, which a test may stop, kill, freeze and start again."""

from __future__ import annotations

import getpass
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import end, free_port, listens, wait_until


class Mosquitto:
    """A broker on the loopback interface, for anybody unless its settings say otherwise, without a memory.

    Attributes:
        port: Stays the same over a restart.
        url: ``mqtt://127.0.0.1:PORT``.
    """

    def __init__(self, program: str, folder: Path, settings: Sequence[str]) -> None:
        self._program = program
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.configure(*settings)

    def configure(self, *settings: str) -> None:
        """Other lines of mosquitto.conf, from the next start on."""
        if not any(line.startswith("allow_anonymous") for line in settings):
            settings = ("allow_anonymous true", *settings)
        if not any(line.startswith("persistence ") for line in settings):
            settings = ("persistence false", *settings)
        # Started by root it would become another user, who may not read the test's files.
        lines = [f"user {getpass.getuser()}", f"listener {self.port} 127.0.0.1", *settings]
        self._config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start; returns when connections are taken."""
        assert self._process is None, "already started"
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: listens(self.port), self._process, "mosquitto")

    def stop(self) -> None:
        """Shut down in order: clients are told. Does nothing where it is down."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            end(self._process)
            self._process = None

    def kill(self) -> None:
        """Gone without a word, as after a power cut."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Connections stay open, and nothing answers any more."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGSTOP)

    def restart(self) -> None:
        """A new broker, with nothing retained, on the same port."""
        self.stop()
        self.start()


@contextmanager
def running_mosquitto(folder: Path, *settings: str) -> Iterator[Mosquitto]:
    """A broker that keeps its settings in ``folder``; brought down on the way out.

    Args:
        folder: For its files.
        settings: Further lines of mosquitto.conf.
    """
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        pytest.skip("mosquitto is not installed: there is no broker to talk to")
    broker = Mosquitto(program, folder, settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker of the test's own."""
    with running_mosquitto(tmp_path) as broker:
        yield broker
