"""The same recording in another manner: higher, faster, shouted, soft, in a room.

Read speech has none of what emotion does to a voice. Pitch, pace, loudness and timbre can be changed
without changing the words: the recording is played at another speed, which moves pitch, resonances and
pace together, and log-mel is then stretched to put pace and resonances where they are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from training.recogniser.features import HIGH_HZ, LOW_HZ, N_MELS, SAMPLE_RATE_HZ, log_mel


@dataclass(frozen=True, slots=True)
class Style:
    """What is done to a recording."""

    pitch: float = 1.0
    """Above 1 is higher; resonances stay, as they do when a person raises the voice."""
    pace: float = 1.0
    """Above 1 is faster."""
    size: float = 1.0
    """Above 1 moves the resonances up, as a smaller speaker's are."""
    tilt: float = 0.0
    """First-order filter: above 0 brightens as a raised voice does, below 0 darkens."""
    drive: float = 0.0
    """Soft clipping: the evenness of a shouting voice; 0 is none."""
    room_s: float = 0.0
    """Reverberation time; 0 is none."""


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(hertz / 700))


_LOW_MEL, _HIGH_MEL = _mel(np.array([LOW_HZ, HIGH_HZ], np.float64))
_CENTRES_HZ: Final = 700 * np.expm1(np.linspace(_LOW_MEL, _HIGH_MEL, N_MELS + 2)[1:-1] / 1127)
"""Centre of each mel band, as Kaldi places them."""


def drawn(rng: np.random.Generator) -> Style:
    """A style by chance: a raised voice, a low one, or a reader of another size."""
    room_s = float(rng.uniform(0.1, 0.5)) if rng.random() < 0.35 else 0.0
    size = float(np.exp(rng.normal(0, 0.05)))
    kind = rng.random()
    if kind < 0.5:
        pitch, pace, tilt = rng.uniform(1.05, 1.5), rng.uniform(0.8, 1.25), rng.uniform(0, 0.6)
        return Style(pitch, pace, size * pitch**0.15, tilt, rng.uniform(0, 4), room_s)
    if kind < 0.75:
        pitch, pace, tilt = rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0), rng.uniform(-0.5, 0)
        return Style(pitch, pace, size, tilt, 0.0, room_s)
    speed = rng.uniform(0.85, 1.2)
    return Style(speed, rng.uniform(0.85, 1.25), speed, 0.0, 0.0, room_s)


def styled_log_mel(
    samples: NDArray[np.float32], style: Style, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Log-mel of a recording in that style, float32 ``(time, mels)``; its level is as before.

    Args:
        samples: float32 ``(samples,)`` at 16 kHz.
        style: What to do.
        rng: Draws the room.
    """
    level = np.sqrt(np.mean(samples**2)) + 1e-9
    played = soxr.resample(samples, SAMPLE_RATE_HZ * style.pitch, SAMPLE_RATE_HZ)
    played = played - style.tilt * np.concatenate([played[:1] * 0, played[:-1]])
    if style.drive > 0:
        scale = style.drive / (3 * level)
        played = np.tanh(played * scale) / scale
    if style.room_s > 0:
        played = _convolved(played, _room(style.room_s, rng))
    played = played * (level / (np.sqrt(np.mean(played**2)) + 1e-9))
    frames = log_mel(np.asarray(played, np.float32))
    return warped(frames, style.pace / style.pitch, style.size / style.pitch)


def warped(frames: NDArray[np.float32], pace: float, size: float) -> NDArray[np.float32]:
    """Log-mel with its time and its frequencies stretched, ``(time / pace, mels)``.

    Args:
        frames: ``(time, mels)``.
        pace: Above 1 is faster.
        size: Above 1 moves everything up.
    """
    n_frames, n_mels = frames.shape
    if n_frames < 2:
        return frames
    times = np.linspace(0, n_frames - 1, max(2, round(n_frames / pace)))
    bands = np.interp(_mel(_CENTRES_HZ / size), _mel(_CENTRES_HZ), np.arange(n_mels))
    return np.ascontiguousarray(between(between(frames, times).T, bands).T)


def between(rows: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows at fractional places, interpolated linearly; beyond the ends, the first and the last.

    Args:
        rows: ``(rows, width)``, one at least.
        places: ``(places,)``.

    Returns:
        float32 ``(places, width)``.
    """
    held = np.clip(places, 0, len(rows) - 1)
    low = np.minimum(held.astype(int), max(0, len(rows) - 2))
    share = (held - low).astype(np.float32)[:, None]
    high = np.minimum(low + 1, len(rows) - 1)
    return np.asarray(rows[low] * (1 - share) + rows[high] * share, np.float32)


def _convolved(samples: NDArray[np.float32], response: NDArray[np.float64]) -> NDArray[np.float64]:
    """The samples through a room, as long as before."""
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(samples)]


def _room(reverberation_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A small room's response: the direct sound, then noise that dies away by 60 dB."""
    n = round(reverberation_s * SAMPLE_RATE_HZ)
    response = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n) * rng.uniform(0.02, 0.12)
    response[0] = 1.0
    return response
