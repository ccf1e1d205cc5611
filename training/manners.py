"""Speech in another manner: raised or low, lively or flat, breathy, trembling, slow.

Readers hardly vary how they say something, so that a model learns little of it from them. The WORLD
vocoder (Morise et al., 2016) takes speech apart into pitch, spectral envelope and aperiodicity; these are
changed and put together again, with the words as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.channels import Channel
from training.errors import TrainingError

RATE_HZ: Final = 16_000
_PERIOD_MS: Final = 5.0
_PITCH_HZ: Final = (55.0, 650.0)
_BINS: Final = 513
_OCTAVES: Final = np.log2(np.maximum(np.linspace(0, RATE_HZ / 2, _BINS), 500) / 500)
"""Of each bin of the envelope above 500 Hz, where a raised voice is brighter."""
_QUIET_DB: Final = 45.0
"""What lies further below the loud parts is neither emphasised nor levelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What is done to a recording; every default leaves it as it is."""

    height: float = 1.0
    """Above 1 is higher."""
    liveliness: float = 1.0
    """Above 1 widens the movements of pitch around its mean, below 1 flattens them."""
    tremor: float = 0.0
    """Share by which pitch trembles up and down."""
    tremor_hz: float = 5.0
    tilt_db: float = 0.0
    """Added for each octave above 500 Hz: a raised voice is brighter."""
    size: float = 1.0
    """Above 1 moves the resonances up."""
    breath: float = 1.0
    """Above 1 is breathier."""
    emphasis: float = 1.0
    """Above 1 widens the differences of loudness, below 1 levels them."""
    pace: float = 1.0
    """Above 1 is faster."""
    gain_db: float = 0.0
    drive: float = 0.0
    """Soft clipping: the evenness of a shouting voice; 0 is none."""

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Manner:
        """A manner by chance; with effort a voice becomes higher, livelier, brighter and faster at once."""
        effort = rng.normal(0, 1)
        shouts = effort > 0.7 and rng.random() < 0.5
        return cls(
            height=float(np.exp(rng.normal(0.03 + 0.12 * effort, 0.15))),
            liveliness=float(np.exp(rng.normal(0.25 * effort, 0.45))),
            tremor=float(rng.uniform(0.005, 0.04)) if rng.random() < 0.3 else 0.0,
            tremor_hz=float(rng.uniform(3.5, 7.0)),
            tilt_db=float(rng.normal(1.8 * effort, 1.5)),
            size=float(np.exp(rng.normal(0.02 * effort, 0.03))),
            breath=float(np.exp(np.clip(rng.normal(-0.15 * effort, 0.35), -0.8, 0.8))),
            emphasis=float(np.exp(rng.normal(0, 0.2))),
            pace=float(np.exp(rng.normal(0.04 * effort, 0.14))),
            gain_db=float(rng.normal(0, 2)),
            drive=float(rng.uniform(1, 4)) if shouts else 0.0,
        )


def spoken(samples: NDArray[np.float32], manner: Manner) -> NDArray[np.float32]:
    """A recording in another manner, float32 ``(samples / pace,)``.

    Args:
        samples: Mono at 16 kHz.
        manner: What to do.
    """
    import pyworld

    given = samples.astype(np.float64)
    pitch, times = pyworld.dio(given, RATE_HZ, frame_period=_PERIOD_MS)
    pitch = pyworld.stonemask(given, pitch, times, RATE_HZ)
    envelope = pyworld.cheaptrick(given, pitch, times, RATE_HZ)
    noisiness = pyworld.d4c(given, pitch, times, RATE_HZ)
    pitch = _moved(pitch, times, manner)
    envelope = _between(envelope.T, np.arange(_BINS) / manner.size).T
    envelope = envelope * 10 ** (manner.tilt_db * _OCTAVES / 10)
    envelope = envelope * _emphasis(envelope, manner.emphasis)[:, None]
    noisiness = np.clip(noisiness ** (1 / manner.breath), 1e-4, 0.999)
    places = np.linspace(0, len(pitch) - 1, max(2, int(len(pitch) / manner.pace)))
    near = np.round(places).astype(int)
    said: NDArray[np.float64] = pyworld.synthesize(
        np.ascontiguousarray(pitch[near]),
        np.ascontiguousarray(_between(envelope, places)),
        np.ascontiguousarray(noisiness[near]),
        RATE_HZ,
        _PERIOD_MS,
    )
    said *= _level(given) / _level(said) * 10 ** (manner.gain_db / 20)
    if manner.drive > 0:
        scale = manner.drive / (3 * _level(said))
        said = np.tanh(said * scale) / scale
    return np.clip(said, -1, 1).astype(np.float32)


def _voice(name: str, manner: Manner) -> Channel:
    def change(
        samples: NDArray[np.float32], rate: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        if rate != RATE_HZ:
            raise TrainingError(
                f"Other voices are made at {RATE_HZ} Hz, not at {rate}: speech.voices = []."
            )
        return spoken(samples, manner)

    return Channel(name, change)


VOICES: Final = {
    voice.name: voice
    for voice in (
        _voice("larger", Manner(height=0.8, size=0.9)),
        _voice("smaller", Manner(height=1.25, size=1.11)),
    )
}
"""Other speakers who say the same with the same emotion, by name: all that one says is moved alike."""


def _moved(
    pitch: NDArray[np.float64], times: NDArray[np.float64], manner: Manner
) -> NDArray[np.float64]:
    """Pitch in Hz, 0 where there is no voice, moved as the manner says."""
    voiced = pitch > 0
    if not voiced.any():
        return pitch
    octaves = np.log(pitch[voiced])
    mean = octaves.mean()
    moved = np.exp(mean + manner.liveliness * (octaves - mean)) * manner.height
    moved *= np.exp(manner.tremor * np.sin(2 * np.pi * manner.tremor_hz * times[voiced]))
    pitch = pitch.copy()
    pitch[voiced] = np.clip(moved, *_PITCH_HZ)
    return pitch


def _emphasis(envelope: NDArray[np.float64], emphasis: float) -> NDArray[np.float64]:
    """By which the power of each frame is multiplied, ``(frames,)``."""
    loudness = 10 * np.log10(envelope.sum(axis=1) + 1e-12)
    loud = np.percentile(loudness, 95)
    added = (emphasis - 1) * (np.maximum(loudness, loud - _QUIET_DB) - loud)
    return np.asarray(10 ** (np.clip(added, -25, 10) / 10))


def _between(rows: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows at fractional places, interpolated linearly; beyond the last the last is held."""
    low = np.clip(places.astype(int), 0, len(rows) - 2)
    share = np.clip(places - low, 0, 1)[:, None]
    return np.asarray(rows[low] * (1 - share) + rows[low + 1] * share)


def _level(samples: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(samples**2)) + 1e-9)
