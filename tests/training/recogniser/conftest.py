"""A world of eight words: corpora of synthesised speech, and a model that is trained on them in seconds."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.speech import spoken
from training.errors import TrainingError
from training.recogniser.recipe import check_programs

SENTENCES = ("leave me alone", "i am so happy today", "happy me", "so alone today", "i leave today")
DIALOGUE = [
    " ".join(w)
    for w in itertools.permutations(["i", "am", "so", "happy", "today", "leave", "me", "alone"], 4)
]
"""Words in every order, so that each is heard after each."""

TINY = """
name = "tiny"
[speech]
corpora = ["read"]
valid_speakers = ["rms"]
test_speakers = ["awb"]
by_prompt = []
styles = 1
synthesised = 120
synthesised_words = [2, 6]
tested = 4
[language]
corpora = ["dailydialog"]
weights = [1.0]
words = 20
min_counts = [0.0, 1.0, 1.0]
max_ngrams = 50
[network]
width = 96
bottleneck = 32
layers = 3
[training]
epochs = 10
batch_s = 25.0
learning_rate = 1e-2
average = 0.8
noise_share = 0.2
noise = "noise"
"""


@pytest.fixture(scope="session")
def programs() -> None:
    """The Debian packages of the recipe; without them its tests are skipped, saying so."""
    try:
        check_programs()
    except TrainingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_corpora(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a corpus of recordings, two of sentences and one of noise."""
    root = tmp_path_factory.mktemp("recogniser-corpora")
    (root / "read" / "audio").mkdir(parents=True)
    with (root / "read" / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "speaker", "text"])
        for voice in ("slt", "rms", "awb", "kal16"):
            for number, text in enumerate(SENTENCES):
                path = f"audio/{voice}-{number}.wav"
                soundfile.write(root / "read" / path, spoken(text, voice=voice), 16_000)
                rows.writerow([path, voice, text.capitalize() + "."])
    for corpus, files in {"dailydialog": ("train", "dev"), "meld_text": ("dev",)}.items():
        (root / corpus).mkdir()
        for name in files:
            said = [*SENTENCES * 30, *DIALOGUE[::8]]
            lines = ["text,label4", *(f"{text}.,happy" for text in said)]
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
