"""Sentences spoken by synthetic voices and recognised: what a text branch is really given.

``stser-train confusions`` counts what is heard for what; ``stser-train words`` judges test sentences
as they are heard beside the same sentences as they are written.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tqdm import tqdm

from stser_core.text import spoken_words
from training.errors import TrainingError
from training.misheard_sentences import heard_sentences
from training.mishearing import counted_table
from training.open_corpora import read_text
from training.settings import OpenSettings
from training.text_encoder import TextEncoder
from training.transcripts import Recogniser, VoskModel

VOICES: Final = ("slt", "rms", "awb", "kal16")
"""Voices of flite, which take turns."""


def recognised(sentences: Sequence[Sequence[str]], recogniser: Recogniser) -> Iterator[list[str]]:
    """What is heard of each sentence, spoken by the voices in turn.

    Raises:
        TrainingError: flite is missing or fails, or Vosk cannot use its model.
    """
    if shutil.which("flite") is None:
        raise TrainingError("flite is not installed: apt-get install flite.")
    with tempfile.TemporaryDirectory() as scratch:
        wav = Path(scratch) / "spoken.wav"
        for at, words in enumerate(tqdm(sentences, desc="sentences", mininterval=10)):
            voice = VOICES[at % len(VOICES)]
            command = ["flite", "-voice", voice, "-t", " ".join(words), "-o", str(wav)]
            done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
            if done.returncode:
                raise TrainingError(f"flite failed: {done.stderr.decode(errors='replace').strip()}")
            yield spoken_words(" ".join(word.word for word in recogniser.hear(wav)))


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
