"""What a service manager is told (sd_notify): ready, still alive, stopping. Without a manager, nothing is said.

The protocol is a datagram of ``KEY=VALUE`` lines to the socket in ``NOTIFY_SOCKET``; see sd_notify(3).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from typing import Self

logger = logging.getLogger(__name__)


class Service:
    """Tells the manager while it is entered; its watchdog is fed from the event loop, so a loop that hangs is noticed.

    Args:
        address: Of the manager's socket, ``@`` first for an abstract one; None where there is no manager.
        watchdog_s: The manager ends a service that says nothing for so long; None where it does not.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._feeding: asyncio.Task[None] | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """What the manager has put into the environment of the process that it started."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = microseconds.isdecimal() and int(microseconds) > 0 and for_us
        return cls(
            environment.get("NOTIFY_SOCKET") or None,
            int(microseconds) / 1e6 if watched else None,
        )

    async def __aenter__(self) -> Self:
        if self._address is not None and self._watchdog_s is not None:
            self._feeding = asyncio.create_task(self._feed(self._watchdog_s), name="watchdog")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._feeding

    def ready(self, status: str) -> None:
        """Everything is open; ``status`` is a line for people."""
        self._tell("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1")

    async def _feed(self, watchdog_s: float) -> None:
        while True:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(watchdog_s / 2)

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        message = "\n".join(line.replace("\n", " ") for line in lines).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.setblocking(False)
                manager.sendto(message, address)
        except OSError as error:
            logger.warning("the service manager could not be told %s: %s", lines[0], error)
