"""Weights in and out of safetensors, matrices rounded to half precision. Needs PyTorch."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stser_core.checkpoint import WEIGHTS, Manifest
from stser_core.errors import CheckpointError
from stser_core.fusion import StserModel


def rounded(model: StserModel) -> StserModel:
    """A copy, ready to judge, whose matrices hold only values that half precision can hold.

    What is evaluated, exported and shipped is this model: rounding happens once, and every engine
    computes in float32 from the same values.

    Raises:
        CheckpointError: If a weight is not finite or too large for half precision.
    """
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, tensor in twin.state_dict().items():
            if is_matrix(tensor):
                tensor.copy_(tensor.half())
            if not tensor.isfinite().all():
                raise CheckpointError(
                    f"{name} holds a value that is not finite in half precision. Train with weight "
                    "decay or gradient clipping."
                )
    return twin


def is_matrix(tensor: Tensor) -> bool:
    """True for the tensors that are stored in half precision: not biases, norms and counters."""
    return tensor.is_floating_point() and tensor.ndim >= 2


def save_tensors(model: StserModel, path: Path) -> None:
    """Write a :func:`rounded` model's weights; equal weights give equal bytes."""
    tensors = {
        name: (tensor.half() if is_matrix(tensor) else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors writes for the owner only, but a package is read by others


def load_model(manifest: Manifest) -> StserModel:
    """Build the networks of a checkpoint, float32, ready to judge.

    Raises:
        CheckpointError: If the weights are not those of the manifest's sizes.
    """
    path = manifest.directory / WEIGHTS
    model = StserModel(manifest.description.sizes)
    try:
        tensors = load_file(path)
        model.load_state_dict({name: _widened(tensor) for name, tensor in tensors.items()})
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not the weights of the manifest's sizes: {error}"
        ) from error
    return model.eval()


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
