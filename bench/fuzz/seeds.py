"""Valid inputs of each target, to start from, and some that are known to be hard."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from bench.fuzz.port import HANDSHAKE

ROOT: Final = Path(__file__).parents[2]


def _audio_seeds() -> list[bytes]:
    import soundfile

    rng = np.random.default_rng(1)
    samples = np.clip(rng.standard_normal(4_000) * 0.1, -1, 1).astype(np.float32)
    seeds = []
    formats = (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"))
    for shape, coding in (*formats, ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16")):
        file = io.BytesIO()
        soundfile.write(file, samples, 16_000, format=shape, subtype=coding)
        seeds.append(file.getvalue())
    return seeds


def _frame(opcode: int, payload: bytes, *, mask: bytes | None = b"abcd", fin: int = 0x80) -> bytes:
    """A WebSocket frame."""
    n = len(payload)
    length = bytes([n]) if n < 126 else b"\x7e" + n.to_bytes(2, "big")
    if mask is None:
        return bytes([fin | opcode]) + length + payload
    head = bytes([fin | opcode, length[0] | 0x80]) + length[1:] + mask
    return head + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def _journal_seed() -> bytes:
    """A journal of a few events."""
    from monitor.events import Marked, SpeechBegan
    from monitor.publish.journal import Journal, JournalSettings
    from monitor.publish.wire import WireEncoder

    async def write(path: Path) -> None:
        encoder = WireEncoder("fuzz", "mic")
        async with Journal(path, "fuzz", JournalSettings(), required=True) as journal:
            journal.register("mqtt://broker")
            for number in range(4):
                journal.append(encoder.encode(SpeechBegan(number + 1, number)))
            journal.append(encoder.encode(Marked("here", 7)))

    with tempfile.TemporaryDirectory(prefix="stser-fuzz-") as folder:
        path = Path(folder) / "journal.db"
        asyncio.run(write(path))
        return path.read_bytes()


COMMANDS = tuple(
    json.dumps(tree).encode()
    for tree in (
        {"type": "mute"},
        {"type": "mark", "text": "here"},
        {"type": "reset", "extra": [1, {"a": None}]},
        {"type": 7},
        [],
    )
)


NESTED = (b"[" * 60_000, b'{"a":' * 10_000, b"9" * 5_000)
"""JSON that a parser may run out of stack or patience over."""


def seeds_of(name: str) -> list[bytes]:
    """Valid inputs of a target, to start from."""
    match name:
        case "settings_file":
            listed = (ROOT / "config" / "monitor.toml").read_bytes()
            odd = [b"[vad]\nonset_db = nan", b"[mqtt]\ntimeout_s = inf", b"node = " + b"[" * 20_000]
            odd.append(b'[ensemble]\ncheckpoint = "~nobody-of-this-name/x"')
            return [listed, *odd, b"[capture]\nchannels = " + b"9" * 5_000]
        case "pcm_stream":
            noise = np.random.default_rng(2).standard_normal(8_000) * 8_000
            return [
                noise.astype("<i2").tobytes(),
                (noise / 9_000).astype("<f4").tobytes(),
                bytes(8_000),
            ]
        case "audio_file":
            return _audio_seeds()
        case "wav_header":
            return [seed[:200] for seed in _audio_seeds()[:2]]
        case "manifest":
            from stser_core.checkpoint import MANIFEST
            from stser_core.ensemble import DEFAULT_CHECKPOINT

            return [(DEFAULT_CHECKPOINT / MANIFEST).read_bytes(), *NESTED]
        case "query":
            return [b"types=emotion.utterance,emotion.state&since=12&transcript=0", b""]
        case "command":
            return [*COMMANDS, *NESTED]
        case "audio_query":
            return [
                b"stream=kitchen&sample_rate=48000",
                b"stream=&stream=a",
                b"sample_rate=" + b"9" * 5_000,
            ]
        case "audio_message":
            config = (
                b'{"config":{"sample_rate":8000,"events":true}}',
                b'{"config":{"sample_rate":1e400}}',
            )
            return [*config, b'{"eof":1}', b'{"reset":1}', b'{"config":null}', *NESTED]
        case "journal_file":
            return [_journal_seed()]
        case "http_bytes":
            return [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", HANDSHAKE]
        case "websocket_bytes":
            frames = [_frame(1, text) for text in COMMANDS]
            odd = [_frame(8, b"\x03\xe8bye"), _frame(9, b"ping"), _frame(2, b"\x00" * 200)]
            odd += [_frame(1, b"half", fin=0) + _frame(0, b"whole"), _frame(1, b"x", mask=None)]
            return frames + odd + [_frame(1, b"x" * 5_000)]
        case _:
            raise ValueError(name)
