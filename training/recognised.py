"""Sentences spoken by synthetic voices and recognised: what a text branch is really given.

``stser-train confusions`` counts what is heard for what; ``stser-train heard`` writes a text corpus
as it was heard, to be evaluated beside the corpus as it was written.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from stser_core.text import spoken_words
from training.corpora.csv_manifest import read_rows
from training.errors import TrainingError
from training.mishearing import counted_table
from training.open_corpora import generator, read_text
from training.settings import OpenSettings
from training.text_data import written_as_heard
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


def write_heard(source: Path, recogniser: Recogniser, out: Path, sentences: int) -> tuple[int, int]:
    """Copy labelled rows of a text corpus, drawn at random, with what was heard for their text.

    Sentences of which nothing was heard are left out: there is nothing for a text branch to judge.

    Returns:
        The number of sentences spoken, and of those in which something was heard.

    Raises:
        CorpusError: The corpus is missing or damaged.
        TrainingError: There is no flite, or Vosk cannot use the model.
    """
    rows = [row for row in read_rows(source, ("text", "label4")) if row["label4"]]
    order = np.random.default_rng(0).permutation(len(rows))[:sentences]
    chosen = [dict(rows[i]) for i in sorted(order)]
    said = [written_as_heard(row["text"]) for row in chosen]
    kept = [(row, words) for row, words in zip(chosen, said, strict=True) if words]
    heard = recognised([words for _, words in kept], recogniser)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "written", "label4"], extrasaction="ignore")
        writer.writeheader()
        understood = 0
        for (row, words), found in zip(kept, heard, strict=True):
            if found:
                understood += 1
                writer.writerow(row | {"text": " ".join(found), "written": " ".join(words)})
    return len(kept), understood
