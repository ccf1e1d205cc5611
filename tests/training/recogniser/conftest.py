"""A world of three words: corpora of synthesised speech, and a model that is trained on them in seconds."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from training.errors import TrainingError
from training.recogniser.recipe import check_programs
from training.recogniser.synthesis import lines
from training.recogniser.synthesis import spoken as spoken_lines

WORDS = ("happy", "alone", "today")
SENTENCES = (*WORDS, *(" ".join(pair) for pair in itertools.permutations(WORDS, 2)))
"""Every word alone, and after every other."""

TINY = """
name = "tiny"
[speech]
corpora = ["read"]
valid_speakers = ["valid"]
test_speakers = []
by_prompt = []
styles = 1
synthesised = 9
synthesised_words = [1, 2]
tested = 4
[language]
corpora = ["dailydialog"]
weights = [1.0]
words = 20
min_counts = [0.0, 1.0, 1.0]
max_ngrams = 50
unknown_cost = 6.0
nothing = 0.0  # so little training tells words from nothing badly
[network]
width = 64
bottleneck = 24
layers = 3
[training]
epochs = 8
batch_s = 6.0
learning_rate = 2e-3
average = 0.9
noise_share = 0.0
noise = "noise"
"""


@pytest.fixture(scope="session")
def programs() -> None:
    """The Debian packages of the recipe; without them its tests are skipped, saying so."""
    try:
        check_programs()
    except TrainingError as error:
        pytest.skip(str(error))


def renditions(side: str, times: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each sentence several times, by voices of one side, with a pause before and after."""
    words = [tuple(text.split()) for text in SENTENCES] * times
    for line, samples in spoken_lines(lines(words, side, np.random.default_rng(0))):
        yield " ".join(line.words), np.pad(samples, 4_000)


@pytest.fixture(scope="session")
def tiny_corpora(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a corpus of recordings, two of sentences and one of noise."""
    root = tmp_path_factory.mktemp("recogniser-corpora")
    (root / "read" / "audio").mkdir(parents=True)
    with (root / "read" / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "speaker", "text"])
        for speaker, times in {"train": 4, "valid": 1}.items():
            for number, (text, samples) in enumerate(renditions(speaker, times)):
                path = f"audio/{speaker}-{number}.wav"
                soundfile.write(root / "read" / path, samples, 16_000)
                rows.writerow([path, speaker, text.capitalize() + "."])
    for corpus, files in {"dailydialog": ("train", "dev"), "meld_text": ("dev",)}.items():
        (root / corpus).mkdir()
        for name in files:
            lines = ["text,label4", *(f"{text}.,happy" for text in SENTENCES * 8)]
            (root / corpus / f"{name}.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (root / "noise").mkdir()
    hiss = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 0.1
    soundfile.write(root / "noise" / "hiss.wav", hiss, 16_000)
    (root / "noise" / "manifest.csv").write_text("path,split\nhiss.wav,fold1\n", "utf-8")
    return root


@pytest.fixture(scope="session")
def tiny_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recogniser-settings") / "tiny.toml"
    path.write_text(TINY, "utf-8")
    return path
