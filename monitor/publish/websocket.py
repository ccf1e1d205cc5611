"""One port for pages and programs: the dashboard, health, schemas, and ``/events`` over WebSocket.

Each client has an outbox of its own. One that does not keep up loses whole events, oldest first, and is told
which (``stream.gap.v1``); one that takes nothing for ``send_timeout_s`` is dropped. So a stuck client costs at
most its outbox, and no other client waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import http
import logging
import weakref
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from monitor.commands import CommandDesk, CommandError
from monitor.errors import PublishError
from monitor.events import (
    DeviceLost,
    DeviceRecovered,
    MonitorStarted,
    MonitorStopped,
    StateChanged,
    WireEvent,
)
from monitor.metrics import CONTENT_TYPE as METRICS_TYPE
from monitor.metrics import Metrics
from monitor.publish.guard import Guard, is_loopback, tls_context
from monitor.publish.journal import Journal
from monitor.publish.outbox import Lost, Message, Outbox
from monitor.publish.pages import SECURITY_HEADERS, load_pages
from monitor.publish.subscription import Subscription
from monitor.publish.wire import body_without_transcript, gap, to_json

logger = logging.getLogger(__name__)

_connections = logging.getLogger(f"{__name__}.connections")
"""Of websockets itself."""
_connections.setLevel(logging.WARNING)
# Half a request, or one with something behind it: the other side's doing, but told as an error with a traceback.
_connections.addFilter(
    lambda record: record.msg not in {"opening handshake failed", "unexpected internal error"}
)

SUBPROTOCOL: Final = Subprotocol("cloudevents.json")
FAREWELL_S: Final = 2.0
"""On the way out, time for clients to take what is left and to say goodbye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """The port for pages and programs."""

    enabled: bool = True
    """False opens no port."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8765
    """0 picks a free one and prints it."""
    token_file: Path | None = None
    """File with the token that clients must show. Needed where ``host`` is not a loopback address."""
    tls_certificate: Path | None = None
    """File with the certificate chain (PEM), for https and wss."""
    tls_key: Path | None = None
    """File with its private key (PEM)."""
    allow_origins: tuple[str, ...] = ()
    """Web page origins besides the monitor's own that may subscribe, such as ``https://example.org``."""
    allow_hosts: tuple[str, ...] = ()
    """Names besides ``host`` and IP addresses under which the monitor is reached, such as ``robot.local``."""
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
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("websocket.tls_certificate and websocket.tls_key go together.")
        for name in ("max_clients", "queue_events", "max_message_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"websocket.{name} ({getattr(self, name)}) must be at least 1.")
        if self.send_timeout_s <= 0:
            raise ValueError(
                f"websocket.send_timeout_s ({self.send_timeout_s:g}) must be more than 0."
            )


class WebSocketPublisher:
    """Serves ``/``, ``/healthz``, ``/readyz``, ``/metrics``, ``/schemas/*.json`` and ``ws /events``.

    Raises:
        PublishError: On entry, where the address cannot be listened on, or a token or certificate cannot be used.
    """

    def __init__(self, settings: WebSocketSettings, journal: Journal, desk: CommandDesk) -> None:
        self._settings = settings
        self._journal = journal
        self._desk = desk
        self._metrics = Metrics()
        self._pages = load_pages()
        self._clients: set[_Client] = set()
        self._connections: weakref.WeakSet[ServerConnection] = weakref.WeakSet()
        self._state: WireEvent | None = None
        self._listening = False
        self._server: Server

    @property
    def url(self) -> str:
        """Address of the dashboard."""
        host, port = self._server.sockets[0].getsockname()[:2]
        scheme = "http" if self._settings.tls_certificate is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._guard = Guard.of(
            settings.host, settings.token_file, settings.allow_origins, settings.allow_hosts
        )
        tls = tls_context(settings.tls_certificate, settings.tls_key)
        if tls is None and not is_loopback(settings.host):
            logger.warning(
                "%s can be reached from other machines without TLS: token and events can be read on the "
                "way. Set websocket.tls_certificate and tls_key, or use a reverse proxy that has them.",
                settings.host,
            )
        try:
            self._server = await serve(
                self._serve_client,
                settings.host,
                settings.port,
                ssl=tls,
                process_request=self._answer,
                create_connection=cast("type[ServerConnection]", self._new_connection),
                subprotocols=[SUBPROTOCOL],
                # Offered, not required: websockets itself would refuse who asks for none.
                select_subprotocol=lambda _, asked: SUBPROTOCOL if SUBPROTOCOL in asked else None,
                compression=None,
                max_size=settings.max_message_bytes,
                close_timeout=FAREWELL_S,
                server_header=None,
                logger=_connections,
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
        self._server.close(close_connections=False)
        for client in self._clients:
            client.close()
        ended = asyncio.ensure_future(self._server.wait_closed())
        await asyncio.wait([ended], timeout=FAREWELL_S)
        # Left over: clients that are stuck, and browsers that connected ahead and asked nothing.
        for connection in self._connections:
            connection.transport.abort()
        await ended

    def publish(self, event: WireEvent) -> None:
        """Put an event into the outbox of every client that asked for it."""
        self._metrics.count(event)
        match event.happening:
            case StateChanged():
                self._state = event
            case MonitorStarted() | DeviceRecovered():
                self._listening = True
            case MonitorStopped() | DeviceLost():
                self._listening = False
        whole, bare = Message.of(event), None
        for client in self._clients:
            if not client.live or not client.subscription.wants(event.kind):
                continue
            if client.subscription.transcript:
                client.put(whole)
            else:
                bare = bare or _without_transcript(whole)
                client.put(bare)

    # --- HTTP ----------------------------------------------------------------------------------

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page, a refusal, or None to go on with the WebSocket handshake."""
        host = _only(request, "Host")
        if host is None or not self._guard.host_allowed(host):
            return _text(http.HTTPStatus.FORBIDDEN, "this Host name is not served here")
        if request.method not in {"GET", "HEAD"}:
            refusal = _text(http.HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered")
            refusal.headers["Allow"] = "GET, HEAD"
            return refusal
        path, _, query = request.path.partition("?")
        if path == "/events":
            return self._admit(request, host, query)
        response = self._measured(request) if path == "/metrics" else self._page(path)
        if request.method == "HEAD":
            response.body = b""
        return response

    def _page(self, path: str) -> Response:
        if path == "/healthz":
            return _json(http.HTTPStatus.OK, {"status": "alive", "clients": len(self._clients)})
        if path == "/readyz":
            if self._listening:
                return _json(http.HTTPStatus.OK, {"status": "listening"})
            return _json(http.HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not listening"})
        page = self._pages.get(path)
        if page is None:
            return _text(http.HTTPStatus.NOT_FOUND, "there is no such page; events are at /events")
        return _response(http.HTTPStatus.OK, page.content_type, page.body)

    def _measured(self, request: Request) -> Response:
        if self._guard.needs_token and not self._guard.bearer(_only(request, "Authorization")):
            refusal = _text(
                http.HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer"
            )
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        body = self._metrics.render(
            clients=len(self._clients),
            durable=self._journal.durable,
            waiting=self._journal.waiting(),
        )
        return _response(http.HTTPStatus.OK, METRICS_TYPE, body)

    def _admit(self, request: Request, host: str, query: str) -> Response | None:
        """A refusal, or None for a client that may subscribe."""
        origin = _only(request, "Origin")
        if "Origin" in request.headers and not self._guard.origin_allowed(origin, host):
            return _text(
                http.HTTPStatus.FORBIDDEN,
                "pages of this origin may not subscribe; --allow-origin lets them",
            )
        if "Upgrade" not in request.headers:
            refusal = _text(http.HTTPStatus.UPGRADE_REQUIRED, "subscribe with a WebSocket")
            refusal.headers["Upgrade"] = "websocket"
            return refusal
        try:
            Subscription.from_query(query)
        except ValueError as error:
            return _text(http.HTTPStatus.BAD_REQUEST, str(error))
        if len(self._clients) >= self._settings.max_clients:
            limit = self._settings.max_clients
            return _text(http.HTTPStatus.SERVICE_UNAVAILABLE, f"{limit} clients are the limit")
        return None

    # --- WebSocket -----------------------------------------------------------------------------

    def _new_connection(self, *arguments: Any, **named: Any) -> ServerConnection:
        connection = ServerConnection(*arguments, **named)
        self._connections.add(connection)
        return connection

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        subscription = Subscription.from_query(connection.request.path.partition("?")[2])
        client = _Client(subscription, Outbox(self._settings.queue_events))
        self._clients.add(client)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._check_token(connection)
                receiving = tasks.create_task(self._receive(connection, client))
                await self._send_past(connection, client)
                await self._send_events(connection, client)
                receiving.cancel()
            await connection.close(CloseCode.GOING_AWAY, "the monitor has stopped")
        except* (ConnectionClosed, _TookNothing):
            pass
        finally:
            self._clients.discard(client)

    async def _check_token(self, connection: ServerConnection) -> None:
        """Let in who has the token: in the header, or, as browsers cannot, in the first message.

        Raises:
            ConnectionClosed: It has none, and the connection is closed with code 1008.
        """
        assert connection.request is not None
        guard = self._guard
        if not guard.needs_token or guard.bearer(_only(connection.request, "Authorization")):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.send_timeout_s):
                if guard.first_message(await connection.recv()):
                    return
        await connection.close(CloseCode.POLICY_VIOLATION, "a token is needed")
        await connection.recv()  # raises ConnectionClosed

    async def _send_past(self, connection: ServerConnection, client: _Client) -> None:
        """The current state, then what the client has missed; it is live when there is no more."""
        subscription, journal = client.subscription, self._journal
        if self._state is not None and subscription.wants(self._state.kind):
            await self._send(connection, self._state.body)
        position = journal.newest if subscription.since is None else subscription.since
        if position > journal.newest:
            if journal.newest:
                lost = Lost(journal.source, 1, journal.newest, journal.newest)
                await self._send(connection, _gap(lost, "journal_lost"))
            position = journal.newest
        # Everything is in the journal before it is published: nothing falls between the two.
        while missed := journal.after(position):
            for item in missed:
                position = item.last if isinstance(item, Lost) else item.sequence
                if isinstance(item, Lost):
                    await self._send(connection, _gap(item, "expired"))
                elif subscription.wants(item.kind):
                    whole = subscription.transcript
                    await self._send(
                        connection, (item if whole else _without_transcript(item)).body
                    )
        client.live = True

    async def _send_events(self, connection: ServerConnection, client: _Client) -> None:
        """Send what comes into the outbox until the client is closed and the outbox is empty."""
        while True:
            while (item := client.outbox.first()) is not None:
                client.outbox.delivered(item)
                body = item.body if isinstance(item, Message) else _gap(item, "slow_client")
                await self._send(connection, body)
            if client.closed:
                return
            client.news.clear()
            await client.news.wait()

    async def _receive(self, connection: ServerConnection, client: _Client) -> None:
        """Have every command obeyed, or say why not; ends when the client has left."""
        async for message in connection:
            try:
                # A binary frame is no command, whatever it holds.
                self._desk.take(message if isinstance(message, str) else b"")
            except CommandError as error:
                answer = {
                    "type": "error",
                    "code": error.code,
                    "message": str(error),
                    "retryable": error.retryable,
                }
                await self._send(connection, to_json(answer))
        client.close()

    async def _send(self, connection: ServerConnection, body: bytes) -> None:
        """Send one text frame.

        Raises:
            ConnectionClosed: The client has gone.
            _TookNothing: It has been dropped.
        """
        try:
            async with asyncio.timeout(self._settings.send_timeout_s):
                # Encoded already, but a text frame all the same: subscribers read JSON.
                await connection.send(body, text=True)
        except TimeoutError:
            logger.warning(
                "a WebSocket client took nothing for %g s: dropped", self._settings.send_timeout_s
            )
            connection.transport.abort()
            raise _TookNothing from None


class _TookNothing(Exception):  # noqa: N818
    """Ends the tasks of a client that was dropped."""


@dataclass(eq=False, slots=True)
class _Client:
    subscription: Subscription
    outbox: Outbox
    news: asyncio.Event = field(default_factory=asyncio.Event)
    live: bool = False
    """True where it has had the past, and gets what happens."""
    closed: bool = False
    """True where nothing more will come: it left, or the monitor ends."""

    def put(self, message: Message) -> None:
        self.outbox.put(message)
        self.news.set()

    def close(self) -> None:
        self.closed = True
        self.news.set()


def _without_transcript(message: Message) -> Message:
    return replace(message, body=body_without_transcript(message.body))


def _gap(lost: Lost, reason: str) -> bytes:
    return gap(lost, reason, datetime.now(UTC))


def _only(request: Request, header: str) -> str | None:
    """The header's value; None where it is missing or comes twice."""
    values = request.headers.get_all(header)
    return values[0] if len(values) == 1 else None


def _text(status: http.HTTPStatus, text: str) -> Response:
    return _response(status, "text/plain; charset=utf-8", f"{text}\n".encode())


def _json(status: http.HTTPStatus, tree: dict[str, object]) -> Response:
    return _response(status, "application/json", to_json(tree))


def _response(status: http.HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers(
        {
            "Date": email.utils.formatdate(usegmt=True),
            "Connection": "close",
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            **SECURITY_HEADERS,
        }
    )
    return Response(status.value, status.phrase, headers, body)
