"""What a client that brought audio is told of it."""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from monitor.incoming import AudioSettings
from monitor.publish.audio_endpoint import AudioEndpoint, _Conversation
from monitor.publish.connection import Client
from tests.support.happenings import in_memory, numbered
from tests.support.port import MAIN, closed_reception


def test_client_that_reads_late_is_not_told_what_the_next_one_of_its_name_said() -> None:
    events = numbered(5)

    async def main() -> list[bytes]:
        async with in_memory() as journal:
            endpoint = AudioEndpoint(AudioSettings(), closed_reception(), journal, transcript=True)
            talk = _Conversation(transcript=True)
            for event in events:
                journal.append(event)
            for event in events[1:3]:
                talk.take(event)

            async def tell(connection: ServerConnection) -> None:
                await endpoint._send_events(Client(connection, 1.0), MAIN, talk)

            async with serve(tell, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                async with connect(f"ws://127.0.0.1:{port}") as client:
                    return [str(message).encode() async for message in client]

    assert asyncio.run(main()) == [event.body for event in events[1:3]]
