"""A fold in the middle of its training, on disk after every epoch: what a killed run goes on from.

One file, whole or not at all: tensors as safetensors, the curve so far in its metadata. Random
numbers need no keeping, because each epoch draws from a seed of its own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.whole_file import written_whole


@dataclass(frozen=True, slots=True)
class Epoch:
    """One point of a training curve."""

    branch: str
    """``speech``, ``text``, ``bimodal``, or ``joint`` for all three at once."""
    epoch: int
    """From 1."""
    loss: float
    """Mean cross-entropy over the training batches, in nats."""
    accuracy: float
    """On the validation utterances, 0 to 1."""


@dataclass(slots=True, eq=False)
class FoldState:
    """All that the epochs to come depend on."""

    curve: list[Epoch] = field(default_factory=list)
    """Of all branches so far."""
    model: dict[str, Tensor] = field(default_factory=dict)
    """The whole model after the last epoch of the curve."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """The trained parts in the best epoch of the last branch of the curve."""
    optimiser: dict[str, Tensor] = field(default_factory=dict)
    """``INDEX.NAME``: what the optimiser keeps of each parameter."""
    scale: dict[str, Any] = field(default_factory=dict)
    """Of the float16 scaler; empty where there is none."""

    def of_branch(self, branch: str) -> list[Epoch]:
        """The branch's part of the curve."""
        return [epoch for epoch in self.curve if epoch.branch == branch]

    def save(self, path: Path) -> None:
        """Write the file, or leave the older one where the program is killed meanwhile."""
        groups = {"model": self.model, "best": self.best, "optimiser": self.optimiser}
        tensors = {
            f"{group}/{name}": tensor.detach().cpu().clone().contiguous()
            for group, values in groups.items()
            for name, tensor in values.items()
        }
        curve = json.dumps([dataclasses.asdict(epoch) for epoch in self.curve])
        with written_whole(path) as draft:
            save_file(tensors, draft, {"curve": curve, "scale": json.dumps(self.scale)})

    @classmethod
    def load(cls, path: Path | None) -> FoldState:
        """Of a file; the beginning of a fold where there is none."""
        state = cls()
        if path is None or not path.is_file():
            return state
        with safe_open(path, framework="pt") as file:
            notes = file.metadata()
            for key in file.keys():  # noqa: SIM118 - it is no mapping
                group, _, name = key.partition("/")
                getattr(state, group)[name] = file.get_tensor(key)
        state.curve = [Epoch(**epoch) for epoch in json.loads(notes["curve"])]
        state.scale = json.loads(notes["scale"])
        return state


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser keeps, by parameter."""
    kept: Mapping[int, Mapping[str, Tensor]] = optimiser.state_dict()["state"]
    return {f"{i}.{name}": value for i, values in kept.items() for name, value in values.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimiser_tensors` took."""
    kept: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        kept.setdefault(int(index), {})[name] = value
    whole = optimiser.state_dict()
    optimiser.load_state_dict({**whole, "state": kept})


def copied(module: nn.Module) -> dict[str, Tensor]:
    """The module's state as it is now."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
