"""One client's connection, which is dropped where it takes nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

logger = logging.getLogger(__name__)


class Connection(ServerConnection):
    """Hears nothing from who takes nothing: answers to its pings would otherwise pile up without bound."""

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.recv_messages.paused:  # its messages wait for the monitor
            self.transport.resume_reading()


class Dropped(Exception):  # noqa: N818
    """Ends the tasks of a client that was dropped."""


@dataclass(frozen=True, slots=True)
class Client:
    """A connection that takes what it is sent within a time, or is dropped."""

    connection: ServerConnection
    send_timeout_s: float

    @property
    def query(self) -> str:
        """Of the address that the client asked for."""
        assert self.connection.request is not None
        return self.connection.request.path.partition("?")[2]

    def write(self, frame: bytes) -> bool:
        """Send a whole frame without waiting; False where it is not open, or has not taken all that was sent."""
        transport = self.connection.transport
        if self.connection.protocol.state is not State.OPEN or transport.is_closing():
            return False
        if transport.get_write_buffer_size():
            return False
        transport.write(frame)
        return True

    async def send(self, body: bytes) -> None:
        """Send one text frame.

        Raises:
            ConnectionClosed: The client has gone.
            Dropped: It has been dropped.
        """
        try:
            async with asyncio.timeout(self.send_timeout_s):
                # Encoded already, but a text frame all the same: clients read JSON.
                await self.connection.send(body, text=True)
        except TimeoutError:
            logger.warning("a WebSocket client took nothing for %g s: dropped", self.send_timeout_s)
            self.connection.transport.abort()
            raise Dropped from None


def text_frame(body: bytes) -> bytes:
    """A message as it goes over the wire, the same for all clients: none has extensions, such as compression."""
    return Frame(Opcode.TEXT, body).serialize(mask=False)


def only(request: Request, header: str) -> str | None:
    """The header's value; None where it is missing or comes twice."""
    values = request.headers.get_all(header)
    return values[0] if len(values) == 1 else None
