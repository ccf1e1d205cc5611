"""The part of the AsyncAPI document that is about ``/audio``: audio in, in vosk-server's protocol."""

from __future__ import annotations

from typing import Any, Final

from monitor.framer import MAX_RATE_HZ, MIN_RATE_HZ

Json = dict[str, Any]

_RATE: Final = {
    "type": "number",
    "minimum": MIN_RATE_HZ,
    "maximum": MAX_RATE_HZ,
    "default": 16_000,
    "description": "Samples a second of the audio that comes.",
}
_WORD: Final = {
    "type": "object",
    "required": ["conf", "end", "start", "word"],
    "properties": {
        "conf": {"type": "number", "minimum": 0, "maximum": 1},
        "end": {"type": "number", "description": "Seconds on the stream's clock."},
        "start": {"type": "number"},
        "word": {"type": "string"},
    },
}

ASKED: Final = ("audio.config", "audio.samples", "audio.reset", "audio.eof")
"""Messages of the client."""
ANSWERED: Final = ("audio.partial", "audio.result")
"""Each message of samples, a reset and the end have one of these for an answer."""


def messages() -> Json:
    """Messages of the client, and the answers to them."""
    config = {
        "type": "object",
        "properties": {
            "sample_rate": _RATE,
            "events": {
                "type": "boolean",
                "default": False,
                "description": "True has the stream's events between the answers as they happen.",
            },
        },
    }
    said = {
        "audio.config": _said("What the client has to say of its audio, first", config=config),
        "audio.samples": {
            "title": "Audio: PCM16, mono, little-endian, in a binary frame",
            "contentType": "application/octet-stream",
            "payload": {"type": "string", "format": "binary"},
        },
        "audio.reset": _said("The utterance ends here", reset={}),
        "audio.eof": _said("The audio is over", eof={}),
        "audio.partial": _said("Words of the utterance so far", partial={"type": "string"}),
        "audio.result": _said(
            "An utterance that has ended; without words and emotion where none was left at the end",
            text={"type": "string"},
            result={
                "type": "array",
                "items": _WORD,
                "description": "The words; left out where there are none.",
            },
            emotion={"$ref": "#/components/schemas/emotion.utterance"},
        ),
    }
    return {name: {"name": name, **message} for name, message in said.items()}


def channel() -> Json:
    """``/audio`` but its messages."""
    query = {
        "type": "object",
        "properties": {
            "stream": {
                "type": "string",
                "pattern": "^[a-zA-Z0-9_-]{1,32}$",
                "description": "Name of the stream; audio-1 and so on where it is left out.",
            },
            "sample_rate": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": _RATE["description"],
            },
        },
    }
    return {
        "address": "/audio",
        "title": "Audio of a client, in vosk-server's protocol",
        "description": "A stream of its own. One answer for each message of samples, for a reset and for the end; then "
        "the stream's events, and a close with 1000. What has specversion is an event, the rest are answers.",
        "servers": [{"$ref": "#/servers/monitor"}],
        "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
    }


def _said(title: str, **fields: Json) -> Json:
    """A JSON message, told apart by its first field; what else vosk-server's clients say changes nothing."""
    return {
        "title": title,
        "contentType": "application/json",
        "payload": {"type": "object", "required": [next(iter(fields))], "properties": fields},
    }
