from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch

from stser_core.checkpoint import Manifest
from stser_core.errors import CheckpointError
from stser_core.fusion import StserModel
from stser_core.sizes import StserSettings
from stser_core.tensors import load_model, rounded, save_tensors


def test_what_is_read_back_is_bit_for_bit_the_rounded_model(
    model: StserModel, manifest: Manifest
) -> None:
    expected, actual = rounded(model).state_dict(), load_model(manifest).state_dict()
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_rounding_is_done_once_and_leaves_the_trained_model_alone(sizes: StserSettings) -> None:
    model = StserModel(sizes)
    before = copy.deepcopy(model.state_dict())
    once = rounded(model)
    twice = rounded(once)
    assert model.training
    for name, value in once.state_dict().items():
        assert torch.equal(value, twice.state_dict()[name])
        assert torch.equal(model.state_dict()[name], before[name])
        torch.testing.assert_close(value, before[name], rtol=1e-3, atol=1e-6)


def test_equal_weights_give_equal_bytes(model: StserModel, tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_tensors(rounded(model), tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])
def test_a_weight_that_half_precision_cannot_hold_is_refused_by_name(
    model: StserModel, value: float
) -> None:
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.speech[0].weight[0, 0] = value
    with pytest.raises(CheckpointError, match=r"speech\.0\.weight"):
        rounded(broken)


def test_weights_of_other_sizes_are_refused_by_file_name(manifest: Manifest) -> None:
    description = manifest.description
    speech = dataclasses.replace(description.sizes.speech, hidden=8)
    sizes = dataclasses.replace(description.sizes, speech=speech)
    other = dataclasses.replace(manifest, description=dataclasses.replace(description, sizes=sizes))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not the weights"):
        load_model(other)
