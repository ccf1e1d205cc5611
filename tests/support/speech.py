"""Speech made at test time by Debian's flite or festival: known words, under a known licence."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000


def spoken(
    text: str, *, voice: str = "slt", before_s: float = 0.5, after_s: float = 0.5
) -> NDArray[np.float32]:
    """``text`` as speech with digital silence around it, float32 ``(samples,)`` at 16 kHz.

    Args:
        text: English; the same text and voice always give the same samples.
        voice: A flite voice (slt, rms, awb, kal16). Festival alone speaks in its own default.
        before_s: Silence before the speech.
        after_s: Silence after it.
    """
    return np.concatenate([silence(before_s), _synthesised(text, voice), silence(after_s)])


def silence(duration_s: float) -> NDArray[np.float32]:
    """Zeros, float32 ``(samples,)`` at 16 kHz."""
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)


def write_wav(path: Path, samples: NDArray[np.float32]) -> Path:
    """``samples`` as a mono PCM16 WAV file at 16 kHz; returns ``path``."""
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


@functools.cache
def _synthesised(text: str, voice: str) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        if shutil.which("flite"):
            command = ["flite", "-voice", voice, "-t", text, "-o", str(wav)]
            subprocess.run(command, check=True, timeout=30)
        elif shutil.which("text2wave"):
            command = ["text2wave", "-o", str(wav)]
            subprocess.run(command, check=True, timeout=30, input=text.encode())
        else:
            pytest.skip("neither flite nor festival is installed: nothing can speak")
        samples, rate_hz = soundfile.read(wav, dtype="float32")
    resampled: NDArray[np.float32] = soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ)
    resampled.flags.writeable = False
    return resampled
