"""The training loops: batches in, the best state by validation accuracy out. No files."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Beta
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from stser_core.adaptation import LogMelStatistics
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS, Emotion
from stser_core.short_cut import ShortCut
from stser_core.smodel import SpeechModel
from training.early_stopping import EarlyStopping
from training.lesson import NO_LABEL, SpeechTargets
from training.metrics import confusion, unweighted_accuracy
from training.settings import BimodalTrainingSettings, SpeechTrainingSettings, TextTrainingSettings
from training.speech_data import SpeechData
from training.text_data import TextData
from training.voices import offsets, taken_off


@dataclass(frozen=True, slots=True)
class Scores:
    """What a branch says of many utterances, in their order."""

    logits: NDArray[np.float32]
    """``(utterances, classes)``."""
    representation: NDArray[np.float32]
    """``(utterances, representation)``; of speech without what is known of the voice."""


def score_speech(
    model: StserModel,
    data: SpeechData,
    indices: Sequence[int],
    prior: LogMelStatistics,
    *,
    heard: int,
    seed: int,
    mood: Emotion | None = None,
) -> Scores:
    """The speech classifier on utterances whose speakers had said ``heard`` others before.

    These are of one mood alone, such as neutral, as most talk is, or of any.
    """
    model.eval()
    before = {}
    if model.smodel.settings.centred:
        before = data.heard_before(indices, heard, seed, mood=mood)
    known = [*dict.fromkeys([*indices, *(other for each in before.values() for other in each)])]
    hidden = np.zeros((len(known), model.settings.speech.representation), np.float32)
    with torch.no_grad():
        for at, log_mel, lengths in data.plain(known, prior, heard=heard, seed=seed, mood=mood):
            hidden[at] = model.smodel(log_mel, lengths).representation.numpy()
        place = {index: at for at, index in enumerate(known)}
        own = hidden[[place[index] for index in indices]]
        if before:
            # Each as if nothing had been heard before it; a stream knows a little more of it.
            rows = torch.from_numpy(hidden)
            told = model.voice(rows, model.speech(rows)).numpy()
            voices = [[place[other] for other in before[index]] for index in indices]
            own = own - offsets(told, voices, data.adaptation)
        return Scores(model.speech(torch.from_numpy(own)).numpy(), own)


def score_text(model: StserModel, data: TextData, indices: Sequence[int]) -> Scores:
    """The text classifier on sentences."""
    model.eval()
    hidden = np.zeros((len(indices), model.settings.text.representation), np.float32)
    with torch.no_grad():
        for at, ids, mask in data.plain(indices):
            hidden[at] = model.tmodel(ids, mask).representation.numpy()
        return Scores(model.text(torch.from_numpy(hidden)).numpy(), hidden)


_KNOWN: Final = 0.1
"""Share of the learning rate for what has been trained alone before."""


def train_speech(
    model: StserModel,
    batches: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]],
    targets: SpeechTargets,
    validate: Callable[[], float],
    settings: SpeechTrainingSettings,
) -> float:
    """Train smodel and speech classifier; leaves ``model`` in its best state.

    A short cut is trained first, alone with the classifier: it learns in a tenth of the time.

    Args:
        model: To be trained.
        batches: As :class:`~training.speech_data.SpeechBatches` gives them.
        targets: What there is to learn of these utterances.
        validate: Accuracy of the model as it is.
        settings: How long, how fast.

    Returns:
        The best validation accuracy.
    """
    source = iter(batches)

    def loss(batch: tuple[Tensor, ...], represent: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        log_mel, lengths, at, taken = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.half_precision):
            heard = represent(log_mel, lengths)
        heard = heard.float()
        if model.smodel.settings.centred:
            known = targets.labels[at] != NO_LABEL
            model.smodel.follow(heard[known], targets.labels[at[known]])
            # Voices that are trained on are judged better than others, and known better.
            with torch.no_grad():
                posterior = model.speech(heard).softmax(dim=-1)
            heard = taken_off(heard, model.smodel.voice(heard, posterior), taken)
        share = mixing.sample((len(heard), 1)) if mixing is not None else torch.ones(len(heard), 1)
        # Neighbours in a batch are as good as any others: its rows are drawn at random.
        logits = model.speech(share * heard + (1 - share) * heard.roll(1, 0))
        own, other = (targets.of_logits(logits, mixed) for mixed in (at, at.roll(1)))
        by_logits = (share[:, 0] * own + (1 - share[:, 0]) * other).mean()
        return by_logits + targets.of_representation(heard, at)

    mixing = Beta(settings.mixup, settings.mixup) if settings.mixup > 0 else None
    whole = nn.ModuleList([model.smodel, model.speech, targets])
    best, kept = float("-inf"), whole.state_dict()
    taught: list[nn.Module] = []
    if model.smodel.short_cut is not None and settings.first_steps > 0:
        parts = nn.ModuleList([model.smodel.short_cut, model.speech, targets])
        best = _train_short_cut(
            model.smodel, model.smodel.short_cut, parts, source, loss, validate, settings
        )
        kept = copy.deepcopy(whole.state_dict())
        nn.init.constant_(model.smodel.share, 0.1)
        taught = [parts]
    taught_already = {id(p) for part in taught for p in part.parameters()}
    rates = [
        ([p for p in whole.parameters() if id(p) not in taught_already], settings.learning_rate),
        (
            [p for p in whole.parameters() if id(p) in taught_already],
            settings.learning_rate * _KNOWN,
        ),
    ]
    averaged = None
    if settings.averaging > 0:
        averaged = AveragedModel(
            whole,
            multi_avg_fn=get_ema_multi_avg_fn(settings.averaging),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
    found = train_parts(
        whole,
        rates,
        source,
        lambda batch: loss(batch, lambda *heard: model.smodel(*heard).representation),
        validate,
        settings,
        "speech",
        averaged,
    )
    if found < best:
        whole.load_state_dict(kept)
    return max(best, found)


def _train_short_cut(
    smodel: SpeechModel,
    short_cut: ShortCut,
    parts: nn.ModuleList,
    source: Iterator[tuple[Tensor, ...]],
    loss: Callable[[tuple[Tensor, ...], Callable[[Tensor, Tensor], Tensor]], Tensor],
    validate: Callable[[], float],
    settings: SpeechTrainingSettings,
) -> float:
    """Train the short cut and the classifier while the recurrent part has no share."""
    nn.init.zeros_(smodel.share)
    first = dataclasses.replace(
        settings, steps=settings.first_steps, validate_every=settings.first_steps
    )
    rates = [(list(parts.parameters()), settings.learning_rate)]
    return train_parts(
        parts, rates, source, lambda batch: loss(batch, short_cut), validate, first, "short cut"
    )


def train_text(
    model: StserModel,
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    validate: Callable[[], float],
    settings: TextTrainingSettings,
) -> float:
    """Train the text classifier, then tune the ALBERT with it; leaves ``model`` in its best state.

    The classifier comes first, alone: what a classifier that knows nothing asks of the ALBERT would
    undo some of what it has learnt (Kumar et al., 2022).

    Returns:
        The best validation accuracy.
    """

    def loss(batch: tuple[Tensor, ...]) -> Tensor:
        ids, mask, target = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.half_precision):
            with torch.set_grad_enabled(model.tmodel.training):
                representation = model.tmodel(ids, mask).representation
            logits = model.text(representation)
        return F.cross_entropy(logits.float(), target)

    model.tmodel.train(mode=False)
    alone = dataclasses.replace(settings, steps=settings.classifier_steps)
    classifier = list(model.text.parameters())
    rates = [(classifier, settings.classifier_rate)]
    best = train_parts(
        nn.ModuleList([model.text]), rates, batches, loss, validate, alone, "classifier"
    )
    if settings.steps == 0:
        return best
    parts = nn.ModuleList([model.tmodel, model.text])
    kept = copy.deepcopy(parts.state_dict())
    rates = [
        (list(model.tmodel.parameters()), settings.learning_rate),
        (classifier, settings.tuning_rate),
    ]
    found = train_parts(parts, rates, batches, loss, validate, settings, "text")
    if found < best:
        parts.load_state_dict(kept)
    return max(best, found)


def train_parts(
    parts: nn.Module,
    rates: Sequence[tuple[list[nn.Parameter], float]],
    batches: Iterable[tuple[Tensor, ...]],
    loss_of: Callable[[tuple[Tensor, ...]], Tensor],
    validate: Callable[[], float],
    settings: SpeechTrainingSettings | TextTrainingSettings,
    name: str,
    averaged: AveragedModel | None = None,
) -> float:
    """Any training: steps, a schedule, early stopping.

    Args:
        parts: What is trained; left in its best state.
        rates: Parameters with the peak of their rate.
        batches: Endless.
        loss_of: Of a batch.
        validate: Accuracy of ``parts`` as they are.
        settings: How long, how fast.
        name: For the progress bar.
        averaged: Follows the weights; then its state is validated and kept in place of theirs.
    """
    muon = isinstance(settings, SpeechTrainingSettings) and settings.muon
    chosen = optimisers(rates, settings.weight_decay, muon=muon)
    stopping = EarlyStopping(settings.patience)
    best = copy.deepcopy(parts.state_dict())
    source = iter(batches)
    parts.train()
    progress = tqdm(range(1, settings.steps + 1), desc=name, mininterval=10)
    for step in progress:
        share = schedule(step, settings.warm_up, settings.steps)
        set_rates(chosen, share)
        loss = loss_of(next(source))
        parts.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        for optimiser in chosen:
            optimiser.step()
        if averaged is not None:
            averaged.update_parameters(parts)
        if step % settings.validate_every == 0 or step == settings.steps:
            newest = copy.deepcopy(parts.state_dict())
            if averaged is not None:
                parts.load_state_dict(averaged.module.state_dict())
            accuracy = validate()
            if stopping.better(accuracy):
                best = copy.deepcopy(parts.state_dict())
            parts.load_state_dict(newest)
            parts.train()
            progress.set_postfix(loss=f"{loss.item():.2f}", validation=f"{accuracy:.3f}")
            if stopping.stop:
                break
    parts.load_state_dict(best)
    parts.eval()
    return stopping.best


def optimisers(
    rates: Sequence[tuple[list[nn.Parameter], float]], decay: float, *, muon: bool = False
) -> list[torch.optim.Optimizer]:
    """AdamW, and where it is wanted Muon for the matrices; each group of parameters knows its ``peak`` rate.

    Args:
        rates: Parameters with the peak of their rate.
        decay: Of weights.
        muon: Matrices are learnt by it, with steps as large as AdamW's.
    """

    def groups(*, matrices: bool) -> list[dict[str, Any]]:
        split = [
            ([p for p in parameters if (muon and p.ndim == 2) is matrices], rate)
            for parameters, rate in rates
        ]
        return [{"params": some, "lr": rate, "peak": rate} for some, rate in split if some]

    others, matrices = groups(matrices=False), groups(matrices=True)
    chosen: list[torch.optim.Optimizer] = []
    if others:
        chosen.append(torch.optim.AdamW(others, weight_decay=decay))
    if matrices:
        chosen.append(
            torch.optim.Muon(matrices, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return chosen


def set_rates(chosen: Iterable[torch.optim.Optimizer], share: float) -> None:
    """Give each group of parameters of :func:`optimisers` this share of its peak rate."""
    for optimiser in chosen:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share


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
    """Train the bimodal classifier on pairs from unpaired corpora.

    Most pairs share a label. In some voice and words differ, such as calm words in an angry voice: the
    target is half of each, because nothing says which is right. In some one of the two says nothing:
    its representation is the mean one (modality dropout), and the target is the other's label.

    Args:
        model: With trained branches, which stay as they are.
        speech: Representations ``(utterances, hidden)`` and labels ``(utterances,)``.
        text: The same of sentences.
        settings: How long and how fast, and how many pairs of each kind.
        rng: Draws the pairs.
    """
    optimiser = torch.optim.AdamW(model.bimodal.parameters(), lr=settings.learning_rate)
    model.bimodal.train()
    for step in range(1, settings.steps + 1):
        optimiser.param_groups[0]["lr"] = settings.learning_rate * schedule(
            step, 50, settings.steps
        )
        heard, read, targets = _pairs(speech, text, settings, rng)
        logits = model.fuse(torch.from_numpy(heard), torch.from_numpy(read))
        loss = F.cross_entropy(
            logits, torch.from_numpy(targets), label_smoothing=settings.label_smoothing
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    model.bimodal.eval()


def _pairs(
    speech: tuple[NDArray[np.float32], NDArray[np.int64]],
    text: tuple[NDArray[np.float32], NDArray[np.int64]],
    settings: BimodalTrainingSettings,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """A batch of both representations and of targets ``(batch, classes)``."""
    n, n_classes = settings.batch, len(EMOTIONS)
    said = rng.integers(n_classes, size=n)
    kind = rng.random(n)
    conflict = kind < settings.conflict
    written = np.where(conflict, (said + rng.integers(1, n_classes, size=n)) % n_classes, said)
    rows = []
    for (hidden, labels), wanted in ((speech, said), (text, written)):
        places = [np.flatnonzero(labels == label) for label in range(n_classes)]
        rows.append(hidden[[rng.choice(places[label]) for label in wanted]])
    spread = settings.voice_noise * speech[0].std(axis=0)
    rows[0] += spread * rng.standard_normal(rows[0].shape, np.float32)
    for row, (hidden, _), first in zip(rows, (speech, text), (0, 1), strict=True):
        start = settings.conflict + first * settings.drop
        row[(kind >= start) & (kind < start + settings.drop)] = hidden.mean(axis=0)
    one = np.eye(n_classes, dtype=np.float32)
    return rows[0], rows[1], np.asarray((one[said] + one[written]) / 2, np.float32)


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
