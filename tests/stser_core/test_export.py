from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from stser_core.adaptation import LogMelStatistics
from stser_core.checkpoint import GRAPHS, WEIGHTS, Manifest, read_manifest
from stser_core.engine import Floats, Integers, OnnxEngine, SpeechScores
from stser_core.errors import CheckpointError
from stser_core.export import TOLERANCE, check_parity, save_checkpoint
from stser_core.fusion import StserModel
from stser_core.graphs import write_graphs
from stser_core.tensors import rounded, save_tensors
from stser_core.torch_engine import TorchEngine


def test_onnx_and_pytorch_agree_within_the_tolerance(manifest: Manifest) -> None:
    engines = OnnxEngine(manifest.directory), TorchEngine.load(manifest)
    assert check_parity(*engines, manifest.description) < TOLERANCE / 10


def test_matrices_live_once_in_the_weights_file(manifest: Manifest, model: StserModel) -> None:
    matrices = sum(t.numel() for t in model.state_dict().values() if t.ndim >= 2)
    assert (manifest.directory / WEIGHTS).stat().st_size < 2 * matrices + 30_000
    for name in GRAPHS:
        graph = onnx.load(manifest.directory / name, load_external_data=False).graph
        inside = [tensor for tensor in graph.initializer if not tensor.external_data]
        assert max(len(tensor.dims) for tensor in inside) == 1
        onnx.checker.check_model(manifest.directory / name)


class Wrong:
    """A reference that hears something else."""

    def __init__(self, engine: TorchEngine, error: float) -> None:
        self._engine = engine
        self._error = error
        self.text, self.bimodal = engine.text, engine.bimodal

    def speech(self, log_mel: Floats, lengths: Integers, voice: Floats) -> SpeechScores:
        scores = self._engine.speech(log_mel, lengths, voice)
        error = np.array([self._error, 0, 0, 0], np.float32)
        return dataclasses.replace(scores, logits=scores.logits + error)


@pytest.mark.parametrize(("error", "reason"), [(0.003, "differ by"), (float("nan"), "overflow")])
def test_engines_that_disagree_are_not_exported(
    manifest: Manifest, error: float, reason: str
) -> None:
    wrong = Wrong(TorchEngine.load(manifest), error)
    with pytest.raises(CheckpointError, match=reason):
        check_parity(OnnxEngine(manifest.directory), wrong, manifest.description)


def test_a_model_that_cannot_be_exported_leaves_the_old_checkpoint(
    checkpoint_copy: Path, model: StserModel, prior: LogMelStatistics, tokenizer_json: Path
) -> None:
    before = read_manifest(checkpoint_copy)
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.text[0].weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"text\.0\.weight"):
        save_checkpoint(
            checkpoint_copy,
            broken,
            name="broken",
            version="1",
            tokenizer_json_path=tokenizer_json,
            prior=prior,
            temperatures={},
            notes={},
        )
    assert read_manifest(checkpoint_copy) == before
    assert [path.name for path in checkpoint_copy.parent.iterdir()] == [checkpoint_copy.name]


def test_a_new_export_replaces_the_old_one(
    checkpoint_copy: Path, model: StserModel, prior: LogMelStatistics, tokenizer_json: Path
) -> None:
    (checkpoint_copy / "left-over").write_text("x")
    manifest = save_checkpoint(
        checkpoint_copy,
        model,
        name="random",
        version="0.0.2",
        tokenizer_json_path=tokenizer_json,
        prior=prior,
        temperatures={"speech": 1.0, "text": 1.0, "bimodal": 1.0},
        notes={},
    )
    assert manifest.model_id.version == "0.0.2"
    assert not (checkpoint_copy / "left-over").exists()


def test_lstm_and_albert_are_the_operators_that_onnx_runtime_has_for_them(
    manifest: Manifest,
) -> None:
    def operators(name: str) -> list[str]:
        graph = onnx.load(manifest.directory / name, load_external_data=False).graph
        return [node.op_type for node in graph.node]

    layers = manifest.description.sizes.text.layers
    assert operators("speech.onnx").count("LSTM") == 1
    assert operators("text.onnx").count("Attention") == layers
    assert operators("text.onnx").count("SkipLayerNormalization") == 2 * layers


def test_exporting_leaves_the_model_as_it_was(
    manifest: Manifest, model: StserModel, tmp_path: Path
) -> None:
    save_tensors(rounded(model), tmp_path / WEIGHTS)
    names = list(model.state_dict())
    write_graphs(model, tmp_path)
    assert list(model.state_dict()) == names
    assert (
        check_parity(TorchEngine(rounded(model)), TorchEngine.load(manifest), manifest.description)
        == 0
    )
