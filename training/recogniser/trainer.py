"""The training loop: epochs that go on where they were stopped, and the state that is kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from training.errors import TrainingError
from training.loop import optimisers, schedule, set_rates
from training.recogniser.acoustic_model import AcousticModel, pad
from training.recogniser.batches import Batch, Batches, Degradation, groups
from training.recogniser.features import FRAMES_PER_S, Features
from training.recogniser.lexicon import Pronunciation
from training.recogniser.lfmmi import PhoneBigram, loss, transcripts
from training.recogniser.prepare import Prepared
from training.recogniser.settings import NetworkSettings, RecogniserSettings
from training.whole_file import written_whole

logger = logging.getLogger(__name__)

Lexicon = Mapping[str, Sequence[Pronunciation]]
STATE: Final = "state.pt"
GRADIENT_NORM: Final = 5.0


@dataclass(frozen=True, slots=True)
class Run:
    """A folder of checkpoints, and what training needs besides the features."""

    folder: Path
    lexicon: Lexicon
    bigram: PhoneBigram


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Where the averaged weights after an epoch lie; the first epoch is 1."""
    return folder / f"epoch-{epoch:02d}.safetensors"


def load_network(path: Path, settings: NetworkSettings) -> AcousticModel:
    """A trained network, ready to be used.

    Raises:
        TrainingError: The file is missing, or holds a network of another size.
    """
    network = AcousticModel(settings)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise TrainingError(f"{path}: not a network of these settings ({error}).") from error
    return network.eval()


def train(
    prepared: Prepared,
    run: Run,
    settings: RecogniserSettings,
    opinions: Sequence[NDArray[np.float16]] | None = None,
) -> list[float]:
    """Train all epochs; what an earlier call has done is not done again.

    Args:
        prepared: Features.
        run: Where checkpoints lie.
        settings: The recipe.
        opinions: Scores of each training utterance to learn from, ``(outputs, 2 * phones)``.

    Returns:
        The objective on the validation set after each epoch: the lower, the better.
    """
    torch.manual_seed(settings.seed)
    loop = _Loop(prepared, run, settings, opinions)
    loop.resume()
    for epoch in range(loop.epochs_done, settings.training.epochs):
        loop.epoch(epoch)
    return loop.validated


class _Loop:
    """Network, average and optimisers."""

    def __init__(
        self,
        prepared: Prepared,
        run: Run,
        settings: RecogniserSettings,
        opinions: Sequence[NDArray[np.float16]] | None,
    ) -> None:
        self._prepared = prepared
        self._opinions = opinions
        self._run = run
        self._settings = settings
        self._noise = prepared.part("noise")
        self._valid = prepared.valid()
        self.validated: list[float] = []
        self.epochs_done = 0
        training = settings.training
        self._network = AcousticModel(settings.network)
        mean, deviation = _moments(prepared.training(0))
        self._network.mean.copy_(torch.from_numpy(mean))
        self._network.deviation.copy_(torch.from_numpy(deviation))
        self._normal = mean, deviation
        average = get_ema_multi_avg_fn(training.average)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(self._network, multi_avg_fn=average, use_buffers=True)
        last = set(self._network.scores.parameters())
        inner = [one for one in self._network.parameters() if one not in last]
        rate, decay = training.learning_rate, training.weight_decay
        self._optimisers = [
            *optimisers([(inner, rate)], decay, muon=True),
            *optimisers([(list(last), rate)], decay),
        ]
        self._steps = sum(len(self._batches(epoch)) for epoch in range(training.epochs))
        self._step_number = 0

    def resume(self) -> None:
        """Go on from the state in the run's folder, if there is one."""
        path = self._run.folder / STATE
        if not path.is_file():
            return
        state: dict[str, Any] = torch.load(path, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.validated = state["validated"]
        self.epochs_done = len(self.validated)
        self._step_number = state["step"]
        torch.set_rng_state(state["draws"])

    def epoch(self, number: int) -> None:
        """One pass over the training set; writes the averaged weights and the state."""
        self._network.train()
        rng = np.random.default_rng((self._settings.seed, 10, number))
        objectives = []
        weights = self._settings.teacher.weights
        weight = weights[min(number, len(weights) - 1)]
        batches = self._batches(number)
        loader = DataLoader(batches, batch_size=None, num_workers=1)
        progress = tqdm(loader, f"epoch {number + 1}", len(batches), smoothing=0.05)
        for batch in progress:
            objectives.append(self._step(batch, weight, rng))
            progress.set_postfix(objective=f"{np.mean(objectives[-50:]):.4f}", refresh=False)
        self.validated.append(self.validate())
        logger.info(
            "epoch %d: objective %.4f, validation %.4f",
            number + 1,
            float(np.mean(objectives)),
            self.validated[-1],
        )
        self._save(number + 1)

    def _step(self, batch: Batch, weight: float, rng: np.random.Generator) -> float:
        said = transcripts(batch.words, self._run.lexicon, self._run.bigram, rng)
        with torch.autocast("cpu", torch.bfloat16):
            scores = self._network(batch.frames)
        penalised, objective = loss(
            scores, batch.lengths, said, self._run.bigram, self._settings.training.output_l2
        )
        if batch.opinion is not None:
            penalised = penalised + weight * batch.opinion.distance(scores)
        self._network.zero_grad()
        penalised.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), GRADIENT_NORM)
        self._step_number += 1
        warm_up = round(self._settings.training.warm_up * self._steps)
        set_rates(self._optimisers, schedule(self._step_number, warm_up, self._steps))
        for optimiser in self._optimisers:
            optimiser.step()
        self._average.update_parameters(self._network)
        return float(objective)

    def validate(self) -> float:
        """The objective per frame on undisturbed validation speech, by the averaged weights."""
        network = self._average.module.eval()
        rng = np.random.default_rng(0)
        lengths = [self._valid.n_frames(index) for index in range(len(self._valid))]
        frames = round(self._settings.training.batch_s * FRAMES_PER_S)
        total, n_outputs = 0.0, 0
        for group in groups(lengths, frames, rng):
            spoken = [self._valid[int(index)] for index in group]
            padded, valid = pad([one.frames for one in spoken], self._network.context)
            said = transcripts(
                [one.words for one in spoken], self._run.lexicon, self._run.bigram, rng
            )
            with torch.no_grad():
                _, objective = loss(network(padded), valid, said, self._run.bigram, 0.0)
            total += float(objective) * int(valid.sum())
            n_outputs += int(valid.sum())
        return total / n_outputs

    def _batches(self, epoch: int) -> Batches:
        rng = np.random.default_rng((self._settings.seed, 11, epoch))
        training = self._settings.training
        return Batches(
            self._prepared.training(epoch % (self._prepared.styles + 1)),
            Degradation(self._noise, training.noise_share, rng),
            self._normal,
            self._network.context,
            training,
            rng,
            self._opinions,
        )

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self._network,
            "average": self._average,
            **{f"optimiser {n}": one for n, one in enumerate(self._optimisers)},
        }

    def _save(self, epoch: int) -> None:
        folder = self._run.folder
        weights = self._average.module.state_dict()
        with written_whole(checkpoint_path(folder, epoch)) as draft:
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, draft)
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"validated": self.validated, "step": self._step_number}
        with written_whole(folder / STATE) as draft:
            torch.save(state | {"draws": torch.get_rng_state()}, draft)


def _moments(features: Features) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of log-mel over a sample of the utterances, each ``(mels,)``."""
    every = max(1, len(features) // 500)
    frames = np.concatenate([features[index].frames for index in range(0, len(features), every)])
    return frames.mean(axis=0), frames.std(axis=0)
