"""Who comes in: clients that show the token, and how many may be about to."""

from __future__ import annotations

import asyncio
import contextlib
import http
from typing import Final, NamedTuple

from websockets.frames import CloseCode

from monitor.publish.connection import Client, Dropped, only
from monitor.publish.guard import Guard

MOST_WAITING: Final = 100
"""Clients that have yet to show the token; one more, and the one that has waited longest is dropped."""


class Refusal(NamedTuple):
    """Why a client cannot come in, in HTTP."""

    status: http.HTTPStatus
    text: str


class Admission:
    """Lets clients in by their token. Who waits to show it takes no place from those that have.

    Args:
        guard: Knows the token.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._waiting: dict[Client, None] = {}
        """Longest first."""

    async def check_token(self, client: Client) -> None:
        """Return when a client has shown the token: in the header, or, as browsers cannot, in the first message.

        Raises:
            ConnectionClosed: The client has gone, or has been dropped for others that wait.
            Dropped: It has none, and the connection is closed with code 1008.
        """
        assert client.connection.request is not None
        if self._guard.bearer(only(client.connection.request, "Authorization")):
            return
        if not await self._shows_token(client):
            await client.connection.close(CloseCode.POLICY_VIOLATION, "a token is needed")
            raise Dropped  # recv() would still hand over what came behind it

    async def _shows_token(self, client: Client) -> bool:
        """Whether the first message, if one comes in time, holds the token."""
        if len(self._waiting) == MOST_WAITING:
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            longest.connection.transport.abort()
        self._waiting[client] = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(client.send_timeout_s):
                    return self._guard.first_message(await client.connection.recv())
            return False
        finally:
            self._waiting.pop(client, None)
