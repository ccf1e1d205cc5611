"""Where training computes: the device, the precision, and the processes that share the work.

Hugging Face Accelerate, as far as this project needs it. The same command runs alone or under
``accelerate launch``, on one machine or several.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, Literal

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast
from torch import Tensor, nn

from training.errors import TrainingError

Device = Literal["cpu", "cuda"]
Precision = Literal["no", "fp16", "bf16"]
Parallel = Literal["folds", "batches"]

_WAIT: Final = timedelta(days=30)
"""Longest wait for another process: whole folds, not batches."""


class Compute:
    """One process' part in a training.

    Args:
        device: ``cpu`` or ``cuda``; under ``accelerate launch`` each process has a GPU of its own.
        precision: Of training; ``no`` is float32. None takes that of ``accelerate launch``, else ``no``.
        parallel: What several processes share. ``folds``: each trains whole folds, so that the result
            is that of one process. ``batches``: all train one fold, each on its part of every batch,
            for more processes than folds; batch normalisation then sees a part of a batch on CPUs.

    Raises:
        TrainingError: The machine has no such device, or the device no such precision.
    """

    def __init__(
        self,
        device: Device = "cpu",
        precision: Precision | None = None,
        parallel: Parallel = "folds",
    ) -> None:
        if device == "cuda":
            _check_cuda(precision)
        elif precision == "fp16":
            raise TrainingError(
                "--mixed-precision fp16 needs a GPU (--device cuda). A CPU has bf16 and no."
            )
        try:
            self._accelerator = Accelerator(
                cpu=device == "cpu",
                mixed_precision=precision,
                kwargs_handlers=[InitProcessGroupKwargs(timeout=_WAIT)],
            )
        except (ValueError, RuntimeError) as error:
            raise TrainingError(f"Accelerate cannot start: {error}") from error
        self.device: torch.device = self._accelerator.device
        self.precision: str = self._accelerator.mixed_precision
        self.index: int = self._accelerator.process_index
        self.processes: int = self._accelerator.num_processes
        self.parallel = parallel
        self._scaler: Any = self._accelerator.scaler  # of float16; None without
        self._first_scale = self.scale

    @property
    def is_main(self) -> bool:
        """The one process that prints and writes what is common to all."""
        return bool(self._accelerator.is_main_process)

    @property
    def sharers(self) -> int:
        """Processes that train on the same batch."""
        return self.processes if self.parallel == "batches" else 1

    @property
    def rank(self) -> int:
        """Place among the sharers, from 0."""
        return self.index if self.sharers > 1 else 0

    @property
    def writes(self) -> bool:
        """Whether this process writes the fold that it trains."""
        return self.sharers == 1 or self.is_main

    def folds(self, count: int) -> range:
        """Places of the folds that this process trains."""
        return (
            range(count) if self.parallel == "batches" else range(self.index, count, self.processes)
        )

    def part(self, batch: Sequence[int]) -> tuple[list[int], float]:
        """This process' rows of a batch, and the weight of their mean loss.

        The mean over the sharers of the weighted losses is the mean loss of the whole batch.
        """
        rows = list(batch[self.rank :: self.sharers])
        weight = len(rows) * self.sharers / len(batch)
        return rows or list(batch[:1]), weight

    def prepare(self, loss: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """A module that computes a loss in the precision, and an optimiser to match.

        Where processes share batches, gradients are averaged over them as they arise.
        """
        if self.sharers > 1 and self.device.type == "cuda":
            loss = nn.SyncBatchNorm.convert_sync_batchnorm(loss)  # type: ignore[no-untyped-call]
        alone = self.sharers == 1
        self._accelerator.free_memory()
        prepared = self._accelerator.prepare_model(loss, evaluation_mode=alone)
        return prepared, self._accelerator.prepare_optimizer(optimiser)

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss, scaled where float16 needs it."""
        self._accelerator.backward(loss)

    @property
    def scale(self) -> dict[str, Any]:
        """By what float16 losses are scaled, as it adapts; empty in other precisions."""
        return {} if self._scaler is None else self._scaler.state_dict()

    @scale.setter
    def scale(self, kept: dict[str, Any]) -> None:
        """Put a state back; an empty one stands for that of the beginning."""
        if self._scaler is not None:
            self._scaler.load_state_dict(kept or self._first_scale)

    def shard(self, items: Sequence[list[int]]) -> Sequence[list[int]]:
        """Those of the batches that this process evaluates."""
        return items[self.rank :: self.sharers]

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over the sharers, the same on each."""
        if self.sharers == 1:
            return tensor
        return self._accelerator.reduce(tensor, "sum")  # type: ignore[no-any-return]

    def agree(self, module: nn.Module) -> None:
        """Give all sharers the main process' running means of batch normalisation."""
        if self.sharers > 1:
            with torch.no_grad():
                for buffer in module.buffers():
                    buffer.copy_(broadcast(buffer))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process goes through the block alone, then the others, to find what it wrote."""
        with self._accelerator.main_process_first():
            yield

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()


def _check_cuda(precision: Precision | None) -> None:
    if not torch.cuda.is_available():
        raise TrainingError(
            f"--device cuda: PyTorch {torch.__version__} finds no CUDA GPU on this machine. Use "
            "--device cpu, or install a driver and a build of PyTorch for CUDA."
        )
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise TrainingError(
            f"--mixed-precision bf16: {torch.cuda.get_device_name()} cannot. Use fp16 or no."
        )
    # The same numbers each time on the same GPU; both must be set before CUDA is used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
