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
from training.mishearing import counted_table
from training.open_corpora import generator, read_text
from training.settings import OpenSettings
from training.text_encoder import TextEncoder
from training.transcripts import Recogniser

VOICES: Final = ("slt", "rms", "awb", "kal16")
"""Voices of flite, which take turns."""
_LONGEST: Final = 20
"""Words of the longest sentence that is counted."""


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
    root: Path, recogniser: Recogniser, encoder: TextEncoder, sentences: int, settings: OpenSettings
) -> str:
    """The table of :mod:`training.mishearing`, of training sentences of the tested corpora.

    Args:
        root: Folder of the corpora.
        recogniser: What hears.
        encoder: Gives word pieces, which the reader of the corpora needs.
        sentences: How many, in equal parts from each corpus.
        settings: Corpora and seed.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: There is no flite, or Vosk cannot use the model.
    """
    split = read_text(root, settings, encoder.tokenizer())
    order = generator(settings, 8).permutation(split.train)
    said: list[list[str]] = []
    for corpus in settings.text.tests:
        own = [i for i in order if split.data.utterances[i].corpus == corpus]
        words = [split.data.words[i] for i in own]
        share = sentences // len(settings.text.tests)
        said += [w for w in words if len(w) <= _LONGEST][:share]
    heard = recognised(said, recogniser)
    return counted_table(zip(said, heard, strict=True))
