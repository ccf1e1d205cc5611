"""What the service manager hears, on a real datagram socket."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.service import Service
from tests.support.monitor_process import DEADLINE_S, running_monitor
from tests.support.speech import silence, write_wav


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.setblocking(False)

    async def hears(self) -> str:
        """The next message."""
        async with asyncio.timeout(DEADLINE_S):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()

    def has_heard(self) -> bool:
        """Whether a message waits."""
        try:
            return bool(self._socket.recv(4096, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = f"@stser-{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    manager = Manager(address)
    yield manager
    manager.close()


def test_manager_hears_that_all_is_open_and_that_the_end_has_begun(manager: Manager) -> None:
    async def main() -> list[str]:
        async with Service.from_environment({"NOTIFY_SOCKET": manager.address}) as service:
            service.ready("Listening to a\nmicrophone")
            service.stopping()
            return [await manager.hears(), await manager.hears()]

    assert asyncio.run(main()) == ["READY=1\nSTATUS=Listening to a microphone", "STOPPING=1"]
    assert not manager.has_heard(), "no watchdog was asked for"


def test_watchdog_is_fed_while_the_loop_runs_and_no_longer(manager: Manager) -> None:
    async def main() -> list[str]:
        environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000"}
        async with Service.from_environment(environment):
            heard = [await manager.hears() for _ in range(4)]
        while manager.has_heard():
            await manager.hears()
        await asyncio.sleep(0.05)  # the time of five feedings
        return heard

    assert asyncio.run(main()) == 4 * ["WATCHDOG=1"]
    assert not manager.has_heard()


@pytest.mark.parametrize(
    "environment",
    [
        {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ],
)
def test_watchdog_of_another_process_is_not_fed(
    environment: dict[str, str], manager: Manager
) -> None:
    async def main() -> str:
        told = {"NOTIFY_SOCKET": manager.address, **environment}
        async with Service.from_environment(told) as service:
            await asyncio.sleep(0)  # the task would have had its turn
            service.stopping()
            return await manager.hears()

    assert asyncio.run(main()) == "STOPPING=1"


def test_watchdog_of_this_process_is_fed(manager: Manager) -> None:
    async def main() -> str:
        environment = {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}
        async with Service.from_environment({"NOTIFY_SOCKET": manager.address, **environment}):
            return await manager.hears()

    assert asyncio.run(main()) == "WATCHDOG=1"


def test_without_a_manager_nothing_is_said() -> None:
    async def main() -> None:
        async with Service.from_environment({}) as service:
            service.ready("Listening")
            service.stopping()

    asyncio.run(main())


def test_manager_that_has_gone_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Service(str(tmp_path / "nobody")).ready("Listening")
    assert len(caplog.messages) == 1
    assert "READY=1" in caplog.messages[0]


@pytest.mark.parametrize("manager", ["file"], indirect=True)
def test_program_tells_its_manager_when_it_listens_and_when_it_stops(
    manager: Manager, tmp_path: Path
) -> None:
    quiet = write_wav(tmp_path / "quiet.wav", silence(100))
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "60000000"}

    async def main() -> tuple[list[str], int]:
        flags = ["--input", quiet, "--pace", "realtime", "--no-ws", "--no-asr"]
        async with running_monitor(*flags, environment=environment) as monitor:
            heard = [await manager.hears(), await manager.hears()]
            code = await monitor.end(signal.SIGTERM)
            return [*heard, await manager.hears()], code

    (fed, ready, stopping), code = asyncio.run(main())
    assert fed == "WATCHDOG=1"
    assert ready == "READY=1\nSTATUS=Listening to quiet.wav"
    assert (stopping, code) == ("STOPPING=1", 0)
