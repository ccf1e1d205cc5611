"""Speech that no training has heard: for choosing between models, and for the figures that are reported."""

from __future__ import annotations

import dataclasses
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from stser_core.labels import EMOTIONS
from training.corpora.csv_manifest import read_rows, read_texts
from training.front_end import load_audio
from training.recogniser.evaluation import Spoken
from training.recogniser.features import SAMPLE_RATE_HZ
from training.recogniser.prepare import dialogue, material
from training.recogniser.sentences import Sentence, sentences
from training.recogniser.settings import RecogniserSettings
from training.recogniser.speech import Recording, Split, read_recordings, split_of, transcript
from training.recogniser.synthesis import lines, spoken

RAVDESS_EVERY: Final = 6
"""One recording of this many is recognised."""
LABELLED_PER_CLASS: Final = 30
"""Sentences of each class and corpus whose emotion is read from what was recognised."""

WORD_FOR_WORD: Final = "word for word in the training text, too"
"""Short everyday sentences, which a language model has counted and people say again and again."""
NEW: Final = "not in the training text"

Set = Callable[[], Iterator[Spoken]]


def evaluation_sets(root: Path, settings: RecogniserSettings, side: Split) -> dict[str, Set]:
    """Sets by name; reading or synthesising one begins when it is called."""
    speech = settings.speech

    def read(corpus: str) -> Set:
        def utterances() -> Iterator[Spoken]:
            for recording in read_recordings(root / corpus):
                kept = split_of(
                    recording, speech.valid_speakers, speech.test_speakers, speech.by_prompt
                )
                if kept == side:
                    yield _spoken(recording, recording.speaker)

        return utterances

    def synthesised() -> Iterator[Spoken]:
        trained = {line for said in material(root, settings).said.values() for line in said}
        for one in _said(dialogue(root, side, settings), side, settings.seed):
            known = WORD_FOR_WORD if one.words in trained else NEW
            yield dataclasses.replace(one, groups=(*one.groups, known))

    sets: dict[str, Set] = {"synthesised dialogue": synthesised}
    sets |= {
        corpus: read(corpus)
        for corpus in speech.corpora
        if _has_side(root / corpus, settings, side)
    }
    if side == "test":
        sets["ravdess"] = lambda: _ravdess(root / "ravdess")
    return sets


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """A sentence with the emotion that its corpus gives it, and its speech."""

    label: int
    words: Sentence
    spoken: Spoken


def labelled_speech(
    root: Path, corpus: str, settings: RecogniserSettings
) -> list[LabelledSentence]:
    """Sentences of a text corpus's ``dev.csv``, as many of each class, said by unseen voices."""
    by_label: dict[int, set[Sentence]] = defaultdict(set)
    fewest, most = settings.speech.synthesised_words
    for utterance in read_texts(root / corpus / "dev.csv"):
        words = transcript(utterance.text or "")
        if fewest <= len(words) <= most:
            by_label[EMOTIONS.index(utterance.label)].add(words)
    rng = np.random.default_rng((settings.seed, 4))
    labels: dict[Sentence, int] = {}
    for label, found in sorted(by_label.items()):
        pool = sorted(found)
        drawn = rng.permutation(len(pool))[:LABELLED_PER_CLASS]
        labels |= {pool[index]: label for index in drawn}
    said = _said(list(labels), "test", settings.seed)
    return [LabelledSentence(labels[one.words], one.words, one) for one in said]


def _has_side(folder: Path, settings: RecogniserSettings, side: Split) -> bool:
    speech = settings.speech
    return any(
        split_of(recording, speech.valid_speakers, speech.test_speakers, speech.by_prompt) == side
        for recording in read_recordings(folder)
    )


def _said(said: Sequence[Sentence], side: str, seed: int) -> Iterator[Spoken]:
    rng = np.random.default_rng((seed, 3, zlib.crc32(side.encode())))
    for line, samples in spoken(lines(said, side, rng)):
        yield Spoken(line.words, samples, (line.voice.engine,))


def _spoken(recording: Recording, group: str) -> Spoken:
    return Spoken(recording.words, load_audio(recording.path, SAMPLE_RATE_HZ), (group,))


def _ravdess(folder: Path) -> Iterator[Spoken]:
    """Acted sentences, grouped by the emotion that is acted; in an order that mixes the actors."""
    needed = ("path", "text", "speaker", "label_original")
    rows = list(read_rows(folder / "manifest.csv", needed))
    rows.sort(key=lambda row: zlib.crc32(row["path"].encode()))
    for row in rows[::RAVDESS_EVERY]:
        [words] = sentences(row["text"])
        recording = Recording(folder / row["path"], words, row["speaker"], "ravdess")
        yield _spoken(recording, row["label_original"])
