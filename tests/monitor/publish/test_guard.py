"""Who is let in: by token, over TLS, under which names."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from monitor.commands import Command, CommandDesk
from monitor.errors import UsageError
from monitor.publish.admission import MOST_WAITING
from monitor.publish.guard import Guard
from monitor.publish.websocket import WebSocketSettings
from tests.monitor.publish.test_websocket import page, port_of, received, serving, subscribe
from tests.support.happenings import STATE, announce, encoded, in_memory
from tests.support.port import on_port

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def test_token_in_the_header_lets_in(token_file: Path) -> None:
    (state,) = encoded(STATE)

    async def main() -> list[bytes]:
        async with serving(token_file=token_file) as publisher:
            announce(publisher._journal, publisher, state)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with subscribe(publisher, additional_headers=headers) as client:
                return await received(client, 1)

    assert asyncio.run(main()) == [state.body]


def test_token_in_the_first_message_lets_in_a_browser(token_file: Path) -> None:
    (state,) = encoded(STATE)

    async def main() -> list[bytes]:
        async with serving(token_file=token_file) as publisher:
            announce(publisher._journal, publisher, state)
            async with subscribe(publisher) as client:
                await client.send(json.dumps({"type": "auth", "token": TOKEN}))
                return await received(client, 1)

    assert asyncio.run(main()) == [state.body]


@pytest.mark.parametrize(
    "message",
    [
        json.dumps({"type": "auth", "token": "wrong"}),
        json.dumps({"type": "auth", "token": 7}),
        json.dumps({"token": TOKEN}),
        json.dumps([TOKEN]),
        TOKEN,
        "ü",
    ],
)
def test_anything_else_in_the_first_message_ends_the_connection_untold(
    token_file: Path, message: str
) -> None:
    (state,) = encoded(STATE)

    async def main() -> int | None:
        async with serving(token_file=token_file) as publisher:
            announce(publisher._journal, publisher, state)
            async with subscribe(publisher) as client:
                await client.send(message)
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                return client.close_code

    assert asyncio.run(main()) == 1008


def test_what_comes_behind_a_wrong_token_is_not_obeyed(token_file: Path) -> None:
    obeyed: list[Command] = []
    desk = CommandDesk()
    desk.open(obeyed.append)

    async def main() -> int | None:
        async with serving(desk, token_file=token_file) as publisher:
            async with subscribe(publisher, "?types=mark") as client:
                for message in ("wrong", "x", '{"type":"mute"}', '{"type":"mark","text":"me"}'):
                    await client.send(message)
                with pytest.raises(ConnectionClosed):
                    await client.recv()
            await page(publisher, "/healthz")  # time in which it would have been obeyed
            return client.close_code

    assert asyncio.run(main()) == 1008
    assert obeyed == []


def test_strangers_without_the_token_take_no_place_from_who_has_it(token_file: Path) -> None:
    (state,) = encoded(STATE)
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async def main() -> list[bytes]:
        async with serving(token_file=token_file, max_clients=1) as publisher:
            announce(publisher._journal, publisher, state)
            async with (
                subscribe(publisher),
                subscribe(publisher),
                subscribe(publisher, additional_headers=headers) as client,
            ):
                return await received(client, 1)

    assert asyncio.run(main()) == [state.body]


def test_stranger_that_has_waited_longest_makes_room_for_who_may_show_the_token(
    token_file: Path,
) -> None:
    (state,) = encoded(STATE)

    async def main() -> list[bytes]:
        async with AsyncExitStack() as stack:
            publisher = await stack.enter_async_context(serving(token_file=token_file))
            announce(publisher._journal, publisher, state)
            first, *_ = [
                await stack.enter_async_context(subscribe(publisher)) for _ in range(MOST_WAITING)
            ]
            last = await stack.enter_async_context(subscribe(publisher))
            with pytest.raises(ConnectionClosed):
                await first.recv()
            assert first.close_code == 1006  # before its time was over
            await last.send(json.dumps({"type": "auth", "token": TOKEN}))
            return await received(last, 1)

    assert asyncio.run(main()) == [state.body]


def test_limit_of_clients_holds_for_those_that_show_the_token_late(token_file: Path) -> None:
    shown = json.dumps({"type": "auth", "token": TOKEN})

    async def main() -> int | None:
        async with (
            serving(token_file=token_file, max_clients=1) as publisher,
            subscribe(publisher) as first,
            subscribe(publisher) as second,
        ):
            await first.send(shown)
            await first.send("hello")
            await first.recv()  # the answer to what is no command: it has been let in
            await second.send(shown)
            with pytest.raises(ConnectionClosed):
                await second.recv()
            return second.close_code

    assert asyncio.run(main()) == 1013


def test_who_stays_silent_is_not_kept_waiting_for(token_file: Path) -> None:
    async def main() -> int | None:
        async with (
            serving(token_file=token_file, send_timeout_s=0.05) as publisher,
            subscribe(publisher) as client,
        ):
            with pytest.raises(ConnectionClosed):
                await client.recv()
            return client.close_code

    assert asyncio.run(main()) == 1008


def test_metrics_need_the_token_and_health_does_not(token_file: Path) -> None:
    async def main() -> list[int]:
        async with serving(token_file=token_file) as publisher:
            right, wrong = (
                {"Authorization": f"Bearer {token}"} for token in (TOKEN, TOKEN[:-1] + "0")
            )
            return [
                (await page(publisher, "/metrics"))[0],
                (await page(publisher, "/metrics", **wrong))[0],
                (await page(publisher, "/metrics", **right))[0],
                (await page(publisher, "/healthz"))[0],
            ]

    assert asyncio.run(main()) == [401, 401, 200, 200]


def test_how_the_monitor_fares_is_told_to_who_has_the_token(token_file: Path) -> None:
    async def main() -> list[dict[str, Any]]:
        async with serving(token_file=token_file) as publisher:
            announce(publisher._journal, publisher, *encoded(STATE))
            right = {"Authorization": f"Bearer {TOKEN}"}
            return [(await page(publisher, "/healthz", **sent))[2] for sent in ({}, right)]

    anybody, known = asyncio.run(main())
    assert anybody == {"status": "alive"}
    assert known["journal"] == {"durable": False, "failing": False, "newest": {"mic": 1}}
    assert known["mqtt"] is None


def test_metrics_are_open_metrics() -> None:
    async def main() -> tuple[int, Any, Any]:
        async with serving() as publisher:
            announce(publisher._journal, publisher, *encoded(STATE))
            return await page(publisher, "/metrics")

    status, headers, body = asyncio.run(main())
    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert b'stser_events_total{kind="emotion.state"} 1.0' in body
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (TOKEN, 0o644, "chmod 600"),
        ("short", 0o600, "at least 16"),
        (f"{TOKEN} {TOKEN}", 0o600, "without spaces"),
        ("ü" * 20, 0o600, "ASCII"),
        (None, 0, "cannot be read"),
    ],
)
def test_token_file_that_is_no_secret_is_refused_with_the_remedy(
    tmp_path: Path, content: str | None, mode: int, told: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(UsageError, match=told) as refused:
        Guard.of("127.0.0.1", path, (), ())
    assert content is None or content not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "origin",
    ["https://example.org", "http://localhost:3000", "https://example.org/", "null", "app://one"],
)
def test_what_a_browser_may_send_as_an_origin_may_be_allowed(origin: str) -> None:
    assert WebSocketSettings(allow_origins=(origin,)).allow_origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    ["", "foo", "*", "example.org", "https://", "https://a/page", "https://a?b", "http://["],
)
def test_what_is_no_origin_of_any_page_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match=r"websocket\.allow_origins .*such as https://"):
        WebSocketSettings(allow_origins=("https://example.org", origin))


@pytest.mark.parametrize(
    ("bound", "host", "allowed"),
    [
        ("127.0.0.1", "localhost:8765", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "[::1]:8765", True),
        ("127.0.0.1", "192.0.2.7:8765", False),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "robot.local", True),
        ("0.0.0.0", "192.0.2.7:8765", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", "[broken", False),
        ("0.0.0.0", "", False),
    ],
)
def test_host_must_be_an_address_or_a_name_of_this_server(
    bound: str, host: str, allowed: bool
) -> None:
    assert Guard(bound, TOKEN, (), ("robot.local",)).host_allowed(host) is allowed


@pytest.mark.parametrize("host", ["myhost:8765", "robot.local"])
def test_names_are_those_of_the_settings_whatever_their_capitals(
    host: str, token_file: Path
) -> None:
    guard = Guard.of("MyHost", token_file, ("https://Example.org/",), ("Robot.local",))
    assert guard.host_allowed(host)
    assert guard.origin_allowed("https://example.org", host)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "certificate.pem", folder / "key.pem"


def test_events_travel_over_tls(certificate: tuple[Path, Path]) -> None:
    (state,) = encoded(STATE)
    trusted = ssl.create_default_context(cafile=str(certificate[0]))

    async def main() -> list[bytes]:
        settings = {"tls_certificate": certificate[0], "tls_key": certificate[1]}
        async with serving(**settings) as publisher:
            assert publisher.url.startswith("https://")
            announce(publisher._journal, publisher, state)
            address = f"wss://127.0.0.1:{port_of(publisher)}/events"
            async with connect(address, ssl=trusted) as client:
                return await received(client, 1)

    assert asyncio.run(main()) == [state.body]


def test_certificate_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    settings = WebSocketSettings(
        port=0, tls_certificate=tmp_path / "no.pem", tls_key=tmp_path / "no.pem"
    )

    async def main() -> None:
        async with on_port(settings, in_memory()):
            pass

    with pytest.raises(UsageError, match=r"no\.pem.*both PEM"):
        asyncio.run(main())


def test_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        WebSocketSettings(tls_certificate=Path("certificate.pem"))
