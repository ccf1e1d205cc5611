"""A small checkpoint with random weights, as the exporter writes it, and synthesised speech."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from stser_core.adaptation import LogMelStatistics
from stser_core.audio import Waveform, pcm16_to_float
from stser_core.checkpoint import Manifest
from stser_core.export import save_checkpoint
from stser_core.fusion import StserModel
from stser_core.sizes import SpeechModelSettings, StserSettings, TextModelSettings
from tests.support.random_weights import random_model, small_checkpoint

WORDS = ["leave", "me", "alone", "i", "am", "so", "happy", "don", "'", "t", "##ness", "##ly", "sad"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WordPiece tokenizer of a dozen words."""
    vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="session")
def sizes() -> StserSettings:
    return StserSettings(
        speech=SpeechModelSettings(channels=6, hidden=16),
        text=TextModelSettings(
            vocabulary=len(VOCABULARY),
            embedding=16,
            hidden=32,
            layers=4,
            groups=2,
            heads=4,
            intermediate=48,
        ),
    )


@pytest.fixture(scope="session")
def model(sizes: StserSettings) -> StserModel:
    return random_model(sizes)


@pytest.fixture(scope="session")
def prior() -> LogMelStatistics:
    draw = np.random.default_rng(1)
    return LogMelStatistics(1e5, draw.normal(-8, 1, 64), 1e5 * draw.uniform(4, 9, 64))


@pytest.fixture(scope="session")
def manifest(
    tmp_path_factory: pytest.TempPathFactory,
    model: StserModel,
    tokenizer_json: Path,
    prior: LogMelStatistics,
) -> Manifest:
    """The random model, exported. Tests that damage it take a copy."""
    return save_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "random",
        model,
        name="random",
        version="0.0.1",
        tokenizer_json_path=tokenizer_json,
        prior=prior,
        temperatures={"speech": 1.5, "text": 0.8, "bimodal": 1.0},
        notes={"corpora": ["none"]},
    )


@pytest.fixture(scope="session")
def centred(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A random model that takes off what it knows of a voice, exported."""
    return small_checkpoint(tmp_path_factory.mktemp("checkpoints") / "centred", centred=True)


@pytest.fixture
def checkpoint_copy(manifest: Manifest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(manifest.directory, tmp_path / "copy"))


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """A spoken sentence at 16 kHz."""
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed: apt-get install flite")
    path = tmp_path_factory.mktemp("speech") / "sentence.wav"
    sentence = "leave me alone, I am so happy that you came"
    subprocess.run(["flite", "-voice", "slt", "-t", sentence, "-o", str(path)], check=True)
    content = path.read_bytes()
    pcm = np.frombuffer(content[44:], np.int16)
    rate = int.from_bytes(content[24:28], "little")
    return Waveform(pcm16_to_float(pcm), rate).resampled(16_000).samples
