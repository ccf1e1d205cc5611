"""Read speech, cut into windows, and what a Whisper hears in them: lessons that need no labels.

Hours of voices, before and beside the few hours whose emotions are known. Readers hardly vary how they say
something, so the same is heard again in other manners (``manners.py``).
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stser_core.adaptation import AdaptationSettings
from stser_core.features import log_mel
from stser_core.labels import Emotion
from training.errors import TrainingError
from training.front_end import LogMels, load_audio, trim
from training.hear import RATE_HZ, STEP, WhisperEar
from training.manners import Manner, spoken
from training.open_corpora import generator
from training.recogniser.speech import Recording, read_recordings
from training.settings import OpenSettings, PretrainingSettings
from training.speech_data import PLAIN, SpeechData
from training.utterance import Utterance
from training.whole_file import written_whole

_CHANGED: Final = 0.9
"""Share of the recordings that are in another manner, in the passes that are."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadSpeech:
    """Windows of read speech, all of one length, and what the teacher hears in them."""

    data: SpeechData
    """Each window as an utterance of its voice: at each speed a reader is another."""
    states: NDArray[np.float16]
    """``(windows, pooled frames, width)``."""
    readers: NDArray[np.str_]
    """Who reads each window."""

    @property
    def speakers(self) -> NDArray[np.str_]:
        return np.array([utterance.speaker for utterance in self.data.utterances])

    @classmethod
    def of(
        cls,
        mels: NDArray[np.float16],
        states: NDArray[np.float16],
        readers: NDArray[np.str_],
        voices: NDArray[np.str_],
        adaptation: AdaptationSettings,
    ) -> Self:
        """Of log-mel ``(windows, frames, mels)``, and who reads each window in which voice."""
        return cls(_data(mels, voices, adaptation), states, readers)

    def save(self, path: Path, settings: OpenSettings) -> None:
        """Keep it for :meth:`load`, with what it was made by."""
        n = len(self.states)
        mels = self.data.plain_mels.frames.reshape(n, -1, self.data.plain_mels.frames.shape[1])
        with written_whole(path) as draft, draft.open("wb") as file:
            np.savez(
                file,
                mels=mels,
                states=self.states,
                readers=self.readers,
                voices=self.speakers,
                made_by=_made_by(settings),
            )

    @classmethod
    def load(cls, path: Path, settings: OpenSettings) -> Self:
        """What :meth:`save` kept.

        Raises:
            TrainingError: The file is missing, is none of these, or was made by other settings.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                made_by = str(kept["made_by"])
                parts = [kept[name] for name in ("mels", "states", "readers", "voices")]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise TrainingError(
                f"{path}: no read speech can be read: {error}. Make it with stser-train pretrain --read."
            ) from error
        if made_by != _made_by(settings):
            raise TrainingError(
                f"{path}: made by other settings (pretraining, log_mel, lesson.layers or seed). "
                "Name another file, or remove it and run stser-train pretrain --read again."
            )
        mels, states, readers, voices = parts
        return cls.of(mels, states, readers, voices, settings.adaptation)

    def pieces(self, each: int) -> Pieces:
        """Every window cut into so many pieces."""
        n, frames, width = self.states.shape
        if frames % each:
            raise TrainingError(
                f"lesson.pieces ({each}) must divide a window of {frames} pooled frames."
            )
        heard = self.states.reshape(n * each, -1, width).mean(axis=1, dtype=np.float32)
        voices = np.repeat(self.speakers, each)
        for voice in np.unique(voices):
            heard[voices == voice] -= heard[voices == voice].mean(axis=0)
        flat = self.data.plain_mels.frames
        mels = flat.reshape(n * each, -1, flat.shape[1])
        return Pieces(_data(mels, voices, self.data.adaptation), heard)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Short pieces of read speech, whose emotion nobody knows."""

    data: SpeechData
    heard: NDArray[np.float32]
    """What the teacher hears in each, the mean of it in its voice taken off: ``(pieces, width)``."""


def _made_by(settings: OpenSettings) -> str:
    """A digest of all that read speech depends on but the corpora and the teacher themselves."""
    ours = settings.pretraining
    cut = (ours.corpora, ours.hours, ours.speeds, ours.manners, ours.window_s, settings.seed)
    heard = (settings.log_mel, settings.sizes.speech.pool_time, settings.lesson.layers)
    return hashlib.sha256(repr((cut, heard)).encode()).hexdigest()


def _data(
    mels: NDArray[np.float16], voices: NDArray[np.str_], adaptation: AdaptationSettings
) -> SpeechData:
    ends = np.arange(1, len(mels) + 1) * mels.shape[1]
    kept = LogMels(mels.reshape(-1, mels.shape[2]), ends)
    # Read aloud; the label is not used.
    said = [Utterance(corpus="read", speaker=str(v), label=Emotion.NEUTRAL) for v in voices]
    return SpeechData(said, {PLAIN: kept}, adaptation)


def hear_windows(ear: WhisperEar, root: Path, settings: OpenSettings) -> ReadSpeech:
    """Cut speech into windows, speakers in turn, until there are so many hours; ask the teacher.

    Then the same again, as often as ``manners`` says, with most recordings in another manner.
    """
    ours, front_end = settings.pretraining, settings.log_mel
    per_frame, rest = divmod(settings.sizes.speech.pool_time * front_end.hop_length, STEP)
    if per_frame == 0 or rest or front_end.sample_rate_hz != RATE_HZ:
        raise TrainingError(
            f"pretrain needs frames of speech.pool_time x log_mel.hop_length in multiples of {STEP} "
            f"samples, at {RATE_HZ} Hz: those of a Whisper."
        )
    ear.check(settings.lesson.layers)
    size = int(ours.window_s * RATE_HZ) // (per_frame * STEP) * per_frame * STEP
    recordings = [r for name in ours.corpora for r in read_recordings(root / name)]
    wanted = int(ours.hours * 3600 * RATE_HZ / size)
    edge = (front_end.win_length - front_end.hop_length) // 2  # frames lie amid their windows
    mels, states, readers, voices = [], [], [], []
    passes = [
        itertools.islice(_windows(recordings, size, ours, n > 0, generator(settings, 9, n)), wanted)
        for n in range(1 + ours.manners)
    ]
    bar = tqdm(itertools.chain(*passes), "hear", wanted * len(passes), mininterval=10)
    for recording, speed, window in bar:
        heard = ear.states(window)
        mean = np.mean([heard[n] for n in settings.lesson.layers], axis=0)
        pooled = mean.reshape(-1, per_frame, mean.shape[1]).mean(axis=1)
        states.append(pooled.astype(np.float16))
        mels.append(log_mel(np.pad(window, edge), front_end).astype(np.float16))
        readers.append(recording.speaker)
        voices.append(f"{recording.speaker} at {speed:g}")
    if len(set(readers)) < 2:
        raise TrainingError(f"{root}: pretrain needs two speakers or more: one is held out.")
    return ReadSpeech.of(
        np.stack(mels), np.stack(states), np.array(readers), np.array(voices), settings.adaptation
    )


def _windows(
    recordings: Sequence[Recording],
    size: int,
    settings: PretrainingSettings,
    changed: bool,
    rng: np.random.Generator,
) -> Iterator[tuple[Recording, float, NDArray[np.float32]]]:
    """What speakers say at each speed, in turn, joined and cut into windows of ``size`` samples.

    Where it is ``changed``, most recordings are in another manner than their reader's.
    """
    of_speaker: dict[str, list[Recording]] = defaultdict(list)
    for at in rng.permutation(len(recordings)):
        of_speaker[recordings[at].speaker].append(recordings[at])
    rest: dict[tuple[str, float], NDArray[np.float32]] = defaultdict(
        lambda: np.empty(0, np.float32)
    )
    for turn in itertools.zip_longest(*of_speaker.values()):
        for recording in filter(None, turn):
            speed = float(rng.choice(settings.speeds))
            samples = trim(load_audio(recording.path, RATE_HZ, speed), RATE_HZ)
            if changed and rng.random() < _CHANGED:
                samples = spoken(samples, Manner.drawn(rng))
            samples = np.concatenate([rest[recording.speaker, speed], samples])
            whole = len(samples) // size * size
            rest[recording.speaker, speed] = samples[whole:]
            for window in samples[:whole].reshape(-1, size):
                yield recording, speed, window
