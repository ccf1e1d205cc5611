"""Everything that bytes are thrown at, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bench.fuzz import parsers, port

Target = Callable[[bytes], None]


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (
        *(parsers.settings_file, parsers.pcm_stream, parsers.audio_file, parsers.wav_header),
        *(parsers.manifest, parsers.journal_file, parsers.query, parsers.command),
        *(parsers.audio_query, parsers.audio_message),
        *(port.http_bytes, port.websocket_bytes),
    )
}


COSTLY = {"http_bytes", "websocket_bytes"}
"""Each input takes a connection; they get a tenth of the inputs."""


def clean_up() -> None:
    """End what the targets have started, remove what they have made."""
    port.end_program()
    parsers.remove_folders()
