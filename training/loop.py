"""The training loops: batches in, the best state by validation accuracy out. No files."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from stser_core.adaptation import LogMelStatistics
from stser_core.fusion import StserModel
from training.early_stopping import EarlyStopping
from training.metrics import confusion, unweighted_accuracy
from training.settings import BimodalTrainingSettings, SpeechTrainingSettings, TextTrainingSettings
from training.speech_data import SpeechData
from training.text_data import TextData


@dataclass(frozen=True, slots=True)
class Scores:
    """What a branch says of many utterances, in their order."""

    logits: NDArray[np.float32]
    """``(utterances, classes)``."""
    representation: NDArray[np.float32]
    """``(utterances, hidden)``."""


def score_speech(
    model: StserModel,
    data: SpeechData,
    indices: Sequence[int],
    prior: LogMelStatistics,
    *,
    heard: int,
    seed: int,
) -> Scores:
    """The speech classifier on utterances whose speakers had said ``heard`` others before."""
    model.eval()
    logits = [np.empty(0, np.float32)] * len(indices)
    hidden = list(logits)
    with torch.no_grad():
        for at, log_mel, lengths in data.plain(indices, prior, heard=heard, seed=seed):
            representation = model.smodel(log_mel, lengths).representation
            _place(logits, hidden, at, model.speech(representation), representation)
    return Scores(np.stack(logits), np.stack(hidden))


def score_text(model: StserModel, data: TextData, indices: Sequence[int]) -> Scores:
    """The text classifier on sentences."""
    model.eval()
    logits = [np.empty(0, np.float32)] * len(indices)
    hidden = list(logits)
    with torch.no_grad():
        for at, ids, mask in data.plain(indices):
            representation = model.tmodel(ids, mask).representation
            _place(logits, hidden, at, model.text(representation), representation)
    return Scores(np.stack(logits), np.stack(hidden))


def _place(
    logits: list[NDArray[np.float32]],
    hidden: list[NDArray[np.float32]],
    at: Sequence[int],
    batch_logits: Tensor,
    batch_hidden: Tensor,
) -> None:
    for row, position in enumerate(at):
        logits[position] = batch_logits[row].numpy()
        hidden[position] = batch_hidden[row].numpy()


def train_speech(
    model: StserModel,
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    validate: Callable[[], float],
    settings: SpeechTrainingSettings,
) -> float:
    """Train smodel and speech classifier; leaves ``model`` in its best state.

    Returns:
        The best validation accuracy.
    """

    def loss(batch: tuple[Tensor, ...]) -> Tensor:
        log_mel, lengths, labels = batch
        logits = model.speech(model.smodel(log_mel, lengths).representation)
        return F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)

    parts = nn.ModuleList([model.smodel, model.speech])
    rates = [(list(parts.parameters()), settings.learning_rate)]
    return _train(parts, rates, batches, loss, validate, settings, "speech")


def train_text(
    model: StserModel,
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    validate: Callable[[], float],
    settings: TextTrainingSettings,
) -> float:
    """Tune the ALBERT and train the text classifier; leaves ``model`` in its best state.

    Returns:
        The best validation accuracy.
    """

    def loss(batch: tuple[Tensor, ...]) -> Tensor:
        ids, mask, target = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.half_precision):
            logits = model.text(model.tmodel(ids, mask).representation)
        return F.cross_entropy(logits.float(), target)

    parts = nn.ModuleList([model.tmodel, model.text])
    rates = [
        (list(model.tmodel.parameters()), settings.learning_rate),
        (list(model.text.parameters()), settings.classifier_rate),
    ]
    return _train(parts, rates, batches, loss, validate, settings, "text")


def _train(
    parts: nn.Module,
    rates: Sequence[tuple[list[nn.Parameter], float]],
    batches: Iterable[tuple[Tensor, ...]],
    loss_of: Callable[[tuple[Tensor, ...]], Tensor],
    validate: Callable[[], float],
    settings: SpeechTrainingSettings | TextTrainingSettings,
    name: str,
) -> float:
    optimiser = torch.optim.AdamW(
        [{"params": parameters, "lr": rate} for parameters, rate in rates],
        weight_decay=settings.weight_decay,
    )
    stopping = EarlyStopping(settings.patience)
    best = copy.deepcopy(parts.state_dict())
    source = iter(batches)
    parts.train()
    progress = tqdm(range(1, settings.steps + 1), desc=name, mininterval=10)
    for step in progress:
        share = schedule(step, settings.warm_up, settings.steps)
        for group, (_, rate) in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * share
        loss = loss_of(next(source))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimiser.step()
        if step % settings.validate_every == 0 or step == settings.steps:
            accuracy = validate()
            parts.train()
            if stopping.better(accuracy):
                best = copy.deepcopy(parts.state_dict())
            progress.set_postfix(loss=f"{loss.item():.2f}", validation=f"{accuracy:.3f}")
            if stopping.stop:
                break
    parts.load_state_dict(best)
    parts.eval()
    return stopping.best


def schedule(step: int, warm_up: int, steps: int) -> float:
    """Share of the peak rate: linear rise, then half a cosine down to 2 %."""
    rise = min(1.0, step / max(1, warm_up))
    return rise * max(0.02, 0.5 * (1 + math.cos(math.pi * step / steps)))


def train_bimodal(
    model: StserModel,
    speech: tuple[NDArray[np.float32], NDArray[np.int64]],
    text: tuple[NDArray[np.float32], NDArray[np.int64]],
    settings: BimodalTrainingSettings,
    rng: np.random.Generator,
) -> None:
    """Train the bimodal classifier on pairs of the same label from unpaired corpora.

    Args:
        model: With trained branches, which stay as they are.
        speech: Representations ``(utterances, hidden)`` and labels ``(utterances,)``.
        text: The same of sentences.
        settings: How long and how fast.
        rng: Draws the pairs.
    """
    optimiser = torch.optim.AdamW(model.bimodal.parameters(), lr=settings.learning_rate)
    by_label = [
        [np.flatnonzero(labels == label) for label in range(4)] for _, labels in (speech, text)
    ]
    model.bimodal.train()
    for step in range(1, settings.steps + 1):
        optimiser.param_groups[0]["lr"] = settings.learning_rate * schedule(
            step, 50, settings.steps
        )
        labels = rng.integers(4, size=settings.batch)
        rows = []
        for (hidden, _), places in zip((speech, text), by_label, strict=True):
            at = np.array([rng.choice(places[label]) for label in labels])
            other = rng.integers(len(hidden), size=settings.batch)
            rows.append(hidden[np.where(rng.random(settings.batch) < settings.mute, other, at)])
        logits = model.fuse(torch.from_numpy(rows[0]), torch.from_numpy(rows[1]))
        loss = F.cross_entropy(
            logits, torch.from_numpy(labels), label_smoothing=settings.label_smoothing
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    model.bimodal.eval()


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean recall of the best class: what early stopping watches, as classes are not balanced."""
    return unweighted_accuracy(confusion(labels, logits.argmax(axis=1)))


def text_accuracy(logits: NDArray[np.float32], data: TextData, indices: Sequence[int]) -> float:
    """The mean of :func:`accuracy` over the corpora that some sentences come from.

    Args:
        logits: ``(indices, classes)``.
        data: All sentences.
        indices: Which of them were judged.
    """
    corpora = np.array([data.utterances[i].corpus for i in indices])
    labels = data.labels[list(indices)]
    by_corpus = [accuracy(logits[corpora == c], labels[corpora == c]) for c in np.unique(corpora)]
    return float(np.mean(by_corpus))
