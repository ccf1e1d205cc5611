"""Corpora to what training reads: sentences, and features of recordings and of synthesised speech.

Each part is a file of its own in the cache, so that preparation goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.corpora.csv_manifest import read_rows
from training.front_end import load_audio
from training.recogniser.features import SAMPLE_RATE_HZ, Features, Spoken, log_mel, write_features
from training.recogniser.phone_teacher import PhoneTeacher
from training.recogniser.sentences import Sentence, read_sentences
from training.recogniser.settings import RecogniserSettings
from training.recogniser.speech import Recording, Split, read_recordings, split_of
from training.recogniser.styles import drawn, styled_log_mel
from training.recogniser.synthesis import chosen, lines, spoken

logger = logging.getLogger(__name__)

DIALOGUE_TESTS: dict[str, tuple[str, ...]] = {
    "valid": ("dailydialog/dev.csv",),
    "test": ("meld_text/dev.csv",),
}
"""Sentences of the synthesised dialogue, of no training file; the short ones are often in one, too."""


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to learn from, before anything is computed."""

    recordings: dict[Split, list[Recording]]
    said: dict[str, list[Sentence]]
    """Training sentences by corpus; the training recordings' own are under ``read``."""


def material(root: Path, settings: RecogniserSettings) -> Material:
    """Read all transcripts and text corpora.

    Raises:
        CorpusError: A corpus is missing or damaged.
    """
    speech = settings.speech
    recordings: dict[Split, list[Recording]] = {"train": [], "valid": [], "test": []}
    for corpus in speech.corpora:
        for recording in read_recordings(root / corpus):
            side = split_of(
                recording, speech.valid_speakers, speech.test_speakers, speech.by_prompt
            )
            recordings[side].append(recording)
    said = {
        corpus: list(read_sentences(root / corpus / "train.csv"))
        for corpus in settings.language.corpora
    }
    said["read"] = [recording.words for recording in recordings["train"]]
    return Material(recordings, said)


Heard = Callable[[NDArray[np.float32]], NDArray[np.float16]]
"""What a teacher hears in samples: states, ``(outputs, width)``."""


def cache_folder(cache: Path, settings: RecogniserSettings, teacher: str) -> Path:
    """Features are shared by all settings but those of speech, the seed, the corpora and who teaches."""
    corpora = (settings.language.corpora, settings.training.noise)
    parts = (settings.speech, settings.seed, corpora, teacher)
    return cache / f"recogniser-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where the features lie."""

    folder: Path
    styles: int

    def part(self, *names: str) -> Features:
        return Features(self.folder / name for name in names)

    def valid(self) -> Features:
        """What checkpoints are chosen on."""
        return self.part("read-valid", "synthesised-valid")

    def training(self, manner: int) -> Features:
        """Recordings as they are (0) or in one of the other manners, and all synthesised speech."""
        return self.part(f"read-train-{manner}", "synthesised-train")


def prepare(
    root: Path,
    cache: Path,
    settings: RecogniserSettings,
    found: Material,
    teacher: PhoneTeacher | None = None,
) -> Prepared:
    """Compute the features that the cache lacks; a teacher hears all that is undisturbed.

    Raises:
        TrainingError: A program is missing, or a recording cannot be read.
    """
    folder = cache_folder(cache, settings, "" if teacher is None else teacher.digest)
    speech = settings.speech
    hear = None if teacher is None else teacher.states

    def make(name: str, utterances: Iterable[Spoken]) -> None:
        if not (folder / f"{name}.json").is_file():
            logger.info("%s: %d utterances", name, write_features(folder / name, utterances))

    make("noise", _noise(root / settings.training.noise))
    make("read-valid", _read(found.recordings["valid"], hear))
    make(
        "synthesised-valid",
        _synthesised(dialogue(root, "valid", settings), "valid", settings, hear),
    )
    make("read-train-0", _read(found.recordings["train"], hear))
    for manner in range(1, speech.styles + 1):
        make(f"read-train-{manner}", _in_manner(found.recordings["train"], manner, settings.seed))
    make(
        "synthesised-train",
        _synthesised(_training_lines(found, settings), "train", settings, hear),
    )
    return Prepared(folder, speech.styles)


def _training_lines(found: Material, settings: RecogniserSettings) -> list[Sentence]:
    """Sentences of the text corpora for the synthesisers: everyday talk, rare words included."""
    rng = np.random.default_rng((settings.seed, 1))
    fewest, most = settings.speech.synthesised_words
    pool = [line for corpus, said in found.said.items() if corpus != "read" for line in said]
    frequent = Counter(word for line in pool for word in line)
    pool = [line for line in pool if all(frequent[word] >= 8 for word in line)]
    return chosen(pool, settings.speech.synthesised, range(fewest, most + 1), Counter(), rng)


def dialogue(root: Path, side: str, settings: RecogniserSettings) -> list[Sentence]:
    """Sentences for the synthesised validation and test."""
    rng = np.random.default_rng((settings.seed, 2))
    fewest, most = settings.speech.synthesised_words
    pool = [line for name in DIALOGUE_TESTS[side] for line in read_sentences(root / name)]
    fitting = sorted({line for line in pool if fewest <= len(line) <= most})
    order = rng.permutation(len(fitting))[: settings.speech.tested]
    return [fitting[index] for index in order]


def _synthesised(
    sentences: list[Sentence], side: str, settings: RecogniserSettings, hear: Heard | None
) -> Iterator[Spoken]:
    rng = np.random.default_rng((settings.seed, 3, zlib.crc32(side.encode())))
    said = lines(sentences, side, rng)
    for line, samples in tqdm(spoken(said), f"synthesised {side}", len(said), smoothing=0):
        yield _spoken(line.words, samples, hear)


def _noise(folder: Path) -> Iterator[Spoken]:
    """Recordings of noise; the last of five folds is kept for tests of robustness."""
    rows = read_rows(folder / "manifest.csv", ("path", "split"))
    paths = [folder / row["path"] for row in rows if row["split"] != "fold5"]
    for path in tqdm(paths, "noise", smoothing=0):
        yield Spoken((), log_mel(load_audio(path, SAMPLE_RATE_HZ)))


def _read(recordings: list[Recording], hear: Heard | None) -> Iterator[Spoken]:
    for recording in tqdm(recordings, "read", smoothing=0):
        yield _spoken(recording.words, load_audio(recording.path, SAMPLE_RATE_HZ), hear)


def _in_manner(recordings: list[Recording], manner: int, seed: int) -> Iterator[Spoken]:
    for number, recording in enumerate(tqdm(recordings, f"manner {manner}", smoothing=0)):
        samples = load_audio(recording.path, SAMPLE_RATE_HZ)
        rng = np.random.default_rng((seed, manner, number))
        yield Spoken(recording.words, styled_log_mel(samples, drawn(rng), rng))


def _spoken(words: Sentence, samples: NDArray[np.float32], hear: Heard | None) -> Spoken:
    frames = log_mel(samples)
    return Spoken(words, frames, hear(samples) if hear is not None and len(frames) else None)
