"""What rooms, lines and noises do to a recording, done to its samples; each utterance its own way.

Training hears synthetic rooms, lines and codecs. :func:`conditions` are what ``stser-train
robustness`` asks about; its rooms and noises are recordings that training never hears.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_LINE_HZ: Final = 8_000
_LINES: Final = ("ULAW", "ALAW", "GSM610")
"""What telephones code with: G.711 in two dialects, and GSM full rate."""
_BAND_HZ: Final = (300.0, 3_400.0)
_OPUS_LEVEL: Final = 1.0
"""libsndfile's strongest compression: about 7 kb/s."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A way in which a recording can be changed; as long as it was, and about as loud."""

    name: str
    change: Callable[[Samples, int, np.random.Generator], Samples]
    """Samples, their rate and a source of randomness to the samples behind the channel."""
    digest: str = ""
    """Of the recordings that it puts in: two channels of one name may differ in them."""


CLEAN: Final = Channel("clean", lambda samples, rate, rng: samples)
"""The recording as it is."""

TRAINED: Final = {
    channel.name: channel
    for channel in (
        Channel("room", lambda x, rate, rng: reverberated(x, synthetic_room(rate, rng))),
        Channel("telephone", lambda x, rate, rng: telephone(x, rate, str(rng.choice(_LINES)))),
    )
}
"""Channels that training knows, by name; each is computed once for each utterance."""


def synthetic_room(rate: int, rng: np.random.Generator) -> Samples:
    """A room response: the direct sound, then noise that decays by 60 dB in 0.2 to 0.8 s.

    The reverberation is 0 to 15 dB weaker than the direct sound: from a desk to across a room.
    """
    decay_s = rng.uniform(0.2, 0.8)
    t = np.arange(round(decay_s * rate)) / rate
    tail = rng.standard_normal(len(t)) * np.exp(-np.log(1000) * t / decay_s)
    first = round(rng.uniform(0.002, 0.02) * rate)
    tail[:first] = 0
    tail *= 10 ** (-rng.uniform(0, 15) / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1
    return np.asarray(tail, np.float32)


def reverberated(samples: Samples, room: Samples) -> Samples:
    """Speech in a room, from the direct sound on, at the level that it had."""
    start = int(np.abs(room).argmax())
    n = len(samples) + len(room)
    spectrum = np.fft.rfft(samples, n) * np.fft.rfft(room[start:], n)
    wet = np.fft.irfft(spectrum, n)[: len(samples)]
    return _as_loud(wet.astype(np.float32), samples)


def telephone(samples: Samples, rate: int, codec: str = "ULAW") -> Samples:
    """300 to 3,400 Hz, coded at 8 kHz by G.711 (``ULAW``, ``ALAW``) or ``GSM610``."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / rate)
    spectrum[(hz < _BAND_HZ[0]) | (hz > _BAND_HZ[1])] = 0
    band = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    peak = max(float(np.abs(band).max()), 1e-6)
    line = soxr.resample(band / peak * 0.9, rate, _LINE_HZ)
    coded = _coded(line, _LINE_HZ, "WAV", codec)
    wide = soxr.resample(coded, _LINE_HZ, rate) * (peak / 0.9)
    return _fitted(np.asarray(wide, np.float32), len(samples))


def opus(samples: Samples, rate: int) -> Samples:
    """Coded by Opus at about 7 kb/s."""
    return _fitted(_coded(samples, rate, "OGG", "OPUS", _OPUS_LEVEL), len(samples))


def with_noise(
    samples: Samples, noise: Samples, snr_db: float, rng: np.random.Generator
) -> Samples:
    """Speech in noise: ``snr_db`` is the ratio of their mean powers over the recording."""
    if len(noise) < len(samples):
        noise = np.tile(noise, len(samples) // len(noise) + 1)
    start = int(rng.integers(len(noise) - len(samples) + 1))
    excerpt = noise[start : start + len(samples)]
    power = np.square(samples).mean() / max(float(np.square(excerpt).mean()), 1e-12)
    return samples + excerpt * np.float32(np.sqrt(power) * 10 ** (-snr_db / 20))


def conditions(noises: Sequence[Samples], rooms: Sequence[Samples]) -> list[Channel]:
    """What ``stser-train robustness`` does to each recording.

    Args:
        noises: Recordings of noise, at least one, at the rate of the speech.
        rooms: Recorded room responses, likewise; none leaves their row out.
    """

    def noisy(snr_db: float) -> Channel:
        return Channel(
            f"noise, {snr_db:g} dB SNR",
            lambda x, rate, rng: with_noise(x, noises[int(rng.integers(len(noises)))], snr_db, rng),
            _digest(noises),
        )

    known = [
        *(noisy(snr_db) for snr_db in (20, 10, 5)),
        Channel("telephone, G.711", lambda x, rate, rng: telephone(x, rate)),
        Channel("telephone, GSM", lambda x, rate, rng: telephone(x, rate, "GSM610")),
        Channel("Opus, 7 kb/s", lambda x, rate, rng: opus(x, rate)),
    ]
    if rooms:
        known.append(
            Channel(
                "recorded rooms",
                lambda x, rate, rng: reverberated(x, rooms[int(rng.integers(len(rooms)))]),
                _digest(rooms),
            )
        )
    return known


def _digest(recordings: Sequence[Samples]) -> str:
    digest = hashlib.sha256()
    for samples in recordings:
        digest.update(hashlib.sha256(samples.tobytes()).digest())
    return digest.hexdigest()


def _coded(samples: Samples, rate: int, container: str, codec: str, level: float = 0.0) -> Samples:
    """There and back through libsndfile's codec."""
    memory = io.BytesIO()
    extra = {"compression_level": level} if codec == "OPUS" else {}
    soundfile.write(memory, samples, rate, format=container, subtype=codec, **extra)
    memory.seek(0)
    decoded, _ = soundfile.read(memory, dtype="float32")
    return np.asarray(decoded, np.float32)


def _fitted(samples: Samples, n_samples: int) -> Samples:
    """Codecs work in blocks: cut, or held with silence, to the length that it was."""
    return np.pad(samples, (0, max(0, n_samples - len(samples))))[:n_samples]


def _as_loud(samples: Samples, reference: Samples) -> Samples:
    power = float(np.square(samples).mean())
    if power <= 0:
        return samples
    return samples * np.float32(np.sqrt(float(np.square(reference).mean()) / power))
