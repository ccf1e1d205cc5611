"""The teacher: a sentence encoder (MiniLM), tuned on the emotions of all text corpora at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import BertModel

from stser_core.labels import EMOTIONS
from stser_core.text import TextTokenizer
from training.distil.sentences import NO_CLASS, Batch
from training.errors import TrainingError
from training.loop import schedule
from training.settings import TeacherSettings
from training.text_data import tensors
from training.whole_file import written_whole

logger = logging.getLogger(__name__)

MAX_TOKENS = 128
_WEIGHTS, _DRAWS = "teacher.safetensors", "random numbers"


class Teacher(nn.Module):
    """An encoder whose mean state is the sentence, and two linear heads over a dense layer."""

    def __init__(self, encoder: BertModel, names: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.config.hidden_size
        self.dense = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width, width), nn.Tanh(), nn.Dropout(dropout)
        )
        self.classes = nn.Linear(width, len(EMOTIONS))
        self.names = nn.Linear(width, names)
        """The corpora's own names of emotions: they say more than four classes do."""

    @classmethod
    def of_folder(cls, folder: Path, names: int) -> Self:
        """With the pre-trained encoder of a folder as transformers saves it, heads untrained.

        Raises:
            TrainingError: There is no BERT in it.
        """
        try:
            kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
            if kind != "bert":
                raise TrainingError(
                    f"{folder}: a {kind}. The teacher must be a BERT, such as MiniLM."
                )
            encoder = BertModel.from_pretrained(  # nosec B615
                folder, add_pooling_layer=False, local_files_only=True
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise TrainingError(f"{folder}: no teacher can be read: {error}") from error
        return cls(encoder, names)

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states, ``(batch, tokens, hidden)``."""
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state  # type: ignore[no-any-return]

    def heads(self, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of classes and of names, of sentence vectors ``(batch, hidden)``."""
        dense = self.dense(sentence)
        return self.classes(dense), self.names(dense)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of classes and of names, float32."""
        classes, names = self.heads(mean_state(self.states(ids, mask), mask))
        return classes.float(), names.float()

    def freeze(self, layers: int) -> None:
        """Keep embeddings and the first layers as pre-trained: they are general, and it is faster."""
        lower = [self.encoder.embeddings, *self.encoder.encoder.layer[:layers]]
        for parameter in nn.ModuleList(lower).parameters():
            parameter.requires_grad = False

    def save(self, folder: Path) -> None:
        """Write all weights, and the state of PyTorch's random numbers: a run that goes on ends the same."""
        with written_whole(folder / _WEIGHTS) as draft:
            save_file({**self.state_dict(), _DRAWS: torch.get_rng_state()}, draft)

    def load(self, folder: Path) -> bool:
        """Read what :meth:`save` wrote; False where there is nothing.

        Raises:
            TrainingError: The file is damaged, or of another teacher.
        """
        path = folder / _WEIGHTS
        if not path.is_file():
            return False
        try:
            tensors = load_file(path)
            draws = tensors.pop(_DRAWS)
            self.load_state_dict(tensors)
        except (SafetensorError, RuntimeError, KeyError) as error:
            raise TrainingError(
                f"{path}: not this teacher's weights ({error}). Remove it, and run again."
            ) from error
        torch.set_rng_state(draws)
        return True


def mean_state(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over a sentence's tokens, ``(batch, hidden)``."""
    valid = mask[:, :, None].to(states.dtype)
    return (states * valid).sum(dim=1) / valid.sum(dim=1)


def teacher_loss(classes: Tensor, names: Tensor, batch: Batch, settings: TeacherSettings) -> Tensor:
    """Cross-entropy of the classes where there is one, and of the names everywhere."""
    named = F.cross_entropy(names, batch.emotions)
    known = batch.labels != NO_CLASS
    if not known.any():
        return settings.names_share * named
    classed = F.cross_entropy(
        classes[known], batch.labels[known], label_smoothing=settings.label_smoothing
    )
    return classed + settings.names_share * named


def tune(
    teacher: Teacher,
    batches: Iterator[Batch],
    validate: Callable[[], float],
    settings: TeacherSettings,
) -> float:
    """Tune the teacher; leaves it in its best state.

    Returns:
        The best validation accuracy.
    """
    teacher.freeze(settings.frozen_layers)
    encoder = [p for p in teacher.encoder.parameters() if p.requires_grad]
    heads = [
        *teacher.dense.parameters(),
        *teacher.classes.parameters(),
        *teacher.names.parameters(),
    ]
    rates = (settings.learning_rate, settings.head_rate)
    optimiser = torch.optim.AdamW(
        [{"params": p, "lr": r} for p, r in zip((encoder, heads), rates, strict=True)],
        weight_decay=settings.weight_decay,
    )
    best, best_state = -1.0, teacher.state_dict()
    progress = tqdm(range(1, settings.steps + 1), desc="teacher", mininterval=10)
    for step in progress:
        teacher.train()
        share = schedule(step, settings.warm_up, settings.steps)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * share
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.half_precision):
            classes, names = teacher(batch.ids, batch.mask)
        loss = teacher_loss(classes, names, batch, settings)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*encoder, *heads], 1.0)
        optimiser.step()
        if step % settings.validate_every == 0 or step == settings.steps:
            accuracy = validate()
            progress.set_postfix(loss=f"{loss.item():.2f}", validation=f"{accuracy:.3f}")
            if accuracy > best:
                best, best_state = accuracy, {k: v.clone() for k, v in teacher.state_dict().items()}
    teacher.load_state_dict(best_state)
    teacher.train(mode=False)
    return best


@torch.inference_mode()
def opinions(
    teacher: Teacher, sentences: Sequence[Sequence[str]], tokenizer: TextTokenizer, *, half: bool
) -> NDArray[np.float32]:
    """The teacher's logits of the four classes, ``(sentences, classes)``."""
    teacher.train(mode=False)
    logits = np.zeros((len(sentences), len(EMOTIONS)), np.float32)
    texts = [tokenizer.encode(words) for words in sentences]
    order = sorted(range(len(texts)), key=lambda at: len(texts[at].ids))
    for first in tqdm(range(0, len(order), 128), desc="opinions", mininterval=10):
        at = order[first : first + 128]
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            classes, _ = teacher(*tensors([texts[i] for i in at]))
        logits[at] = classes.numpy()
    return logits
