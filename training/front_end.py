"""Audio on disk to log-mel, cut as the monitor cuts it, computed once and kept."""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from stser_core.features import LogMel, LogMelSettings, log_mel
from training.channels import CLEAN, Channel
from training.errors import CorpusError
from training.utterance import Utterance
from training.whole_file import written_whole

logger = logging.getLogger(__name__)

PRE_ROLL_S: Final = 0.2
"""Audio kept before the first speech, as a live segment has it."""
TAIL_S: Final = 0.1
"""Audio kept after the last speech."""
_FRAME: Final = 320


@dataclass(frozen=True, slots=True, eq=False)
class LogMels:
    """The log-mel of many utterances in one array, so that it can be kept in one file."""

    frames: NDArray[np.float16]
    """All utterances, one after the other, ``(time, mels)``."""
    ends: NDArray[np.int64]
    """Index after the last frame of each utterance."""
    first: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", np.concatenate([[0], self.ends[:-1]]))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> LogMel:
        return self.frames[self.first[index] : self.ends[index]].astype(np.float32)

    def length(self, index: int) -> int:
        """Frames of one utterance."""
        return int(self.ends[index] - self.first[index])


def load_audio(path: Path, sample_rate_hz: int, speed: float = 1.0) -> NDArray[np.float32]:
    """Mono audio at a rate, played at a speed (which moves the pitch, too).

    Raises:
        CorpusError: The file cannot be decoded, or a sample of it is no finite number.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise CorpusError(f"{path}: cannot be decoded ({error}).") from error
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        sample = int(np.isfinite(mono).argmin())
        raise CorpusError(
            f"{path}: sample {sample} is no finite number. Write the file again as 16-bit PCM."
        )
    if rate * speed != sample_rate_hz:
        mono = soxr.resample(mono, rate * speed, sample_rate_hz)
    return np.asarray(mono, np.float32)


def trim(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Cut leading and trailing silence down to what a live segment keeps of it."""
    n_frames = len(samples) // _FRAME
    if n_frames == 0:
        return samples
    level = np.sqrt(np.square(samples[: n_frames * _FRAME]).reshape(n_frames, _FRAME).mean(axis=1))
    floor = max(0.02 * level.max(), 2 * np.percentile(level, 10))
    loud = np.flatnonzero(level > min(floor, 0.5 * level.max()))
    if len(loud) == 0:
        return samples
    start = max(0, int(loud[0] * _FRAME - PRE_ROLL_S * sample_rate_hz))
    return samples[start : int((loud[-1] + 1) * _FRAME + TAIL_S * sample_rate_hz)]


def cache_key(utterances: Sequence[Utterance], *parts: object) -> str:
    """Name of what is computed from recordings: one that was exchanged for another gives another.

    Args:
        utterances: Each with audio.
        parts: All else that it depends on, as ``repr`` tells it.

    Raises:
        CorpusError: A file cannot be read.
    """
    key = hashlib.sha256(repr(parts).encode())
    for utterance in utterances:
        assert utterance.audio is not None
        try:
            content = hashlib.sha256(utterance.audio.read_bytes()).hexdigest()
        except OSError as error:
            raise CorpusError(
                f"{utterance.audio}: cannot be read ({error.strerror}). Check --root."
            ) from error
        key.update(f"{utterance.audio.name} {content}\n".encode())
    return key.hexdigest()[:16]


def extract(
    utterances: Sequence[Utterance],
    settings: LogMelSettings,
    cache: Path,
    speed: float = 1.0,
    channel: Channel = CLEAN,
) -> LogMels:
    """Log-mel of every utterance, from the cache where it was computed before.

    Args:
        utterances: Each with audio.
        settings: The front end.
        cache: Folder for the arrays; files in it are named after all that they depend on.
        speed: Playback speed.
        channel: What the recording goes through after it was cut; each utterance has a draw of its
            own, the same each time.
    """
    parts = (settings, speed, PRE_ROLL_S, TAIL_S, channel.name, channel.digest)
    path = cache / f"log_mel-{cache_key(utterances, *parts)}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return LogMels(kept["frames"], kept["ends"])
    blocks = []
    for utterance in tqdm(
        utterances, desc=f"log-mel, {channel.name}, speed {speed:g}", mininterval=5
    ):
        assert utterance.audio is not None
        samples = trim(
            load_audio(utterance.audio, settings.sample_rate_hz, speed), settings.sample_rate_hz
        )
        rng = np.random.default_rng(zlib.crc32(f"{channel.name} {utterance.audio.name}".encode()))
        frames = log_mel(channel.change(samples, settings.sample_rate_hz, rng), settings)
        if len(frames) == 0:
            raise CorpusError(
                f"{utterance.audio}: shorter than one frame of {settings.win_length} samples."
            )
        blocks.append(frames.astype(np.float16))
    mels = LogMels(np.concatenate(blocks), np.cumsum([len(block) for block in blocks]))
    with written_whole(path) as draft:
        np.savez(draft, frames=mels.frames, ends=mels.ends)
    return mels
