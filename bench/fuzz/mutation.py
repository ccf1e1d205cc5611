"""A valid input, harmed."""

from __future__ import annotations

import random
from typing import Final

LARGEST: Final = 1 << 16
"""Bytes; a mutated input is cut there."""

TOKENS = (
    *(b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(
        b"-1",
        b"1e999",
        b"NaN",
        b"9" * 40,
        b"true",
        b"null",
        b"[]",
        b"{}",
        b'""',
        b"[[",
        b'{"a":' * 50,
    ),
    *(b"../../etc/passwd", b"%00", b"%", b"\r\n", b"\n", b"=", b"[vad]", b'type":"', b"&since="),
)


def mutated(seed: bytes, rng: random.Random) -> bytes:
    """A seed with one to eight things done to it."""
    data = bytearray(seed)
    for _ in range(1 << rng.randrange(4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + 1 + int(rng.expovariate(0.1)))
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.randrange(256)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = rng.choice(TOKENS)
            case 4:
                data[at:end] = rng.choice(TOKENS)
            case 5:
                data[at:at] = data[rng.randrange(len(data) + 1) :][:64]
            case _ if rng.random() < 0.3:
                del data[at:]
    return bytes(data[:LARGEST])
