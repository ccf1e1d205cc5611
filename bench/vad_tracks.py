"""Speech with pauses, mixed with noise at known levels, and where the speech is: what VADs are judged by."""

from __future__ import annotations

import csv
import itertools
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples

SPEECH: Final = {
    "librivox_mini": 5,
    "jfk": 1,
    "speechbrain_asr": 12,
    "mini_librispeech": 112,
    "ravdess": 144,
}
"""Utterances taken from each corpus, spread evenly over its manifest."""
SNRS_DB: Final = (None, 20, 10, 5, 0)
"""None: nothing is mixed in, and pauses are digital silence."""
TRACK_S: Final = 30
SPEECH_DBFS: Final = -26.0
LABEL_RANGE_DB: Final = 35.0
"""A frame of the clean recording is speech down to this far below its 95th percentile."""
BRIDGED_FRAMES: Final = 10
"""Gaps shorter than 200 ms within speech are speech, too: closures and short stops."""

Half = Literal["tuning", "report"]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Track:
    """About half a minute of several utterances of one speaker after another."""

    snr_db: int | None
    noise: str
    samples: Samples
    speech: Flags
    """The truth, one for each 20 ms."""


def tracks(half: Half) -> Iterator[Track]:
    """All tracks of one half, each at every level of noise. Halves share no speaker and no noise recording."""
    noises = _noises(half)
    for index, (clean, speech) in enumerate(_clean_tracks(half)):
        kind = sorted(noises)[index % len(noises)]
        noise = _looped(noises[kind], len(clean), index)
        for snr_db in SNRS_DB:
            mixed = clean
            if snr_db is not None:
                mixed = clean + noise * np.float32(10 ** ((SPEECH_DBFS - snr_db) / 20))
            yield Track(snr_db, kind, np.clip(mixed, -1, 1), speech)


def _clean_tracks(half: Half) -> Iterator[tuple[Samples, Flags]]:
    rng = np.random.default_rng(1)
    blocks: list[Samples] = []
    flags: list[Flags] = []
    n = 0
    for utterance in _utterances(half):
        pause = np.zeros(int(rng.integers(20, 100)) * FRAME_SAMPLES, np.float32)
        speech = speech_frames(utterance)
        level = np.sqrt(np.mean(_framed(utterance)[speech] ** 2))
        blocks += [pause, utterance * np.float32(10 ** (SPEECH_DBFS / 20) / level)]
        flags += [np.zeros(len(pause) // FRAME_SAMPLES, bool), speech]
        n += len(pause) + len(utterance)
        if n >= TRACK_S * SAMPLE_RATE_HZ:
            yield np.concatenate(blocks), np.concatenate(flags)
            blocks, flags, n = [], [], 0


def speech_frames(clean: Samples) -> Flags:
    """Where a clean recording of one utterance has speech, one for each 20 ms."""
    level_db = 10 * np.log10(np.mean(_framed(clean) ** 2, axis=1) + 1e-12)
    speech = level_db > np.percentile(level_db, 95) - LABEL_RANGE_DB
    return bridged(speech, BRIDGED_FRAMES)


def bridged(speech: Flags, n_frames: int) -> Flags:
    """With gaps of less than ``n_frames`` between speech filled."""
    filled = speech.copy()
    at = np.flatnonzero(speech)
    for before, after in itertools.pairwise(at):
        if after - before <= n_frames:
            filled[before:after] = True
    return filled


def _utterances(half: Half) -> Iterator[Samples]:
    """Utterances of this half's speakers, corpora taken in turns."""
    queues = []
    for corpus, n in SPEECH.items():
        rows = [row for row in _manifest(corpus) if 1.5 <= float(row["duration_s"]) <= 17]
        rows.sort(key=lambda row: (row["speaker"], row["path"]))
        # A corpus of one speaker is split by recording.
        key = "speaker" if len({row["speaker"] for row in rows}) > 1 else "path"
        groups = sorted({row[key] for row in rows})
        mine = {group for i, group in enumerate(groups) if (i % 2 == 1) == (half == "tuning")}
        rows = [row for row in rows if row[key] in mine]
        n_mine = min(len(rows), max(1, n // 2))
        queues.append([rows[i * len(rows) // n_mine] for i in range(n_mine)])
    longest = max(map(len, queues))
    for i in range(longest):
        for queue in queues:
            if i * len(queue) // longest != (i + 1) * len(queue) // longest:
                yield _whole_frames(_read(queue[i * len(queue) // longest]))


def _noises(half: Half) -> dict[str, list[Samples]]:
    found: dict[str, list[Samples]] = defaultdict(list)
    folds = ("fold1", "fold2") if half == "tuning" else ("fold3", "fold4", "fold5")
    for row in _manifest("esc10"):
        if row["split"] in folds:
            found[row["label_original"]].append(_read(row))
    odd = half == "tuning"
    rows = [row for row in _manifest("speechbrain_noise_vad") if row["label_original"] == "noise"]
    found["background"] = [_read(row) for i, row in enumerate(rows) if (i % 2 == 1) == odd]
    return found


def _looped(recordings: list[Samples], n: int, offset: int) -> Samples:
    """Noise of one kind, ``n`` samples with a mean square of 1."""
    ordered = recordings[offset % len(recordings) :] + recordings[: offset % len(recordings)]
    noise = np.resize(np.concatenate(ordered), n)
    return noise / np.float32(np.sqrt(np.mean(noise**2)) + 1e-9)


def _manifest(corpus: str) -> list[dict[str, str]]:
    path = data_folder() / corpus / "manifest.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [{**row, "path": str(path.parent / row["path"])} for row in csv.DictReader(file)]


def data_folder() -> Path:
    """The folder of corpora.

    Raises:
        SystemExit: It is not named.
    """
    if "STSER_DATA" not in os.environ:
        raise SystemExit("STSER_DATA is not set: it names the folder of corpora to measure on.")
    return Path(os.environ["STSER_DATA"])


def _read(row: dict[str, str]) -> Samples:
    samples, rate_hz = soundfile.read(row["path"], dtype="float32")
    return np.asarray(soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ), np.float32)


def _whole_frames(samples: Samples) -> Samples:
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]


def _framed(samples: Samples) -> NDArray[np.float32]:
    return samples.reshape(-1, FRAME_SAMPLES)
