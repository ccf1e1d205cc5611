"""One port for pages and programs: the dashboard, health, schemas, and two endpoints over WebSocket, ``/events``
and ``/audio``. Who may come in is decided here; what they get, in ``events_endpoint.py`` and ``audio_endpoint.py``."""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import http
import logging
import socket
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from monitor.commands import CommandDesk
from monitor.errors import PublishError
from monitor.events import MonitorStarted, MonitorStopped, StateChanged, WireEvent
from monitor.incoming import AudioSettings
from monitor.metrics import CONTENT_TYPE as METRICS_TYPE
from monitor.metrics import Metrics
from monitor.ports import BrokerPublisher
from monitor.publish.admission import Admission
from monitor.publish.audio_endpoint import AudioEndpoint
from monitor.publish.connection import Client, Connection, only
from monitor.publish.events_endpoint import EventsEndpoint
from monitor.publish.guard import Guard, is_loopback, may_be_origin, tls_context
from monitor.publish.journal import Journal
from monitor.publish.pages import SECURITY_HEADERS, load_pages
from monitor.publish.wire import stream_of, to_json
from monitor.reception import Reception
from monitor.recorder import Recorder

logger = logging.getLogger(__name__)

_connections = logging.getLogger(f"{__name__}.connections")
"""Of websockets itself."""
_connections.setLevel(logging.WARNING)
# Half a request, or one with something behind it: the other side's doing, but told as an error with a traceback.
_connections.addFilter(
    lambda record: record.msg not in {"opening handshake failed", "unexpected internal error"}
)

EVENTS: Final = "/events"
AUDIO: Final = "/audio"
SUBPROTOCOL: Final = Subprotocol("cloudevents.json")
FAREWELL_S: Final = 2.0
"""On the way out, time for clients to take what is left and to say goodbye."""
SYSTEM_BUFFER_BYTES: Final = 65_536
"""What the operating system may keep for a client; left alone it keeps up to 4 MB for one that reads nothing."""


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
    transcript: bool = True
    """False leaves the words out of all that clients get on this port."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"websocket.port ({self.port}) must be from 0 to 65535.")
        if self.enabled and self.token_file is None and not is_loopback(self.host):
            raise ValueError(
                f"websocket.host ({self.host}) is not a loopback address: anyone on the network could listen in. "
                "Name a file with a token with --ws-token-file, or use 127.0.0.1."
            )
        for origin in self.allow_origins:
            if not may_be_origin(origin):
                raise ValueError(
                    f"websocket.allow_origins ({origin!r}) can be the origin of no page. Write its scheme, name and "
                    "port, such as https://example.org or http://localhost:3000."
                )
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
    """Serves ``/``, ``/healthz``, ``/readyz``, ``/metrics``, ``/schemas/*.json``, ``ws /events`` and ``ws /audio``.

    Args:
        settings: Of the port.
        journal: Has what subscribers missed.
        desk: Takes commands.
        reception: Knows the streams, and takes those that clients bring.
        audio: Limits of the latter.
        main: CloudEvents source of the first stream.
        broker: Whose health is told; None where there is none.
        recorder: The same.

    Raises:
        PublishError: On entry, where the address cannot be listened on.
        UsageError: The same, where a token or certificate cannot be used.
    """

    def __init__(
        self,
        settings: WebSocketSettings,
        journal: Journal,
        desk: CommandDesk,
        reception: Reception,
        *,
        audio: AudioSettings,
        main: str,
        broker: BrokerPublisher | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._reception = reception
        self._broker = broker
        self._recorder = recorder
        self._metrics = Metrics()
        self._pages = load_pages()
        self._events = EventsEndpoint(
            journal,
            desk,
            main=main,
            max_clients=settings.max_clients,
            queue_events=settings.queue_events,
            max_message_bytes=settings.max_message_bytes,
            transcript=settings.transcript,
            levels=lambda: [level for stream in reception.active if (level := stream.level)],
        )
        self._audio = AudioEndpoint(audio, reception, journal, transcript=settings.transcript)
        self._longest = max(settings.max_message_bytes, audio.max_message_bytes)
        self._connections: weakref.WeakSet[ServerConnection] = weakref.WeakSet()
        self._states: dict[str, WireEvent] = {}
        """The newest of each source that is heard."""
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
        self._admission = Admission(self._guard)
        tls = tls_context(settings.tls_certificate, settings.tls_key)
        if tls is None and not is_loopback(settings.host):
            logger.warning(
                "%s can be reached from other machines without TLS: token and events can be read on the "
                "way. Set websocket.tls_certificate and tls_key, or use a reverse proxy that has them.",
                settings.host,
            )
        try:
            self._server = await serve(
                self._serve,
                settings.host,
                settings.port,
                ssl=tls,
                process_request=self._answer,
                create_connection=cast("type[ServerConnection]", self._new_connection),
                subprotocols=[SUBPROTOCOL],
                # Offered, not required: websockets itself would refuse who asks for none.
                select_subprotocol=lambda _, asked: SUBPROTOCOL if SUBPROTOCOL in asked else None,
                compression=None,
                max_size=self._longest,
                max_queue=4,
                close_timeout=FAREWELL_S,
                server_header=None,
                logger=_connections,
            )
        except (OSError, UnicodeError) as error:  # the latter of a name such as "a..b"
            said = getattr(error, "strerror", None) or str(error)
            _, _, reason = said.rpartition("): ")  # before it, asyncio says the address again
            raise PublishError(
                f"cannot listen on {settings.host}:{settings.port} ({reason}). Choose another with --ws-port, 0 for a "
                "free one, or do without: --no-ws."
            ) from error
        for listening in self._server.sockets:  # connections have it from there
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SYSTEM_BUFFER_BYTES)
        self._metering = asyncio.create_task(self._events.meter(), name="levels")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close(close_connections=False)
        self._metering.cancel()
        self._events.close()
        ended = asyncio.ensure_future(self._server.wait_closed())
        await asyncio.wait([ended], timeout=FAREWELL_S)
        # Left over: clients that are stuck, and browsers that connected ahead and asked nothing.
        for connection in self._connections:
            connection.transport.abort()
        await ended

    def publish(self, event: WireEvent) -> None:
        """Hand an event to every subscriber that asked for it."""
        self._metrics.count(event)
        match event.happening:
            case StateChanged():
                self._states[event.source] = event
            case MonitorStarted() | MonitorStopped():
                self._states.pop(event.source, None)
        self._events.publish(event)

    # --- HTTP ----------------------------------------------------------------------------------

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page, a refusal, or None to go on with the WebSocket handshake."""
        host = only(request, "Host")
        if host is None or not self._guard.host_allowed(host):
            return _text(http.HTTPStatus.FORBIDDEN, "this Host name is not served here")
        if request.method not in {"GET", "HEAD"}:
            refusal = _text(http.HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered")
            refusal.headers["Allow"] = "GET, HEAD"
            return refusal
        path, _, query = request.path.partition("?")
        if path in {EVENTS, AUDIO}:
            return self._admit(request, host, path, query)
        if path == "/healthz":
            response = self._health(known=self._knows_token(request))
        else:
            response = self._measured(request) if path == "/metrics" else self._page(path)
        if request.method == "HEAD":
            response.body = b""
        return response

    def _page(self, path: str) -> Response:
        if path == "/readyz":
            return self._readiness()
        page = self._pages.get(path)
        if page is None:
            return _text(http.HTTPStatus.NOT_FOUND, "there is no such page; events are at /events")
        return _response(http.HTTPStatus.OK, page.content_type, page.body)

    def _readiness(self) -> Response:
        """200 while every stream listens and is judged: without its words, too."""
        degraded = self._reception.degraded
        said: dict[str, object] = {"degraded": degraded} if degraded else {}
        if not self._reception.ready:
            return _json(http.HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not listening"} | said)
        if "ensemble" in degraded:
            return _json(http.HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not judging"} | said)
        return _json(http.HTTPStatus.OK, {"status": "listening"} | said)

    def _health(self, *, known: bool) -> Response:
        """That the process lives; to whom may know, also how it fares."""
        health: dict[str, object] = {"status": "alive"}
        if known:
            journal, sources = self._journal, self._journal.sources
            health |= {
                "clients": len(self._events.subscribers),
                "streams": [dataclasses.asdict(stream.health) for stream in self._reception.active],
                "journal": {
                    "durable": journal.durable,
                    "failing": journal.failing,
                    "newest": {stream_of(source): journal.newest(source) for source in sources},
                },
                "mqtt": _told(self._broker),
                "recording": _told(self._recorder),
            }
        return _json(http.HTTPStatus.OK, health)

    def _knows_token(self, request: Request) -> bool:
        """Whether a request may have what is not for everybody."""
        return self._guard.bearer(only(request, "Authorization"))

    def _measured(self, request: Request) -> Response:
        if not self._knows_token(request):
            refusal = _text(
                http.HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer"
            )
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        body = self._metrics.render(
            clients=len(self._events.subscribers),
            streams=len(self._reception.active),
            durable=self._journal.durable,
            waiting=self._journal.waiting(),
            recording=None if self._recorder is None else self._recorder.health,
        )
        return _response(http.HTTPStatus.OK, METRICS_TYPE, body)

    def _admit(self, request: Request, host: str, path: str, query: str) -> Response | None:
        """A refusal, or None for a client that may come in."""
        origin = only(request, "Origin")
        if "Origin" in request.headers and not self._guard.origin_allowed(origin, host):
            return _text(
                http.HTTPStatus.FORBIDDEN,
                "pages of this origin may not subscribe; --allow-origin lets them",
            )
        refusal = (self._audio if path == AUDIO else self._events).refusal(query)
        if refusal is not None:
            return _text(*refusal)
        # Told last, since a web page hears of a refusal only where it asks without a WebSocket.
        if "Upgrade" not in request.headers:
            response = _text(http.HTTPStatus.UPGRADE_REQUIRED, "this is for WebSockets")
            response.headers["Upgrade"] = "websocket"
            return response
        return None

    # --- WebSocket -----------------------------------------------------------------------------

    def _new_connection(self, *arguments: Any, **named: Any) -> ServerConnection:
        connection = Connection(*arguments, **named)
        self._connections.add(connection)
        return connection

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        client = Client(connection, self._settings.send_timeout_s)
        if connection.request.path.partition("?")[0] == AUDIO:
            await self._audio.serve(client, self._admission)
        else:
            await self._events.serve(client, self._admission, self._states)


def _told(part: BrokerPublisher | Recorder | None) -> dict[str, object] | None:
    return None if part is None else dataclasses.asdict(part.health)


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
