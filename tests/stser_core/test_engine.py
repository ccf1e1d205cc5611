from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stser_core.checkpoint import Manifest
from stser_core.engine import OnnxEngine
from stser_core.ensemble import open_engine
from stser_core.errors import CheckpointError
from stser_core.torch_engine import TorchEngine

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def onnx_engine(manifest: Manifest) -> OnnxEngine:
    return OnnxEngine(manifest.directory)


@pytest.mark.parametrize("seconds", [0.1, 0.13, 0.5, 1.0, 3.3, 9.7, 15.0])
def test_any_length_gives_the_scores_of_pytorch(
    manifest: Manifest, onnx_engine: OnnxEngine, seconds: float
) -> None:
    frames = manifest.description.log_mel.n_frames(round(16_000 * seconds))
    log_mel = np.random.default_rng(0).standard_normal((1, frames, 64)).astype(np.float32)
    voice = np.random.default_rng(1).standard_normal((1, 32)).astype(np.float32)
    ours = onnx_engine.speech(log_mel, np.array([frames]), voice)
    theirs = TorchEngine.load(manifest).speech(log_mel, np.array([frames]), voice)
    for name in ("representation", "logits", "attention"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4)


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(4, 200), min_size=1, max_size=4), extra=st.integers(0, 9))
def test_utterances_of_several_streams_can_share_a_batch(
    onnx_engine: OnnxEngine, lengths: list[int], extra: int
) -> None:
    draw = np.random.default_rng(0)
    rows = [draw.standard_normal((length, 64)).astype(np.float32) for length in lengths]
    batch = np.full((len(rows), max(lengths) + extra, 64), np.float32(1e6))
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    voices = draw.standard_normal((len(rows), 32)).astype(np.float32)
    together = onnx_engine.speech(batch, np.array(lengths), voices)
    for index, row in enumerate(rows):
        alone = onnx_engine.speech(row[None], np.array([len(row)]), voices[index : index + 1])
        np.testing.assert_allclose(together.logits[index], alone.logits[0], atol=1e-4)
        pooled = alone.attention.shape[1]
        np.testing.assert_allclose(
            together.attention[index, :pooled], alone.attention[0], atol=1e-5
        )


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(2, 128), min_size=1, max_size=4))
def test_sentences_of_any_length_can_share_a_batch(
    manifest: Manifest, onnx_engine: OnnxEngine, lengths: list[int]
) -> None:
    draw = np.random.default_rng(0)
    ids = draw.integers(4, 17, (len(lengths), max(lengths)))
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    together = onnx_engine.text(np.where(mask == 1, ids, 10**6), mask)
    for index, length in enumerate(lengths):
        alone = onnx_engine.text(ids[index : index + 1, :length], mask[index : index + 1, :length])
        np.testing.assert_allclose(together.logits[index], alone.logits[0], atol=1e-4)
        np.testing.assert_allclose(
            together.representation[index], alone.representation[0], atol=1e-4
        )


def test_only_the_graphs_of_the_chosen_classifiers_are_needed(
    checkpoint_copy: Path, manifest: Manifest
) -> None:
    for name in ("text.onnx", "bimodal.onnx"):
        (checkpoint_copy / name).unlink()
    engine = OnnxEngine(checkpoint_copy, ("speech",))
    nothing, voice = np.zeros((1, 9, 64), np.float32), np.zeros((1, 32), np.float32)
    assert engine.speech(nothing, np.array([9]), voice).logits.shape == (1, 4)
    with pytest.raises(CheckpointError, match=r"text\.onnx: ONNX Runtime cannot load"):
        OnnxEngine(checkpoint_copy)


def test_weights_that_were_cut_short_are_refused(checkpoint_copy: Path) -> None:
    path = checkpoint_copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2_000])
    with pytest.raises(CheckpointError, match="cannot load the graph"):
        OnnxEngine(checkpoint_copy)


def test_each_engine_opens_by_name(manifest: Manifest) -> None:
    assert isinstance(open_engine("onnx", manifest, ("speech",)), OnnxEngine)
    assert isinstance(open_engine("torch", manifest, ("speech",)), TorchEngine)


def test_the_way_to_a_verdict_imports_neither_pytorch_nor_other_heavy_packages(
    manifest: Manifest,
) -> None:
    program = f"""
import sys
from pathlib import Path
import stser_core.engine
from stser_core.ensemble import Stser
import numpy as np
stser = Stser.load(Path({str(manifest.directory)!r}))
stser.classify(np.zeros((50, 64), np.float32), ["leave", "me"])
heavy = {{"torch", "transformers", "onnx", "librosa", "scipy", "sklearn", "soxr", "asyncio"}}
print(sorted(heavy & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_engine_writes_nothing_into_the_users_home(manifest: Manifest, tmp_path: Path) -> None:
    """ONNX Runtime keeps a device identifier and its reports there unless it is told not to."""
    program = f"""
from pathlib import Path
from stser_core.ensemble import Stser
Stser.load(Path({str(manifest.directory)!r})).classify(None, ["leave", "me"])
"""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, env=home)
    assert [path.name for path in tmp_path.rglob("*")] == []
