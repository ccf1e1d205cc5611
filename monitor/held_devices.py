"""Microphones that another program holds: PortAudio leaves them out of its list, as if they were not there.

ALSA names them all and says of each whether it can be had. Where there is no ALSA, none is known to be held.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from typing import Any, Final

REMEDY: Final = (
    "'fuser -v /dev/snd/*' shows which: end it, or wait until it lets go with --wait-for-device "
    "(capture.wait_for_device)."
)

_SHARED: Final = {b"null", b"jack", b"oss", b"pulse"}
"""No devices, but ways to other audio systems; some complain on standard error where theirs does not run."""

_CAPTURE: Final = 1
_NONBLOCK: Final = 1
_ErrorHandler = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)


def held_microphones() -> list[str]:
    """Each with what it is, such as ``hw:CARD=Device,DEV=0 (USB Audio Device, USB Audio)``.

    Opens and closes every microphone that can be had.
    """
    try:
        alsa = ctypes.CDLL("libasound.so.2")
    except OSError:
        return []
    silence = _ErrorHandler(lambda *_: None)  # else it complains on standard error, from C
    alsa.snd_lib_error_set_handler(silence)
    try:
        return [text for name, text in _microphones(alsa) if _is_held(alsa, name)]
    finally:
        alsa.snd_lib_error_set_handler(None)


def _microphones(alsa: Any) -> Iterator[tuple[bytes, str]]:
    """Name and name with description, of what ALSA can record from."""
    hints = ctypes.POINTER(ctypes.c_void_p)()
    if alsa.snd_device_name_hint(-1, b"pcm", ctypes.byref(hints)) < 0:
        return
    try:
        for hint in _until_null(hints):
            name = _told(alsa, hint, b"NAME")
            if not name or name in _SHARED or _told(alsa, hint, b"IOID") == b"Output":
                continue
            # Of one sound card there are many names (front:, plughw:, ...); hw: is the card itself.
            if b":" in name and not name.startswith(b"hw:"):
                continue
            description = (_told(alsa, hint, b"DESC") or b"").partition(b"\n")[0]
            text = b"%s (%s)" % (name, description) if description else name
            yield name, text.decode(errors="replace")
    finally:
        alsa.snd_device_name_free_hint(hints)


def _until_null(hints: Any) -> Iterator[ctypes.c_void_p]:
    """The entries of a C array that a null pointer ends."""
    number = 0
    while hints[number]:
        yield ctypes.c_void_p(hints[number])
        number += 1


def _told(alsa: Any, hint: ctypes.c_void_p, what: bytes) -> bytes | None:
    alsa.snd_device_name_get_hint.restype = ctypes.c_void_p
    address = alsa.snd_device_name_get_hint(hint, what)
    if not address:
        return None
    text = ctypes.string_at(address)
    ctypes.CDLL(None).free(ctypes.c_void_p(address))
    return text


def _is_held(alsa: Any, name: bytes) -> bool:
    pcm = ctypes.c_void_p()
    error = alsa.snd_pcm_open(ctypes.byref(pcm), name, _CAPTURE, _NONBLOCK)
    if error == 0:
        alsa.snd_pcm_close(pcm)
    return bool(error == -errno.EBUSY)
