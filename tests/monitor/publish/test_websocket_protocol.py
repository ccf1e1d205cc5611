"""WebSocket (RFC 6455) as hostile and careless clients speak it: the cases of Autobahn's test suite that apply.

Frames are made by hand, since no client library sends such.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from websockets.protocol import State

from monitor.commands import Command, CommandDesk, Mark
from tests.monitor.publish.test_websocket import port_of, serving, stuck_client, subscribed
from tests.support.happenings import numbered

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HANDSHAKE = (
    b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
MARK = json.dumps({"type": "mark", "text": "größer"}, ensure_ascii=False).encode()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """One frame as a client sends it."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    length, bit = len(payload), masked << 7
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


@dataclass(frozen=True, slots=True)
class RawClient:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    handshake: bytes

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; the server's frames are short and never masked."""
        first, length = await self.reader.readexactly(2)
        assert first & 0x80, "the server sends whole frames"
        assert not length & 0x80, "the server does not mask"
        if length == 126:
            (length,) = struct.unpack(">H", await self.reader.readexactly(2))
        return first & 0x0F, await self.reader.readexactly(length)

    async def closed_with(self) -> int | None:
        """Code of the close frame that comes; None where the connection ends without one."""
        try:
            opcode, payload = await self.receive()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        assert opcode == CLOSE, (opcode, payload)
        return int.from_bytes(payload[:2], "big") if payload else 0


Conversation = Callable[[RawClient], Awaitable[None]]


@asynccontextmanager
async def raw_client(port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(HANDSHAKE)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        yield RawClient(reader, writer, answer)
    finally:
        writer.close()


def talk(conversation: Conversation, *, max_message_bytes: int = 4_096) -> list[Command]:
    """Hold a conversation with the real port; returns the commands that it understood."""
    obeyed: list[Command] = []
    desk = CommandDesk()
    desk.open(obeyed.append)

    async def main() -> None:
        async with (
            serving(desk, max_message_bytes=max_message_bytes) as publisher,
            raw_client(port_of(publisher)) as client,
        ):
            await conversation(client)
            # Whatever happened to one client, the port is there for the next.
            async with raw_client(port_of(publisher)) as another:
                another.send(frame(PING, b"there?"))
                assert await another.receive() == (PONG, b"there?")

    asyncio.run(main())
    return obeyed


def test_compression_is_declined_though_it_is_offered() -> None:
    async def conversation(client: RawClient) -> None:
        assert b"permessage-deflate" not in client.handshake

    talk(conversation)


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(125), b"\xfe\xff"])
def test_ping_is_answered_by_a_pong_with_its_payload(payload: bytes) -> None:
    async def conversation(client: RawClient) -> None:
        client.send(frame(PING, payload))
        assert await client.receive() == (PONG, payload)

    talk(conversation)


def test_unsolicited_pong_changes_nothing_and_ten_pings_have_ten_answers() -> None:
    async def conversation(client: RawClient) -> None:
        client.send(frame(PONG, b"for nothing"), *(frame(PING, b"%d" % n) for n in range(10)))
        assert [await client.receive() for _ in range(10)] == [(PONG, b"%d" % n) for n in range(10)]

    talk(conversation)


@pytest.mark.parametrize("cuts", [(1,), (5, 9), tuple(range(1, len(MARK)))])
def test_command_in_fragments_is_understood_even_where_a_letter_is_cut(
    cuts: tuple[int, ...],
) -> None:
    edges = [0, *cuts, len(MARK)]
    parts = [MARK[start:end] for start, end in itertools.pairwise(edges)]

    async def conversation(client: RawClient) -> None:
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            client.send(frame(TEXT if number == 0 else CONTINUATION, part, fin=last))
            client.send(frame(PING, b"between"))
            assert await client.receive() == (PONG, b"between")

    assert talk(conversation) == [Mark("größer")]


BROKEN = {
    "reserved bit 1, as of a compressed frame": (frame(TEXT, MARK, rsv=4), 1002),
    "reserved bit 2": (frame(TEXT, MARK, rsv=2), 1002),
    "reserved bit 3 of a ping": (frame(PING, b"", rsv=1), 1002),
    **{
        f"reserved opcode {code}": (frame(code, b"x"), 1002) for code in (3, 4, 5, 6, 7, 11, 12, 15)
    },
    "not masked": (frame(TEXT, MARK, masked=False), 1002),
    "ping of 126 bytes": (frame(PING, bytes(126)), 1002),
    "ping in fragments": (frame(PING, b"half", fin=False), 1002),
    "close in fragments": (frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    "close of 126 bytes": (frame(CLOSE, b"\x03\xe8" + bytes(124)), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"rest"), 1002),
    "a message within another": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "invalid UTF-8": (frame(TEXT, b'{"type":"\xed\xa0\x80"}'), 1007),
    "invalid UTF-8 over two fragments": (
        frame(TEXT, b"\xce\xba\xe1", fin=False) + frame(CONTINUATION, b"\xf0\x90"),
        1007,
    ),
    "UTF-8 that ends within a letter": (frame(TEXT, b"\xe2\x82"), 1007),
    "close with half a code": (frame(CLOSE, b"\x03"), 1002),
    "close with a reason that is no UTF-8": (frame(CLOSE, b"\x03\xe8\xff\xfe"), 1007),
    **{
        f"close with the code {code}": (frame(CLOSE, code.to_bytes(2, "big")), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)
    },
    "message too long": (frame(TEXT, bytes(4_097)), 1009),
    "message too long in fragments": (
        frame(TEXT, bytes(3_000), fin=False) + frame(CONTINUATION, bytes(3_000)),
        1009,
    ),
    "a length beyond memory": (bytes([0x81, 0xFF]) + struct.pack(">Q", 1 << 62), 1009),
    "a length of 64 bits with the highest set": (
        bytes([0x81, 0xFF]) + struct.pack(">Q", (1 << 63) + 1),
        1009,
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_frame_that_breaks_the_protocol_ends_its_connection_with_the_code_for_it(case: str) -> None:
    sent, code = BROKEN[case]

    async def conversation(client: RawClient) -> None:
        client.send(sent, frame(TEXT, MARK))
        assert await client.closed_with() == code
        assert await client.reader.read() == b"", "nothing follows a close"

    assert talk(conversation) == [], "nothing is obeyed after it"


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 3999, 4000, 4999])
def test_close_is_answered_with_its_code(code: int) -> None:
    async def conversation(client: RawClient) -> None:
        client.send(frame(CLOSE, code.to_bytes(2, "big") + "tschüß".encode()), frame(PING, b"late"))
        assert await client.closed_with() == code
        assert await client.reader.read() == b""

    talk(conversation)


def test_close_without_a_code_is_answered_without_one() -> None:
    async def conversation(client: RawClient) -> None:
        client.send(frame(CLOSE))
        assert await client.closed_with() == 0

    talk(conversation)


def test_event_while_the_monitor_says_goodbye_does_not_follow_the_close() -> None:
    async def main() -> None:
        async with serving() as publisher, raw_client(port_of(publisher)) as client:
            await subscribed(publisher)
            (subscriber,) = publisher._events.subscribers
            connection = subscriber.client.connection
            closing = asyncio.create_task(connection.close())
            await asyncio.sleep(0)
            assert connection.state is State.CLOSING
            (event,) = numbered(1)
            publisher.publish(event)
            assert await client.closed_with() == 1000
            client.send(frame(CLOSE, b"\x03\xe8"))
            assert await client.reader.read() == b""
            await closing

    asyncio.run(main())


def test_binary_message_is_no_command_and_harms_nobody() -> None:
    async def conversation(client: RawClient) -> None:
        client.send(frame(BINARY, bytes(range(256))))
        opcode, payload = await client.receive()
        assert opcode == TEXT
        assert json.loads(payload)["type"] == "error"

    assert talk(conversation) == []


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_bytes_that_trickle_in_are_the_same_frames(size: int) -> None:
    sent = frame(TEXT, MARK) + frame(PING, bytes(100))

    async def conversation(client: RawClient) -> None:
        for start in range(0, len(sent), size):
            client.send(sent[start : start + size])
            await client.writer.drain()
        assert await client.receive() == (PONG, bytes(100))

    assert talk(conversation) == [Mark("größer")]


def test_flood_of_pings_from_who_reads_no_answer_is_held_back() -> None:
    pings, most = frame(PING, bytes(125)) * 500, 64_000_000

    def flood(port: int) -> int:
        """Bytes that the monitor takes in before it makes the client wait."""
        with stuck_client(port) as client:
            client.settimeout(1.0)
            taken = 0
            while taken < most:
                try:
                    taken += client.send(pings)
                except (TimeoutError, ConnectionError):
                    break
            return taken

    async def main() -> int:
        async with serving() as publisher:
            taken = await asyncio.to_thread(flood, port_of(publisher))
            async with raw_client(port_of(publisher)) as another:
                another.send(frame(PING, b"there?"))
                assert await another.receive() == (PONG, b"there?")
            return taken

    assert asyncio.run(main()) < most / 2


def test_half_open_client_is_told_goodbye_and_let_go() -> None:
    async def conversation(client: RawClient) -> None:
        client.writer.write_eof()  # it will say nothing more, but could still read
        assert await client.closed_with() in {None, 1006, 1011, 1000, 1001}
        assert await client.reader.read() == b""

    talk(conversation)


def test_client_that_resets_its_connection_in_the_middle_of_a_frame_leaves_no_trace() -> None:
    async def conversation(client: RawClient) -> None:
        client.send(frame(TEXT, MARK)[:9])
        await client.writer.drain()
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()

    assert talk(conversation) == []
