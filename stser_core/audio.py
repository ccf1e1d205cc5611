"""Waveform: mono samples at a known rate, checked once; PCM conversion and resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from stser_core.errors import AudioFormatError

_PCM16_FULL_SCALE: Final = 32_768


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """Mono audio in memory."""

    samples: NDArray[np.float32]
    """``(samples,)``, full scale 1.0, at least one, every value finite."""
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise AudioFormatError(
                f"a waveform is float32 of shape (samples,), got {self.samples.dtype} of shape "
                f"{self.samples.shape}. Mix channels with Waveform.mixed()."
            )
        if self.sample_rate_hz <= 0:
            raise AudioFormatError(f"sample rate ({self.sample_rate_hz} Hz) must be positive.")
        if len(self.samples) == 0:
            raise AudioFormatError("the audio has no samples.")
        if not np.isfinite(self.samples).all():
            at = int(np.argmin(np.isfinite(self.samples)))
            raise AudioFormatError(f"sample {at} is not finite: {self.samples[at]}.")

    @classmethod
    def mixed(cls, channels: NDArray[np.float32], sample_rate_hz: int) -> Waveform:
        """The mean of all channels.

        Args:
            channels: ``(samples, channels)``, or ``(samples,)``.
            sample_rate_hz: Rate of the samples.

        Raises:
            AudioFormatError: If there is no audio, or a sample is not finite.
        """
        mono = channels if channels.ndim == 1 else channels.mean(axis=1, dtype=np.float32)
        return cls(np.ascontiguousarray(mono, np.float32), sample_rate_hz)

    def resampled(self, sample_rate_hz: int) -> Waveform:
        """The same sound at another rate, low-pass filtered before samples are dropped.

        Raises:
            AudioFormatError: If the audio is too short to give one sample at the new rate.
        """
        if sample_rate_hz == self.sample_rate_hz:
            return self
        samples = soxr.resample(self.samples, self.sample_rate_hz, sample_rate_hz, quality="HQ")
        return Waveform(np.asarray(samples, np.float32), sample_rate_hz)


def pcm16_to_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """16-bit PCM to float32 in ``[-1, 1)``; exact."""
    return samples.astype(np.float32) / np.float32(_PCM16_FULL_SCALE)


def float_to_pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """float32 to 16-bit PCM, rounded to the nearest; beyond full scale is clipped."""
    scaled = np.rint(samples * np.float32(_PCM16_FULL_SCALE))
    pcm: NDArray[np.int16] = np.clip(scaled, -_PCM16_FULL_SCALE, _PCM16_FULL_SCALE - 1).astype(
        np.int16
    )
    return pcm
