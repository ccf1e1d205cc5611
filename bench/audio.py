"""The audio of the benchmarks: the bundled recording, over and over."""

from __future__ import annotations

import numpy as np
import soundfile

from monitor.assembly import DEMO
from monitor.events import SAMPLE_RATE_HZ, Samples


def recording() -> Samples:
    """The bundled recording, float32 at 16 kHz."""
    samples, _ = soundfile.read(DEMO, dtype="float32")
    return np.asarray(samples, np.float32)


def repeated(seconds: float) -> Samples:
    """As many whole recordings as are needed for so long, at least."""
    samples = recording()
    return np.tile(samples, int(np.ceil(seconds * SAMPLE_RATE_HZ / len(samples))))


def stretch(seconds: float) -> Samples:
    """Exactly so much, from the first words on."""
    start = SAMPLE_RATE_HZ // 2
    return repeated(seconds + 1)[start : start + round(seconds * SAMPLE_RATE_HZ)]
