"""Who is let in: names, origins, tokens and TLS of the port for pages and programs."""

from __future__ import annotations

import hmac
import ipaddress
import json
import ssl
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from monitor.errors import UsageError

LEAST_TOKEN: Final = 16
"""Characters of a token: fewer can be guessed."""
_BEARER: Final = "Bearer "


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one port."""

    host: str
    """Address that is listened on; this and the names below without capitals."""
    token: str | None
    origins: Collection[str]
    hosts: Collection[str]

    @classmethod
    def of(
        cls, host: str, token_file: Path | None, origins: Collection[str], hosts: Collection[str]
    ) -> Self:
        """Read the token. Names have no capitals then.

        Raises:
            UsageError: With the rule and the remedy.
        """
        token = None if token_file is None else _read_token(token_file)
        return cls(
            host.lower(),
            token,
            [origin.lower().rstrip("/") for origin in origins],
            [name.lower() for name in hosts],
        )

    def bearer(self, authorization: str | None) -> bool:
        """Whether an ``Authorization`` header holds the token, or none is needed."""
        given = authorization or ""
        return self.token is None or (
            given.startswith(_BEARER) and self._is_token(given.removeprefix(_BEARER))
        )

    def first_message(self, message: str | bytes) -> bool:
        """Whether a message is ``{"type":"auth","token":"..."}`` with the token."""
        try:
            tree = json.loads(message)
        except (ValueError, RecursionError):
            return False
        if not isinstance(tree, dict) or tree.get("type") != "auth":
            return False
        return isinstance(tree.get("token"), str) and self._is_token(tree["token"])

    def host_allowed(self, host: str) -> bool:
        """Whether a request's ``Host`` is a name of this server.

        Another name means that a page of another site had its own name re-bound to this machine (DNS
        rebinding), and would be let in as if it were ours. That takes a name: an IP address is none.
        """
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name in ("localhost", self.host) or name in self.hosts:
            return True
        return (
            name is not None
            and _is_address(name)
            and (not is_loopback(self.host) or is_loopback(name))
        )

    def origin_allowed(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may subscribe: the monitor's own, or one on the list."""
        return origin in (f"http://{host}", f"https://{host}") or origin in self.origins

    def _is_token(self, given: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    return host.lower() == "localhost" or (
        _is_address(host) and ipaddress.ip_address(host).is_loopback
    )


def may_be_origin(origin: str) -> bool:
    """Whether a browser could name a page's origin so: scheme, name and port; or ``null``, of a page from a file."""
    try:
        scheme, netloc, path, query, fragment = urlsplit(origin)
    except ValueError:
        return False
    return origin == "null" or bool(
        scheme and netloc and path in ("", "/") and not query + fragment
    )


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS for the port; None where there is no certificate.

    Raises:
        UsageError: The files cannot be used.
    """
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"websocket.tls_certificate ({certificate}) and tls_key ({key}) cannot be used ({error}). Name a "
            "certificate chain and its key, both PEM, the key without a password."
        ) from error
    return context


def _read_token(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--ws-token-file {path}: cannot be read ({error}).") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"--ws-token-file {path}: other users may read it. Keep it to yourself: chmod 600 {path}"
        )
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"--ws-token-file {path}: the token must be at least {LEAST_TOKEN} printable ASCII characters without "
            "spaces. Make one with: openssl rand -hex 32"
        )
    return token


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
