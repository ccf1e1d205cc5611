"""A small world of open corpora: voices are tones, emotions are loudness, pitch and words."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AlbertConfig, AlbertModel, WhisperConfig, WhisperModel

from stser_core.labels import EMOTIONS

WORDS = {
    "angry": "leave me alone",
    "happy": "what a lovely day",
    "neutral": "the train is here",
    "sad": "i miss you",
}
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *sorted({w for t in WORDS.values() for w in t.split()}),
]

TINY = """
version = "0.0.1"
folds = 3
[sizes.speech]
channels = 4
hidden = 8
[sizes.text]
vocabulary = {vocabulary}
embedding = 8
hidden = 16
layers = 1
heads = 2
intermediate = 16
[speech]
corpora = ["first", "second"]
corpus_shares = [0.5, 0.5]
steps = 6
batch = 8
validate_every = 3
speeds = [1.0]
[text]
corpora = ["goemotions"]
corpus_shares = [1.0]
tests = ["goemotions"]
classifier_steps = 4
steps = 4
batch = 8
validate_every = 2
[bimodal]
steps = 5
batch = 8
"""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def tone(speaker: int, emotion: int, take: int) -> NDArray[np.float32]:
    """Half a second of a voice: the speaker is the spectrum, the emotion rhythm and loudness."""
    rng = np.random.default_rng((speaker, emotion, take))
    t = np.arange(8_000) / 16_000
    pitch = 120 + 25 * speaker
    voice = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 12))
    beat = 0.55 + 0.45 * np.sin(2 * np.pi * (2 + 4 * emotion) * t)
    return (0.05 * (1 + emotion) * voice * beat + 0.001 * rng.standard_normal(8_000)).astype(
        np.float32
    )


def write_speech(folder: Path, first_speaker: int, n_speakers: int = 3, takes: int = 2) -> None:
    """A corpus with a manifest."""
    (folder / "audio").mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "corpus", "speaker", "gender", "label4", "text"])
        for speaker in range(first_speaker, first_speaker + n_speakers):
            for index, emotion in enumerate(EMOTIONS):
                for take in range(takes):
                    path = f"audio/{speaker}-{emotion}-{take}.wav"
                    soundfile.write(folder / path, tone(speaker, index, take), 16_000)
                    gender = "female" if speaker % 2 else "male"
                    rows.writerow([path, folder.name, f"s{speaker}", gender, emotion.value, ""])
        rows.writerow(["audio/none.wav", folder.name, "s9", "male", "", ""])


def write_noise(folder: Path) -> None:
    """A noise to train with and one to test with."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        samples = (0.1 * rng.standard_normal(16_000)).astype(np.float32)
        soundfile.write(folder / f"{name}.wav", samples, 16_000)
    (folder / "manifest.csv").write_text("path,split\na.wav,fold1\nb.wav,fold5\n", "utf-8")


def write_texts(folder: Path) -> None:
    """A text corpus with its test set."""
    folder.mkdir()
    for name, copies in (("train", 12), ("dev", 3)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label4"])
            for _ in range(copies):
                rows.writerows([text.capitalize() + "!", label] for label, text in WORDS.items())
            rows.writerow(["of another class", ""])


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all corpora."""
    folder = tmp_path_factory.mktemp("corpora")
    write_speech(folder / "first", 0)
    write_speech(folder / "second", 3)
    write_texts(folder / "goemotions")
    write_noise(folder / "esc10")
    return folder


@pytest.fixture(scope="session")
def albert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained ALBERT as transformers saves it, and its word pieces."""
    folder = tmp_path_factory.mktemp("albert")
    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=len(VOCABULARY),
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
        hidden_act="gelu_new",
    )
    AlbertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings for networks that train in a moment."""
    path = tmp_path_factory.mktemp("settings") / "tiny.toml"
    path.write_text(TINY.format(vocabulary=len(VOCABULARY)), "utf-8")
    return path


def tiny_whisper(folder: Path, *, layers: int, positions: int) -> Path:
    """A Whisper of width 16 that hears ``positions`` times 20 ms, as transformers saves it; returns the folder."""
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=8,
        num_mel_bins=8,
        d_model=16,
        encoder_layers=layers,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        max_source_positions=positions,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperModel(config).save_pretrained(folder)
    return folder
