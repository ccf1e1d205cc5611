"""Any ALBERT of Hugging Face as the beginning of the tmodel: from a folder, or from the hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AlbertConfig, AlbertForMaskedLM, AlbertModel

from stser_core.fusion import StserModel
from stser_core.sizes import SpeechModelSettings, StserSettings
from training.errors import TrainingError
from training.text_encoder import TextEncoder

WORDS = ["▁i", "▁miss", "▁you", "▁so", "▁much", "▁m", "iss"]


def config() -> AlbertConfig:
    """albert-base-v2's own, but for the sizes."""
    return AlbertConfig(
        vocab_size=5 + len(WORDS),
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=512,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ALBERT as the hub has it: with the head of its pre-training, and a Unigram tokenizer."""
    folder = tmp_path_factory.mktemp("albert-tiny-v2")
    torch.manual_seed(0)
    AlbertForMaskedLM(config()).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights["albert.embeddings.position_ids"] = torch.arange(512)[
        None
    ]  # as older versions saved it
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    special = [("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0)]
    pieces = [(word, -2.0 - i) for i, word in enumerate(WORDS)]
    tokenizer = Tokenizer(models.Unigram(special + pieces, unk_id=1))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def representation(encoder: TextEncoder, words: list[str]) -> np.ndarray:  # type: ignore[type-arg]
    sizes = StserSettings(speech=SpeechModelSettings(channels=2, hidden=4), text=encoder.sizes)
    model = StserModel(sizes).eval()
    encoder.load_into(model)
    ids = torch.from_numpy(encoder.tokenizer().encode(words).ids)[None]
    with torch.no_grad():
        return model.tmodel(ids, torch.ones_like(ids)).representation.numpy()


def test_the_tmodel_gives_what_transformers_gives(published: Path) -> None:
    encoder = TextEncoder.of_albert(str(published))
    assert encoder.sizes.max_tokens == 512
    albert = AlbertModel.from_pretrained(published).eval()
    tokenizer = Tokenizer.from_file(str(published / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode("I miss you").ids])
    assert ids.tolist() == [[2, 5, 6, 7, 3]]
    with torch.no_grad():
        expected = albert(ids).last_hidden_state.mean(dim=1).numpy()
    found = representation(encoder, ["I", "miss", "you"])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_name_is_looked_up_on_the_hub_and_in_its_cache(published: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--someone--albert-tiny-v2" / "snapshots" / "0123abcd"
    shutil.copytree(published, snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123abcd", "utf-8")
    look = (
        "import sys; from training.text_encoder import TextEncoder as T; T.of_albert(sys.argv[1])"
    )
    offline = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    for name, found in (("someone/albert-tiny-v2", True), ("albert-base-v2", False)):
        done = subprocess.run(
            [sys.executable, "-c", look, name],
            env=offline,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) is found, done.stderr
    assert "--text-encoder albert-base-v2: no such folder, and the hub does not" in done.stderr


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "bert", "is no ALBERT"),
        ("hidden_act", "relu", r"hidden_act \(relu\) must be one of gelu_new"),
        ("hidden_size", None, "config.json does not say the sizes"),
    ],
)
def test_what_the_tmodel_cannot_be_is_refused(
    published: Path, tmp_path: Path, key: str, value: str | None, message: str
) -> None:
    folder = shutil.copytree(published, tmp_path / "albert")
    values = json.loads((folder / "config.json").read_text("utf-8"))
    changed = {k: v for k, v in {**values, key: value}.items() if v is not None}
    (folder / "config.json").write_text(json.dumps(changed), "utf-8")
    with pytest.raises(TrainingError, match=message):
        TextEncoder.of_albert(str(folder))


def test_damaged_weights_are_named(published: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(published, tmp_path / "albert")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    encoder = TextEncoder.of_albert(str(folder))
    model = StserModel(StserSettings(speech=SpeechModelSettings(), text=encoder.sizes))
    with pytest.raises(TrainingError, match=f"{folder}: not the ALBERT of its config"):
        encoder.load_into(model)
