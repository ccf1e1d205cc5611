"""The port for pages and programs, with real parts around it and no stream of its own."""

from __future__ import annotations

from monitor.commands import CommandDesk
from monitor.incoming import AudioSettings, IncomingAudio
from monitor.publish.journal import Journal
from monitor.publish.websocket import WebSocketPublisher, WebSocketSettings
from monitor.reception import Reception
from monitor.stream import Stream

MAIN = "/stser/node/mic"
"""Source of the first stream."""


def on_port(
    settings: WebSocketSettings, journal: Journal, desk: CommandDesk | None = None
) -> WebSocketPublisher:
    """A publisher that serves what is handed to it."""
    return WebSocketPublisher(
        settings,
        journal,
        desk if desk is not None else CommandDesk(),
        closed_reception(),
        audio=AudioSettings(),
        main=MAIN,
    )


def closed_reception() -> Reception:
    """One that nobody opened, so that it takes no audio of clients."""
    return Reception(AudioSettings(), _nobody_hears, own=1)


def _nobody_hears(name: str, audio: IncomingAudio) -> Stream:
    raise AssertionError(f"{name} was to be heard, and nobody opened the reception")
