"""A network reads phones from a teacher's states; the acoustic model learns to score as it does.

The states hold what is said far better than a few hours of speech can teach a small network that starts from
nothing. Their reader is trained by the same objective as the acoustic model. The scores that it gives each
utterance undisturbed are what the acoustic model is to give it in noise and in other manners (Hinton et al.,
*Distilling the knowledge in a neural network*, 2015).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from training.loop import optimisers, schedule, set_rates
from training.recogniser.acoustic_model import N_OUTPUTS, normed
from training.recogniser.batches import fitting_groups
from training.recogniser.features import FRAMES_PER_S, SUBSAMPLING
from training.recogniser.lfmmi import loss, transcripts
from training.recogniser.prepare import Prepared
from training.recogniser.sentences import Sentence
from training.recogniser.settings import RecogniserSettings, TeacherSettings
from training.recogniser.trainer import GRADIENT_NORM, Run
from training.whole_file import written_whole

logger = logging.getLogger(__name__)

FILE: Final = "reader.safetensors"
_LAYERS: Final = 2
_CONTEXT: Final = 5
"""Outputs that each layer hears at once, 150 ms."""
_GROUPS: Final = 4

States = NDArray[np.float16]
Scores = NDArray[np.float16]


class Reader(nn.Module):
    """Phone scores from a teacher's states, output by output."""

    def __init__(self, states: int, settings: TeacherSettings) -> None:
        """``states`` is the width of the teacher's states."""
        super().__init__()
        width = settings.width
        self.normal = nn.BatchNorm1d(states)
        self.narrow = nn.Linear(states, width)
        self.norm = nn.BatchNorm1d(width)
        self.around = nn.ModuleList(
            nn.Conv1d(width, width, _CONTEXT, padding=_CONTEXT // 2, groups=_GROUPS)
            for _ in range(_LAYERS)
        )
        self.mixed = nn.ModuleList(nn.Linear(width, width) for _ in range(_LAYERS))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(_LAYERS))
        self.dropout = nn.Dropout(settings.dropout)
        self.scores = nn.Linear(width, N_OUTPUTS)
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)

    def forward(self, states: Tensor) -> Tensor:
        """``(batch, outputs, states)`` to scores as of the acoustic model, ``(batch, outputs, 2 * phones)``."""
        narrow = self.narrow(self.dropout(normed(self.normal, states)))
        hidden = self.dropout(torch.relu(normed(self.norm, narrow)))
        for around, mixed, norm in zip(self.around, self.mixed, self.norms, strict=True):
            heard = mixed(around(hidden.transpose(1, 2)).transpose(1, 2))
            assert isinstance(norm, nn.BatchNorm1d)
            hidden = hidden + self.dropout(torch.relu(normed(norm, heard)))
        scores: Tensor = self.scores(hidden)
        return scores


def opinions(prepared: Prepared, run: Run, settings: RecogniserSettings) -> list[Scores]:
    """What the reader says of each training utterance, ``(outputs, 2 * phones)``, in their order.

    The reader is kept in the run's folder, and learnt only once.

    Raises:
        TrainingError: No teacher heard the utterances.
    """
    heard = prepared.training(0)
    states = heard.states()
    reader = Reader(states[0].shape[1], settings.teacher)
    path = run.folder / FILE
    if path.is_file():
        reader.load_state_dict(load_file(path))
    else:
        _learn(reader, heard.words, states, prepared, run, settings)
        with written_whole(path) as draft:
            save_file(reader.state_dict(), draft)
    reader.eval()
    with torch.inference_mode():
        return [
            reader(torch.from_numpy(one.astype(np.float32))[None])[0].numpy().astype(np.float16)
            for one in tqdm(states, "opinions", mininterval=10)
        ]


def _learn(
    reader: Reader,
    words: Sequence[Sentence],
    states: Sequence[States],
    prepared: Prepared,
    run: Run,
    settings: RecogniserSettings,
) -> None:
    ours = settings.teacher
    torch.manual_seed(settings.seed)
    epochs = [
        fitting_groups(
            [len(one) for one in states],
            FRAMES_PER_S / SUBSAMPLING,
            settings.training,
            np.random.default_rng((settings.seed, 20, epoch)),
        )
        for epoch in range(ours.epochs)
    ]
    rng = np.random.default_rng((settings.seed, 21))
    steps = sum(map(len, epochs))
    [optimiser] = optimisers([(list(reader.parameters()), ours.learning_rate)], ours.weight_decay)
    reader.train()
    progress = tqdm((batch for epoch in epochs for batch in epoch), "reader", steps, mininterval=10)
    for step, batch in enumerate(progress, 1):
        set_rates([optimiser], schedule(step, steps // 10, steps))
        given, lengths = _padded([states[index] for index in batch])
        said = transcripts([words[index] for index in batch], run.lexicon, run.bigram, rng)
        penalised, objective = loss(
            reader(given), lengths, said, run.bigram, settings.training.output_l2
        )
        reader.zero_grad()
        penalised.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(reader.parameters(), GRADIENT_NORM)
        optimiser.step()
        progress.set_postfix(objective=f"{float(objective):.4f}", refresh=False)
    valid = prepared.valid()
    logger.info("reader: validation %.4f", _validated(reader, valid.words, valid.states(), run))


def _validated(
    reader: Reader, words: Sequence[Sentence], states: Sequence[States], run: Run
) -> float:
    """The objective per output on utterances that it never read."""
    reader.eval()
    rng = np.random.default_rng(0)
    total, n_outputs = 0.0, 0
    for one, sentence in zip(states, words, strict=True):
        given, lengths = _padded([one])
        said = transcripts([sentence], run.lexicon, run.bigram, rng)
        with torch.no_grad():
            _, objective = loss(reader(given), lengths, said, run.bigram, 0.0)
        total += float(objective) * len(one)
        n_outputs += len(one)
    return total / n_outputs


def _padded(states: Sequence[States]) -> tuple[Tensor, Tensor]:
    """One batch, continued by copies of the last state, and the length of each row."""
    longest = max(map(len, states))
    rows = [np.pad(one, ((0, longest - len(one)), (0, 0)), mode="edge") for one in states]
    return torch.from_numpy(np.stack(rows).astype(np.float32)), torch.tensor([*map(len, states)])
