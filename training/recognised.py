"""Sentences spoken by synthetic voices and recognised: what a text branch is really given.

``stser-train confusions`` counts what is heard for what; ``stser-train words`` judges test sentences
as they are heard beside the same sentences as they are written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from stser_core.text import spoken_words
from training.misheard_sentences import heard_sentences
from training.mishearing import counted_table
from training.open_corpora import read_text
from training.recogniser.evaluation import in_quiet_room
from training.recogniser.synthesis import VOICES, Line, spoken
from training.settings import OpenSettings
from training.text_encoder import TextEncoder
from training.transcripts import Recogniser, VoskModel

_TURNS: Final = tuple(
    voice for side in ("train", "valid") for voice in VOICES[side] if voice.engine == "flite"
)
"""Voices of the most natural program, which take turns, each in its usual manner."""


def recognised(
    sentences: Sequence[Sequence[str]], recogniser: Recogniser
) -> Iterator[tuple[int, list[str]]]:
    """What is heard of each sentence, spoken by the voices in turn in a quiet room.

    Yields:
        The sentence's place and the words; those that a voice leaves without sound are left out.

    Raises:
        TrainingError: flite is missing or fails, or Vosk cannot use its model.
    """
    said = [Line(tuple(words), _TURNS[at % len(_TURNS)]) for at, words in enumerate(sentences)]
    places: dict[Line, list[int]] = defaultdict(list)
    for at, line in enumerate(said):
        places[line].append(at)
    rng = np.random.default_rng(0)
    for line, samples in tqdm(spoken(said), "sentences", len(said), mininterval=10):
        heard = recogniser.hear_samples(in_quiet_room(samples, rng))
        yield places[line].pop(0), spoken_words(" ".join(word.word for word in heard))


def count_confusions(
    root: Path, recogniser: VoskModel, encoder: TextEncoder, each: int, settings: OpenSettings
) -> str:
    """The table of :mod:`training.mishearing`, of training sentences.

    Args:
        root: Folder of the corpora.
        recogniser: What hears.
        encoder: Gives word pieces, which the reader of the corpora needs.
        each: Sentences of each corpus and class, at most.
        settings: Corpora and seed.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: A synthesiser is missing or fails.
    """
    split = read_text(root, settings, encoder.tokenizer())
    heard = heard_sentences(split, "train", each, recogniser, settings)
    return counted_table((sentence.said, sentence.heard) for sentence in heard)
