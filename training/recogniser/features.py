"""Log-mel as Vosk will compute it, and the features of many utterances on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import kaldi_native_fbank
import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.recogniser.sentences import Sentence
from training.whole_file import write_whole

SAMPLE_RATE_HZ: Final = 16_000
N_MELS: Final = 40
LOW_HZ, HIGH_HZ = 20, 7_600
FRAMES_PER_S: Final = 100
SUBSAMPLING: Final = 3
"""Frames of log-mel for each output of the acoustic model."""
FLOOR: Final = float(np.log(np.finfo(np.float32).eps))
"""Log-mel of digital silence."""
LIFTER: Final = 22.0

MFCC_CONF: Final = f"""--sample-frequency={SAMPLE_RATE_HZ}
--use-energy=false
--num-mel-bins={N_MELS}
--num-ceps={N_MELS}
--low-freq={LOW_HZ}
--high-freq={HIGH_HZ}
--dither=0
--allow-downsample=true
"""
"""Vosk computes MFCC by these settings: as many coefficients as mels, so that nothing is lost."""


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kaldi's log-mel filter bank energies, float32 ``(time, mels)``, 100 frames a second.

    Args:
        samples: float32 ``(samples,)`` at 16 kHz, full scale 1.0; fewer than 400 give no frame.
    """
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE_HZ
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = N_MELS
    options.mel_opts.low_freq = LOW_HZ
    options.mel_opts.high_freq = HIGH_HZ
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(SAMPLE_RATE_HZ, np.rint(np.clip(samples, -1, 1) * 32767))
    bank.input_finished()
    frames = [bank.get_frame(index) for index in range(bank.num_frames_ready)]
    return np.array(frames, np.float32).reshape(-1, N_MELS)


def mfcc_matrix() -> NDArray[np.float64]:
    """The linear map from log-mel to Kaldi's MFCC, ``(ceps, mels)``: cosine transform and lifter."""
    k, n = np.arange(N_MELS)[:, None], np.arange(N_MELS)[None, :]
    cosine = np.sqrt(2 / N_MELS) * np.cos(np.pi / N_MELS * (n + 0.5) * k)
    cosine[0] = np.sqrt(1 / N_MELS)
    lifter = 1 + 0.5 * LIFTER * np.sin(np.pi * k / LIFTER)
    return np.asarray(lifter * cosine, np.float64)


@dataclass(frozen=True, slots=True)
class Spoken:
    """Features of one utterance."""

    words: Sentence
    frames: NDArray[np.float32]
    """Log-mel, ``(time, mels)``."""
    states: NDArray[np.float16] | None = None
    """What a teacher hears at each output of the acoustic model, ``(outputs, width)``."""


def n_outputs(n_frames: int) -> int:
    """Outputs of an utterance: one for each third frame, the first included."""
    return -(-n_frames // SUBSAMPLING)


def write_features(path: Path, utterances: Iterable[Spoken]) -> int:
    """Write utterances as ``path.npy`` (float16) and ``path.json``, and what a teacher hears as
    ``path.states.npy``; returns how many.

    Whole or not at all: the index is written last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [spoken for spoken in utterances if len(spoken.frames)]
    frames = [spoken.frames.astype(np.float16) for spoken in kept]
    np.save(
        path.with_suffix(".npy"),
        np.concatenate(frames) if frames else np.zeros((0, N_MELS), np.float16),
    )
    states = [spoken.states for spoken in kept if spoken.states is not None]
    if states:
        np.save(path.with_suffix(".states.npy"), np.concatenate(states))
    index = [[" ".join(spoken.words), len(spoken.frames)] for spoken in kept]
    write_whole(path.with_suffix(".json"), json.dumps(index))
    return len(kept)


class Features:
    """Utterances of one or more files, read as they are asked for."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.words: list[Sentence] = []
        self._paths = list(paths)
        self._places: list[tuple[int, int, int]] = []
        self._frames = []
        for number, path in enumerate(self._paths):
            try:
                index = json.loads(path.with_suffix(".json").read_text("utf-8"))
                self._frames.append(np.load(path.with_suffix(".npy"), mmap_mode="r"))
            except (OSError, ValueError) as error:
                raise TrainingError(
                    f"{path}: no features ({error}). Prepare them again."
                ) from error
            start = 0
            for words, n_frames in index:
                self.words.append(tuple(words.split()))
                self._places.append((number, start, start + n_frames))
                start += n_frames

    def __len__(self) -> int:
        return len(self.words)

    def n_frames(self, index: int) -> int:
        _, start, end = self._places[index]
        return end - start

    def __getitem__(self, index: int) -> Spoken:
        number, start, end = self._places[index]
        return Spoken(self.words[index], np.array(self._frames[number][start:end], np.float32))

    def states(self) -> list[NDArray[np.float16]]:
        """What a teacher heard in each utterance, ``(outputs, width)``, in their order.

        Raises:
            TrainingError: No teacher heard them.
        """
        found: list[NDArray[np.float16]] = []
        for number, path in enumerate(self._paths):
            lengths = [n_outputs(end - at) for part, at, end in self._places if part == number]
            try:
                rows = np.load(path.with_suffix(".states.npy"), mmap_mode="r")
            except OSError as error:
                raise TrainingError(f"{path}: heard by no teacher ({error}).") from error
            found += np.split(rows, np.cumsum(lengths)[:-1])
        return found
