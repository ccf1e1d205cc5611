"""One port for pages and programs: the dashboard, health, and ``/events`` over WebSocket.

Each client has a queue of its own. One that does not keep up loses whole events, oldest first, and is told
which (``stream.gap.v1``); one that takes nothing for ``send_timeout_s`` is dropped. So a stuck client costs at
most its queue, and no other client waits for it.
"""

from __future__ import annotations

import asyncio
import http
import ipaddress
import json
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Origin, Subprotocol

from monitor.errors import PublishError
from monitor.events import MonitorStarted, StateChanged, WireEvent
from monitor.publish.wire import Lost, body_without_transcript, gap, to_json

logger = logging.getLogger(__name__)

SUBPROTOCOL: Final = Subprotocol("cloudevents.json")
DASHBOARD: Final = Path(__file__).parents[1] / "dashboard"
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_PAGES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
}
_SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """The port for pages and programs."""

    enabled: bool = True
    """False opens no port."""
    host: str = "127.0.0.1"
    """Loopback address to listen on."""
    port: int = 8765
    """0 picks a free one and prints it."""
    allow_origins: tuple[str, ...] = ()
    """Web page origins besides the monitor's own that may subscribe, such as ``https://example.org``."""
    max_clients: int = 100
    """Subscribers at once; the next one is answered 503."""
    queue_events: int = 256
    """Events that wait for a slow client before the oldest are dropped."""
    send_timeout_s: float = 10.0
    """A client that takes nothing for so long is dropped."""
    max_message_bytes: int = 4_096
    """Longest message a client may send."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"websocket.port ({self.port}) must be from 0 to 65535.")
        for name in ("max_clients", "queue_events", "max_message_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"websocket.{name} ({getattr(self, name)}) must be at least 1.")
        if self.send_timeout_s <= 0:
            raise ValueError(
                f"websocket.send_timeout_s ({self.send_timeout_s:g}) must be more than 0."
            )


class WebSocketPublisher:
    """Serves ``/``, ``/healthz``, ``/readyz`` and ``ws /events``.

    Raises:
        PublishError: On entry, where the address cannot be listened on.
    """

    def __init__(self, settings: WebSocketSettings) -> None:
        self._settings = settings
        self._clients: set[_Client] = set()
        self._state: WireEvent | None = None
        self._started = False
        self._server: Server

    @property
    def url(self) -> str:
        """Address of the dashboard."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    async def __aenter__(self) -> Self:
        settings = self._settings
        if not _is_loopback(settings.host):
            raise PublishError(
                f"websocket.host ({settings.host}) is not a loopback address: anyone on the network "
                "could listen in. Use 127.0.0.1 and a reverse proxy that asks who is there."
            )
        try:
            self._server = await serve(
                self._serve_client,
                settings.host,
                settings.port,
                process_request=self._answer,
                subprotocols=[SUBPROTOCOL],
                # Offered, not required: websockets itself would refuse who asks for none.
                select_subprotocol=lambda _, asked: SUBPROTOCOL if SUBPROTOCOL in asked else None,
                compression=None,
                max_size=settings.max_message_bytes,
                server_header=None,
            )
        except OSError as error:
            raise PublishError(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
                "Choose another with --ws-port, or 0 for a free one."
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in self._clients:
            client.queue.close()
        if self._clients:
            # Those who keep up get the last events; the others have had their time.
            await asyncio.wait(
                [client.done for client in self._clients], timeout=self._settings.send_timeout_s
            )
        self._server.close()
        await self._server.wait_closed()

    def publish(self, event: WireEvent) -> None:
        """Queue an event for every client that asked for its type."""
        if isinstance(event.happening, StateChanged):
            self._state = event
        elif isinstance(event.happening, MonitorStarted):
            self._started = True
        bare: bytes | None = None
        for client in self._clients:
            if not client.wants(event):
                continue
            if client.transcript:
                client.queue.offer(event, event.body)
            else:
                bare = body_without_transcript(event) if bare is None else bare
                client.queue.offer(event, bare)

    # --- HTTP ----------------------------------------------------------------------------------

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page, a refusal, or None to go on with the WebSocket handshake."""
        path = urlsplit(request.path).path
        if not self._host_allowed(request.headers.get("Host", "")):
            # A page of another site whose name was re-bound to this machine (DNS rebinding).
            return _text(http.HTTPStatus.FORBIDDEN, "this Host name is not served here\n")
        if path == "/events":
            return self._admit(request)
        if "Upgrade" in request.headers:
            return _text(http.HTTPStatus.NOT_FOUND, "WebSocket is served at /events\n")
        if path == "/healthz":
            return _json(http.HTTPStatus.OK, {"status": "alive", "clients": len(self._clients)})
        if path == "/readyz":
            if self._started:
                return _json(http.HTTPStatus.OK, {"status": "listening"})
            return _json(http.HTTPStatus.SERVICE_UNAVAILABLE, {"status": "starting"})
        if path in _PAGES:
            name, kind = _PAGES[path]
            return _response(http.HTTPStatus.OK, kind, (DASHBOARD / name).read_bytes())
        return _text(http.HTTPStatus.NOT_FOUND, "not found\n")

    def _admit(self, request: Request) -> Response | None:
        origin = request.headers.get("Origin")
        if origin is not None and not self._origin_allowed(Origin(origin), request.headers["Host"]):
            return _text(
                http.HTTPStatus.FORBIDDEN, "this page's origin is not in websocket.allow_origins\n"
            )
        if "Upgrade" not in request.headers:
            return _text(http.HTTPStatus.UPGRADE_REQUIRED, "subscribe with a WebSocket\n")
        if len(self._clients) >= self._settings.max_clients:
            return _text(http.HTTPStatus.SERVICE_UNAVAILABLE, "websocket.max_clients reached\n")
        unknown = set(parse_qs(urlsplit(request.path).query)) - {"types", "transcript"}
        if unknown:
            return _text(
                http.HTTPStatus.BAD_REQUEST,
                f"unknown: {', '.join(sorted(unknown))}; known: types, transcript\n",
            )
        return None

    def _host_allowed(self, host: str) -> bool:
        return urlsplit(f"//{host}").hostname in (*_LOOPBACK_NAMES, self._settings.host)

    def _origin_allowed(self, origin: Origin, host: str) -> bool:
        return origin in self._settings.allow_origins or origin == f"http://{host}"

    # --- WebSocket -----------------------------------------------------------------------------

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        client = _Client(
            queue=_ClientQueue(self._settings.queue_events),
            types=frozenset(t for value in query.get("types", ()) for t in value.split(",")),
            transcript=query.get("transcript") != ["0"],
        )
        if self._state is not None and client.wants(self._state):
            client.queue.offer(self._state, self._state.body)
        self._clients.add(client)
        try:
            async with asyncio.TaskGroup() as tasks:
                receiving = tasks.create_task(_answer_messages(connection))
                try:
                    await self._send(connection, client)
                finally:
                    receiving.cancel()
        except* ConnectionClosed:
            pass
        finally:
            self._clients.discard(client)
            client.done.set_result(None)

    async def _send(self, connection: ServerConnection, client: _Client) -> None:
        async for frame in client.queue:
            try:
                async with asyncio.timeout(self._settings.send_timeout_s):
                    # Text, though already encoded: CloudEvents asks for text frames.
                    await connection.send(frame, text=True)
            except TimeoutError:
                logger.warning("a WebSocket client takes no events: dropped")
                connection.transport.abort()
                return


class _ClientQueue:
    """Frames for one client; drops the oldest when full, and says so before the next one."""

    def __init__(self, capacity: int) -> None:
        self._frames: deque[tuple[WireEvent, bytes]] = deque()
        self._capacity = capacity
        self._wakeup = asyncio.Event()
        self._closed = False
        self._lost: Lost | None = None

    def offer(self, event: WireEvent, frame: bytes) -> None:
        """Add what the client shall get of an event."""
        if len(self._frames) == self._capacity:
            event_lost = self._frames.popleft()[0]
            self._lost = (
                Lost.one(event_lost) if self._lost is None else self._lost.and_also(event_lost)
            )
        self._frames.append((event, frame))
        self._wakeup.set()

    def close(self) -> None:
        """Give out what is left, then end."""
        self._closed = True
        self._wakeup.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._frames:
                if self._lost is not None:
                    lost, self._lost = self._lost, None
                    yield gap(lost, "slow_client", datetime.now(UTC))
                yield self._frames.popleft()[1]
            if self._closed:
                return
            self._wakeup.clear()
            await self._wakeup.wait()


@dataclass(eq=False, slots=True)
class _Client:
    queue: _ClientQueue
    types: frozenset[str]
    """Full types or kinds; empty for all."""
    transcript: bool
    done: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def wants(self, event: WireEvent) -> bool:
        """Whether the client asked for events of this type."""
        return not self.types or bool(self.types & {event.type, event.kind})


async def _answer_messages(connection: ServerConnection) -> None:
    """Keep reading, so that pongs are seen; no command is known yet."""
    async for message in connection:
        code, text = "unknown_command", "no command is known; this connection only sends events"
        if not _is_json(message):
            code, text = "not_json", "messages are JSON objects in text frames"
        await connection.send(
            json.dumps({"type": "error", "code": code, "message": text, "retryable": False})
        )


def _is_json(message: str | bytes) -> bool:
    try:
        return isinstance(message, str) and isinstance(json.loads(message), dict)
    except (ValueError, RecursionError):
        return False


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(status: http.HTTPStatus, text: str) -> Response:
    return _response(status, "text/plain; charset=utf-8", text.encode())


def _json(status: http.HTTPStatus, tree: dict[str, object]) -> Response:
    return _response(status, "application/json", to_json(tree))


def _response(status: http.HTTPStatus, kind: str, body: bytes) -> Response:
    headers = Headers(
        {
            "Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "Connection": "close",
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            **_SECURITY_HEADERS,
        }
    )
    return Response(status.value, status.phrase, headers, body)
