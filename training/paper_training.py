"""One fold of the paper's protocol: speech, text and bimodal classifiers, trained and tested."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

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
from training.early_stopping import EarlyStopping
from training.folds import Fold
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.paired_data import Excerpts, PairedData
from training.settings import PaperSettings

STSER: Final = "STSER"
"""Name of the average of the three classifiers."""
ROWS: Final = (*CLASSIFIERS, STSER)
"""Rows of the tables, in the paper's order."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """What one fold came to."""

    curves: list[Epoch]
    posteriors: dict[str, NDArray[np.float64]]
    """By row of the tables, ``(test utterances, classes)``."""


def train_fold(
    model: StserModel, data: PairedData, fold: Fold, settings: PaperSettings, device: str = "cpu"
) -> Tested:
    """Train a fresh model on one fold and judge its test session.

    Args:
        model: With pre-trained words in its tmodel; left in its best state.
        data: All utterances.
        fold: Its training utterances teach, its validation utterances choose the epoch.
        settings: How.
        device: ``cpu``, or ``cuda``.

    Returns:
        Curves and posteriors; STSER is the average of the three posteriors (section 2.4).
    """
    trainer = _Trainer(model.to(device), data, fold, settings, device)
    curves = trainer.joint() if settings.training == "joint" else trainer.separate()
    logits = trainer.logits(fold.test)
    posteriors = {name: np.exp(log_posterior(values, 1.0)) for name, values in logits.items()}
    posteriors[STSER] = np.mean(list(posteriors.values()), axis=0)
    return Tested(curves, posteriors)


class _Trainer:
    """The model, its data and how to train it: what all branches share."""

    def __init__(
        self,
        model: StserModel,
        data: PairedData,
        fold: Fold,
        settings: PaperSettings,
        device: str,
    ) -> None:
        self.model = model
        self.data = data
        self.fold = fold
        self.settings = settings
        self.device = device
        self.prior: LogMelStatistics = data.speech.prior(fold.train)
        self.rng = np.random.default_rng(settings.seed)
        self.excerpts = Excerpts(settings.crop_frames, self.rng)

    def separate(self) -> list[Epoch]:
        """Speech, text, and the bimodal classifier over both as they then are."""
        model = self.model
        parts = [model.smodel, model.speech]
        curves = self._train("speech", parts, self._speech_loss, self._speech)
        text = [model.tmodel, model.text] if self.settings.tune_albert else [model.text]
        curves += self._train("text", text, self._text_loss, self._text)
        return curves + self._bimodal()

    def joint(self) -> list[Epoch]:
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

        return self._train("joint", [self.model], loss, validate)

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

    def _bimodal(self) -> list[Epoch]:
        """Over frozen representations, which are computed once."""
        train, validation = self.fold.train, self.fold.validation
        speech, text = self._represent("speech", train), self._represent("text", train)
        heard = self._represent("speech", validation)
        read = self._represent("text", validation)
        place = {index: row for row, index in enumerate(train)}

        def loss(batch: Sequence[int]) -> Tensor:
            rows = [place[index] for index in batch]
            return F.cross_entropy(self.model.fuse(speech[rows], text[rows]), self._labels(batch))

        return self._train(
            "bimodal",
            [self.model.bimodal],
            loss,
            lambda: _numbers(self.model.fuse(heard, read)),
        )

    @torch.no_grad()
    def _represent(self, modality: str, indices: Sequence[int]) -> Tensor:
        """Of all utterances, nothing cropped or dropped, ``(utterances, hidden)``."""
        self.model.eval()
        width = getattr(self.model.settings, modality).representation
        represented = torch.empty(len(indices), width, device=self.device)
        for at in self.data.in_order_of_length(indices):
            batch = [indices[position] for position in at]
            if modality == "speech":
                output = self.model.smodel(*self._hear(batch, training=False))
            else:
                output = self.model.tmodel(*self._read(batch))
            represented[at] = output.representation
        return represented

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
        return log_mel.to(self.device), lengths.to(self.device)

    def _read(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        ids, mask = self.data.read(batch)
        return ids.to(self.device), mask.to(self.device)

    def _labels(self, batch: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.data.labels[list(batch)]).to(self.device)

    def _train(
        self,
        branch: str,
        modules: Iterable[nn.Module],
        loss_of: Callable[[Sequence[int]], Tensor],
        validate: Callable[[], NDArray[np.float32]],
    ) -> list[Epoch]:
        """Adam at a constant rate until validation accuracy stops rising; keeps the best state."""
        settings = self.settings
        parts = nn.ModuleList(modules)
        optimiser = torch.optim.Adam(_rates(parts, settings))
        truth = self.data.labels[list(self.fold.validation)]
        stopping = EarlyStopping(settings.patience)
        best = copy.deepcopy(parts.state_dict())
        curve: list[Epoch] = []
        progress = tqdm(range(1, settings.epochs + 1), desc=branch, mininterval=5, leave=False)
        for epoch in progress:
            losses = []
            self.model.eval()  # what is not trained drops nothing
            parts.train()
            self.model.tmodel.train(branch in {"text", "joint"} and settings.tune_albert)
            for batch in self.data.epoch(self.fold.train, self.rng):
                loss = loss_of(batch)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                losses.append(float(loss.detach()))
            parts.eval()
            with torch.no_grad():
                predicted = validate().argmax(axis=1)
            accuracy = _accuracy(truth, predicted, settings)
            curve.append(Epoch(branch, epoch, float(np.mean(losses)), accuracy))
            progress.set_postfix(loss=f"{curve[-1].loss:.2f}", validation=f"{accuracy:.3f}")
            if stopping.better(accuracy):
                best = copy.deepcopy(parts.state_dict())
            if stopping.stop:
                break
        parts.load_state_dict(best)
        parts.eval()
        return curve


def _rates(parts: nn.ModuleList, settings: PaperSettings) -> list[dict[str, object]]:
    """The ALBERT at its rate, all else at the paper's; what is frozen is left out."""
    trained = [(n, p) for n, p in parts.named_parameters() if p.requires_grad]
    albert = [p for n, p in trained if ".albert." in f".{n}"]
    rest = [p for n, p in trained if ".albert." not in f".{n}"]
    groups: list[dict[str, object]] = [{"params": rest, "lr": settings.learning_rate}]
    return [*groups, {"params": albert, "lr": settings.albert_rate}] if albert else groups


def _accuracy(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], settings: PaperSettings
) -> float:
    counts = confusion(truth, predicted)
    return (weighted_accuracy if settings.stop_by == "WA" else unweighted_accuracy)(counts)


def _numbers(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)
