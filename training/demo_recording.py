"""Make ``monitor/demo/conversation.flac``, which the monitor plays where there is no microphone.

    python -m training.demo_recording monitor/demo/conversation.flac

Two of flite's voices (Debian's package ``flite``; CMU Arctic recordings, free for any use) say
short sentences in four moods. The moods are what synthesis can do to pitch, pace, loudness and
timbre: enough to show events, no measure of anything. The same flite gives the same file, bit for
bit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE_HZ: Final = 16_000
PAUSE_S: Final = 1.0
ROOM_NOISE_DBFS: Final = -72.0
PEAK_DBFS: Final = -1.0
PITCH_HZ: Final = {"slt": 172.0, "rms": 98.0}
"""Each voice's usual mean pitch."""


@dataclass(frozen=True, slots=True)
class Mood:
    """How a sentence is said, relative to the voice's usual manner."""

    stretch: float
    """Duration; above 1 is slower."""
    pitch: float
    """Mean pitch."""
    liveliness_hz: float
    """Standard deviation of the pitch."""
    gain_db: float
    tilt: float
    """First-order filter: above 0 brightens, below 0 darkens."""


MOODS: Final = {
    "neutral": Mood(stretch=1.0, pitch=1.0, liveliness_hz=12, gain_db=-9, tilt=0.0),
    "angry": Mood(stretch=0.88, pitch=1.3, liveliness_hz=30, gain_db=0, tilt=0.5),
    "happy": Mood(stretch=0.95, pitch=1.25, liveliness_hz=45, gain_db=-5, tilt=0.2),
    "sad": Mood(stretch=1.25, pitch=0.86, liveliness_hz=6, gain_db=-15, tilt=-0.4),
}

CONVERSATION: Final = (
    ("rms", "neutral", "what are you doing today"),
    ("slt", "happy", "i am so happy today"),
    ("slt", "happy", "this is the best day of my life"),
    ("rms", "angry", "leave me alone"),
    ("rms", "angry", "i am so angry with you"),
    ("slt", "sad", "i miss you so much"),
    ("slt", "sad", "i feel so sad and alone"),
    ("rms", "neutral", "we can talk about it tonight"),
)
"""Voice, mood and words, in order; all words are in the embedded recogniser's vocabulary."""


def conversation() -> NDArray[np.float32]:
    """All sentences with pauses between them in a quiet room, float32 ``(samples,)`` at 16 kHz."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), np.float32)
    parts = [pause]
    for voice, mood, words in CONVERSATION:
        parts += [say(words, voice, MOODS[mood]), pause]
    speech = np.concatenate(parts)
    speech *= 10 ** (PEAK_DBFS / 20) / np.abs(speech).max()
    room = np.random.default_rng(0).standard_normal(len(speech)) * 10 ** (ROOM_NOISE_DBFS / 20)
    return (speech + room).astype(np.float32)


def say(words: str, voice: str, mood: Mood) -> NDArray[np.float32]:
    """One sentence in a mood, its peak at the mood's gain, float32 ``(samples,)`` at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "sentence.wav"
        prosody = {
            "duration_stretch": mood.stretch,
            "int_f0_target_mean": PITCH_HZ[voice] * mood.pitch,
            "int_f0_target_stddev": mood.liveliness_hz,
        }
        settings = [text for key, value in prosody.items() for text in ("--setf", f"{key}={value}")]
        command = ["flite", "-voice", voice, *settings, "-t", words, "-o", str(wav)]
        subprocess.run(command, check=True)  # noqa: S603 - every word is a constant of this file
        samples, rate_hz = soundfile.read(wav, dtype="float32")
    samples = soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ)
    tilted = samples - mood.tilt * np.concatenate([[0.0], samples[:-1]])
    peak = 10 ** (mood.gain_db / 20)
    return np.asarray(tilted * peak / np.abs(tilted).max(), np.float32)


if __name__ == "__main__":
    soundfile.write(sys.argv[1], conversation(), SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
