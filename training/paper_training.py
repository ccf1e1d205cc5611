"""One fold of the paper's protocol: speech, text and bimodal classifiers, trained and tested."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from stser_core.adaptation import LogMelStatistics
from stser_core.ensemble import CLASSIFIERS
from stser_core.fusion import StserModel
from training.calibrate import log_posterior
from training.compute import Compute
from training.early_stopping import EarlyStopping
from training.folds import Fold
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.paired_data import Excerpts, PairedData
from training.paper_state import (
    Epoch,
    FoldState,
    copied,
    optimiser_tensors,
    restore_optimiser,
)
from training.settings import PaperSettings

logger = logging.getLogger(__name__)

STSER: Final = "STSER"
"""Name of the average of the three classifiers."""
BRANCHES: Final = (*CLASSIFIERS, "joint")
"""Names of what is trained at a time."""


@dataclass(frozen=True, slots=True)
class Keep:
    """A file from which a training that was killed goes on."""

    path: Path
    every_s: float = 30.0
    """Written after an epoch, at most once in this time."""


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """What one fold came to."""

    curves: list[Epoch]
    posteriors: dict[str, NDArray[np.float64]]
    """By row of the tables, ``(test utterances, classes)``."""


def train_fold(
    model: StserModel,
    data: PairedData,
    fold: Fold,
    settings: PaperSettings,
    compute: Compute,
    keep: Keep | None = None,
) -> Tested:
    """Train a fresh model on one fold and judge its test session.

    Args:
        model: With pre-trained words in its tmodel; left in its best state.
        data: All utterances.
        fold: Its training utterances teach, its validation utterances choose the epoch.
        settings: How.
        compute: Where, and with whom.
        keep: Where the state is kept meanwhile; where there is one, training goes on from it.

    Returns:
        Curves and posteriors; STSER is the average of the three posteriors (section 2.4).
    """
    trainer = _Trainer(model.to(compute.device), data, fold, settings, compute, keep)
    if settings.training == "joint":
        trainer.joint()
    else:
        trainer.separate()
    logits = trainer.logits(fold.test)
    posteriors = {name: np.exp(log_posterior(values, 1.0)) for name, values in logits.items()}
    posteriors[STSER] = np.mean(list(posteriors.values()), axis=0)
    return Tested(trainer.state.curve, posteriors)


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    """What is trained together, and how to tell whether it is better."""

    name: str
    parts: nn.ModuleList
    loss: Callable[[Sequence[int]], Tensor]
    """Mean cross-entropy of training utterances."""
    validate: Callable[[], NDArray[np.float32]]
    """Scores ``(validation utterances, classes)``."""


class _Loss(nn.Module):
    """A branch's loss as a module, so that Accelerate can wrap it."""

    def __init__(self, branch: _Branch) -> None:
        super().__init__()
        self.parts = branch.parts
        self._loss = branch.loss

    def forward(self, rows: Sequence[int], weight: float) -> Tensor:
        return self._loss(rows) * weight


class _Trainer:
    """The model, its data and how to train it: what all branches share."""

    def __init__(
        self,
        model: StserModel,
        data: PairedData,
        fold: Fold,
        settings: PaperSettings,
        compute: Compute,
        keep: Keep | None,
    ) -> None:
        self.model = model
        self.data = data
        self.fold = fold
        self.settings = settings
        self.compute = compute
        self.prior: LogMelStatistics = data.speech.prior(fold.train)
        self.excerpts: Excerpts | None = None
        self.keep = keep
        self._saved = time.monotonic()
        self.state = FoldState.load(None if keep is None else keep.path)
        if self.state.model:
            model.load_state_dict(self.state.model)
            last = self.state.curve[-1]
            logger.info("going on after epoch %d of %s", last.epoch, last.branch)

    def separate(self) -> None:
        """Speech, text, and the bimodal classifier over both as they then are."""
        model = self.model
        speech = nn.ModuleList([model.smodel, model.speech])
        self._train(_Branch("speech", speech, self._speech_loss, self._speech))
        text = nn.ModuleList(
            [model.tmodel, model.text] if self.settings.tune_albert else [model.text]
        )
        self._train(_Branch("text", text, self._text_loss, self._text))
        self._bimodal()

    def joint(self) -> None:
        """All three at once; the epoch is chosen by their average."""
        frozen = () if self.settings.tune_albert else tuple(self.model.tmodel.parameters())
        for parameter in frozen:
            parameter.requires_grad = False

        def loss(batch: Sequence[int]) -> Tensor:
            output = self.model(*self._hear(batch), *self._read(batch))
            labels = self._labels(batch)
            logits = (output.speech, output.text, output.bimodal)
            return torch.stack([F.cross_entropy(each, labels) for each in logits]).sum()

        def validate() -> NDArray[np.float32]:
            logits = self.logits(self.fold.validation)
            mean = np.mean([np.exp(log_posterior(v, 1.0)) for v in logits.values()], axis=0)
            return np.asarray(mean, np.float32)

        self._train(_Branch("joint", nn.ModuleList([self.model]), loss, validate))

    def logits(self, indices: Sequence[int]) -> dict[str, NDArray[np.float32]]:
        """Of the three classifiers, ``(utterances, classes)``, in the order of ``indices``."""
        speech, text = self._represent("speech", indices), self._represent("text", indices)
        return self._classify(speech, text)

    def _speech_loss(self, batch: Sequence[int]) -> Tensor:
        representation = self.model.smodel(*self._hear(batch)).representation
        return F.cross_entropy(self.model.speech(representation), self._labels(batch))

    def _text_loss(self, batch: Sequence[int]) -> Tensor:
        with torch.set_grad_enabled(self.settings.tune_albert):
            representation = self.model.tmodel(*self._read(batch)).representation
        return F.cross_entropy(self.model.text(representation), self._labels(batch))

    def _speech(self) -> NDArray[np.float32]:
        represented = self._represent("speech", self.fold.validation)
        return _numbers(self.model.speech(represented))

    def _text(self) -> NDArray[np.float32]:
        represented = self._represent("text", self.fold.validation)
        return _numbers(self.model.text(represented))

    def _bimodal(self) -> None:
        """Over frozen representations, which are computed once."""
        train, validation = self.fold.train, self.fold.validation
        speech, text = self._represent("speech", train), self._represent("text", train)
        heard = self._represent("speech", validation)
        read = self._represent("text", validation)
        place = {index: row for row, index in enumerate(train)}

        def loss(batch: Sequence[int]) -> Tensor:
            rows = [place[index] for index in batch]
            return F.cross_entropy(self.model.fuse(speech[rows], text[rows]), self._labels(batch))

        def validate() -> NDArray[np.float32]:
            return _numbers(self.model.fuse(heard, read))

        self._train(_Branch("bimodal", nn.ModuleList([self.model.bimodal]), loss, validate))

    @torch.no_grad()
    def _represent(self, modality: str, indices: Sequence[int]) -> Tensor:
        """Of all utterances, nothing cropped or dropped, ``(utterances, hidden)``."""
        self.model.eval()
        width = getattr(self.model.settings, modality).representation
        represented = torch.zeros(len(indices), width, device=self.compute.device)
        for at in self.compute.shard(list(self.data.in_order_of_length(indices))):
            batch = [indices[position] for position in at]
            if modality == "speech":
                output = self.model.smodel(*self._hear(batch, training=False))
            else:
                output = self.model.tmodel(*self._read(batch))
            represented[at] = output.representation
        return self.compute.total(represented)

    @torch.no_grad()
    def _classify(self, speech: Tensor, text: Tensor) -> dict[str, NDArray[np.float32]]:
        self.model.eval()
        return {
            "speech": _numbers(self.model.speech(speech)),
            "text": _numbers(self.model.text(text)),
            "bimodal": _numbers(self.model.fuse(speech, text)),
        }

    def _hear(self, batch: Sequence[int], *, training: bool = True) -> tuple[Tensor, Tensor]:
        excerpts = self.excerpts if training else None
        log_mel, lengths = self.data.hear(batch, self.prior, excerpts)
        return log_mel.to(self.compute.device), lengths.to(self.compute.device)

    def _read(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        ids, mask = self.data.read(batch)
        return ids.to(self.compute.device), mask.to(self.compute.device)

    def _labels(self, batch: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.data.labels[list(batch)]).to(self.compute.device)

    def _train(self, branch: _Branch) -> None:
        """Adam at a constant rate until validation accuracy stops rising; keeps the best state."""
        settings, state = self.settings, self.state
        optimiser = torch.optim.Adam(_rates(branch.parts, settings))
        stopping = EarlyStopping(settings.patience)
        for epoch in state.of_branch(branch.name):
            stopping.better(epoch.accuracy)
        done = len(state.of_branch(branch.name))
        if not done:
            state.best = copied(branch.parts)
        elif state.curve[-1].branch != branch.name:
            return  # a later branch has begun: the model holds the best of this one
        else:
            restore_optimiser(optimiser, state.optimiser)
        learner, stepper = self.compute.prepare(_Loss(branch), optimiser)
        self.compute.scale = state.scale if done else {}
        progress = tqdm(
            range(done + 1, settings.epochs + 1),
            desc=branch.name,
            initial=done,
            total=settings.epochs,
            position=self.compute.index + 1,
            disable=not self.compute.writes,
            mininterval=5,
            leave=False,
        )
        for number in progress:
            if stopping.stop:
                break
            loss = self._epoch(branch, number, learner, stepper)
            accuracy = self._accuracy(branch)
            state.curve.append(Epoch(branch.name, number, loss, accuracy))
            progress.set_postfix(loss=f"{loss:.2f}", validation=f"{accuracy:.3f}")
            if stopping.better(accuracy):
                state.best = copied(branch.parts)
            self._save(optimiser)
        branch.parts.load_state_dict(state.best)
        branch.parts.eval()

    def _epoch(self, branch: _Branch, number: int, learner: nn.Module, stepper: Any) -> float:
        """Teach every training utterance once; returns the mean loss of the batches."""
        seed = (self.settings.seed, BRANCHES.index(branch.name), number)
        own = np.random.SeedSequence((*seed, self.compute.rank))
        torch.manual_seed(int(own.generate_state(1)[0]))  # what is dropped
        self.excerpts = Excerpts(self.settings.crop_frames, seed)
        self.model.eval()  # what is not trained drops nothing
        branch.parts.train()
        self.model.tmodel.train(branch.name in {"text", "joint"} and self.settings.tune_albert)
        losses = []
        for batch in self.data.epoch(self.fold.train, np.random.default_rng(seed)):
            loss = learner(*self.compute.part(batch))
            stepper.zero_grad()
            self.compute.backward(loss)
            stepper.step()
            losses.append(loss.detach())
        mean = torch.stack(losses).mean()
        return float(self.compute.total(mean)) / self.compute.sharers

    def _accuracy(self, branch: _Branch) -> float:
        """On the validation utterances."""
        self.compute.agree(branch.parts)
        branch.parts.eval()
        with torch.no_grad():
            predicted = branch.validate().argmax(axis=1)
        counts = confusion(self.data.labels[list(self.fold.validation)], predicted)
        by_class = self.settings.stop_by == "UA"
        return (unweighted_accuracy if by_class else weighted_accuracy)(counts)

    def _save(self, optimiser: torch.optim.Optimizer) -> None:
        waited = time.monotonic() - self._saved
        if self.keep is None or not self.compute.writes or waited < self.keep.every_s:
            return
        self.state.model = copied(self.model)
        self.state.optimiser = optimiser_tensors(optimiser)
        self.state.scale = self.compute.scale
        self.state.save(self.keep.path)
        self._saved = time.monotonic()


def _rates(parts: nn.ModuleList, settings: PaperSettings) -> list[dict[str, object]]:
    """The ALBERT at its rate, all else at the paper's; what is frozen is left out."""
    trained = [(n, p) for n, p in parts.named_parameters() if p.requires_grad]
    albert = [p for n, p in trained if ".albert." in f".{n}"]
    rest = [p for n, p in trained if ".albert." not in f".{n}"]
    groups: list[dict[str, object]] = [{"params": rest, "lr": settings.learning_rate}]
    return [*groups, {"params": albert, "lr": settings.albert_rate}] if albert else groups


def _numbers(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)
