"""What is served over HTTP beside the events: the dashboard, the schemas and the AsyncAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DASHBOARD: Final = Path(__file__).parents[1] / "dashboard"
SCHEMAS: Final = Path(__file__).parent / "schemas"
ASYNCAPI: Final = Path(__file__).parent / "asyncapi.json"

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), display-capture=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Sent with every page: nothing from elsewhere runs in it, and no other page may frame it."""

_CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/schema+json",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is served."""

    content_type: str
    body: bytes


def load_pages() -> dict[str, Page]:
    """Every file that is served, by its path. Nothing else is ever read for a request."""
    pages = {
        f"/{file.name}": _page(file)
        for file in sorted(DASHBOARD.iterdir())
        if file.suffix in _CONTENT_TYPES
    }
    pages["/"] = pages.pop("/index.html")
    pages["/asyncapi.json"] = Page(
        "application/vnd.aai.asyncapi+json;version=3.0.0", ASYNCAPI.read_bytes()
    )
    return pages | {f"/schemas/{file.name}": _page(file) for file in sorted(SCHEMAS.glob("*.json"))}


def _page(file: Path) -> Page:
    return Page(_CONTENT_TYPES[file.suffix], file.read_bytes())
