"""The open corpora, read, cut, cached and split: what ``fit`` and ``crossval`` share."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stser_core.features import LogMel, LogMelSettings, log_mel
from stser_core.labels import EMOTIONS
from stser_core.text import TextTokenizer
from training.channels import TRAINED, Channel
from training.corpora import read_manifests, read_texts
from training.corpora.csv_manifest import read_rows
from training.errors import CorpusError, TrainingError
from training.folds import Fold
from training.front_end import extract, load_audio
from training.manners import VOICES
from training.settings import OpenSettings
from training.speech_data import PLAIN, SpeechData, at_speed
from training.text_data import TextData
from training.utterance import Utterance

NOISE_CORPUS = "esc10"
"""Folder of noise recordings with a ``manifest.csv``, used where it is there."""
NOISE_TEST = "fold5"
"""Split of the noise that only tests hear."""


@dataclass(frozen=True, slots=True)
class TextSplit:
    """Training sentences with the indices to train on and to validate on, and the test sets by name."""

    data: TextData
    train: tuple[int, ...]
    validation: tuple[int, ...]
    tests: dict[str, TextData]


def read_speech(
    root: Path, settings: OpenSettings, cache: Path, *, augmented: bool = True
) -> SpeechData:
    """All speech corpora, in every version that training hears or as they are.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: There is no channel or voice of a name.
    """
    utterances = read_manifests(root, settings.speech.corpora)
    versions = {PLAIN: extract(utterances, settings.log_mel, cache)}
    if augmented:
        for speed in settings.speech.speeds:
            versions[at_speed(speed)] = extract(utterances, settings.log_mel, cache, speed)
        changes = [
            *_named("channels", settings.speech.channels, TRAINED),
            *_named("voices", settings.speech.voices, VOICES),
        ]
        for change in changes:
            versions[change.name] = extract(utterances, settings.log_mel, cache, channel=change)
    return SpeechData(utterances, versions, settings.adaptation)


def _named(setting: str, names: Sequence[str], known: Mapping[str, Channel]) -> list[Channel]:
    if unknown := [name for name in names if name not in known]:
        raise TrainingError(
            f"speech.{setting}: there is no {unknown[0]!r}. There is {', '.join(known)}."
        )
    return [known[name] for name in names]


def read_noises(root: Path, settings: LogMelSettings) -> list[LogMel]:
    """Log-mel of the noise that training hears; where there is none, training goes without."""
    found = [log_mel(samples, settings) for samples in noise_recordings(root, settings, test=False)]
    return [noise for noise in found if len(noise) > 0]


def noise_recordings(
    root: Path, settings: LogMelSettings, *, test: bool
) -> list[NDArray[np.float32]]:
    """Noise that is there: the corpus' last fold for tests, the others for training.

    Raises:
        CorpusError: The manifest lacks a column, or a recording cannot be decoded.
    """
    manifest = root / NOISE_CORPUS / "manifest.csv"
    if not manifest.is_file():
        return []
    found = read_rows(manifest, ("path", "split"))
    rows = [row["path"] for row in found if (row["split"] == NOISE_TEST) == test]
    return [load_audio(manifest.parent / path, settings.sample_rate_hz) for path in sorted(rows)]


def noise_files(root: Path) -> list[Path]:
    """The noise's manifest and recordings, in order; none where there is no noise.

    Raises:
        CorpusError: The manifest lacks a column.
    """
    manifest = root / NOISE_CORPUS / "manifest.csv"
    if not manifest.is_file():
        return []
    return sorted(
        [manifest, *(manifest.parent / row["path"] for row in read_rows(manifest, ("path",)))]
    )


def text_files(root: Path, settings: OpenSettings) -> list[Path]:
    """What :func:`read_text` reads: the training files, then the test sets."""
    trained = [root / name / "train.csv" for name in settings.text.corpora]
    return trained + [root / name / "dev.csv" for name in settings.text.tests]


def read_text(root: Path, settings: OpenSettings, tokenizer: TextTokenizer) -> TextSplit:
    """All text corpora; whole dialogues of the training files are set apart for validation.

    Raises:
        CorpusError: A corpus is missing or damaged.
    """
    sentences = [u for name in settings.text.corpora for u in read_texts(root / name / "train.csv")]
    data = TextData(sentences, tokenizer)
    validation = _validation(data.utterances, settings)
    return TextSplit(
        data=data,
        train=tuple(i for i in range(len(data)) if i not in validation),
        validation=tuple(sorted(validation)),
        tests={
            name: TextData(read_texts(root / name / "dev.csv"), tokenizer)
            for name in settings.text.tests
        },
    )


def _validation(utterances: Sequence[Utterance], settings: OpenSettings) -> set[int]:
    """At most 400 sentences of each class and of each corpus that is tested, out of whole dialogues."""
    units: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, utterance in enumerate(utterances):
        if utterance.corpus in settings.text.tests:
            units[utterance.corpus, utterance.dialogue or f"line {index}"].append(index)
    order = sorted(units)
    random.Random(settings.seed).shuffle(order)
    chosen: set[int] = set()
    counts: dict[tuple[str, str], int] = defaultdict(int)
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for utterance in utterances:
        sizes[utterance.corpus, utterance.label] += 1
    for unit in order:
        cells = [(utterances[i].corpus, utterances[i].label) for i in units[unit]]
        full = [counts[c] >= min(400, settings.validation_share * sizes[c]) for c in cells]
        if any(full):
            continue
        chosen.update(units[unit])
        for cell in cells:
            counts[cell] += 1
    return chosen


def check_fold(utterances: Sequence[Utterance], fold: Fold, settings: OpenSettings) -> None:
    """Stop where a speaker is on two sides of a split, or there is too little to train on.

    Raises:
        CorpusError: A corpus or a class has no training speaker.
    """
    sides = [
        {utterances[i].speaker for i in part} for part in (fold.train, fold.validation, fold.test)
    ]
    shared = (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])
    assert not shared, f"speakers on two sides: {sorted(shared)}"
    train = [utterances[i] for i in fold.train]
    for corpus in settings.speech.corpora:
        if corpus not in {u.corpus for u in train}:
            raise CorpusError(
                f"{corpus}: too few speakers. Each corpus needs one to train on beside those of validation."
            )
    check_classes(train, f"the training speakers of {', '.join(settings.speech.corpora)}")


def check_text(split: TextSplit, settings: OpenSettings) -> None:
    """Stop where sentences lack a class, before hours of training.

    Raises:
        CorpusError: Those to train on do, or those to validate on.
    """
    sentences, text = split.data.utterances, settings.text
    check_classes([sentences[i] for i in split.train], f"{', '.join(text.corpora)}/train.csv")
    check_classes(
        [sentences[i] for i in split.validation],
        f"validation sentences out of text.tests ({', '.join(text.tests)})",
    )


def check_classes(utterances: Sequence[Utterance], what: str) -> None:
    """Stop where none of these is of one of the classes.

    Raises:
        CorpusError: So it is; names ``what`` these are.
    """
    missing = [label for label in EMOTIONS if label not in {u.label for u in utterances}]
    if missing:
        raise CorpusError(
            f"{what}: nothing is {missing[0]}. All of {', '.join(EMOTIONS)} are needed."
        )


def generator(settings: OpenSettings, *purpose: int) -> np.random.Generator:
    """A source of randomness of its own for each purpose."""
    return np.random.default_rng((settings.seed, *purpose))
