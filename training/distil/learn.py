"""The student learns, on every kind of sentence, to give the teacher's states and opinions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import AlbertModel

from training.distil.sentences import Batch
from training.distil.teacher import Teacher, mean_state
from training.loop import schedule
from training.settings import StudentSettings


def student_states(albert: AlbertModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Last hidden states, ``(batch, tokens, hidden)``."""
    return albert(input_ids=ids, attention_mask=mask).last_hidden_state  # type: ignore[no-any-return]


def distance(student: Tensor, goal: Tensor, mask: Tensor, teacher: Teacher, share: float) -> Tensor:
    """How far a student is from its teacher.

    Args:
        student: States, float32 ``(batch, tokens, hidden)``.
        goal: The teacher's states of the same tokens.
        mask: 1 for a token, ``(batch, tokens)``.
        teacher: Its heads give the opinions of both.
        share: Weight of the opinions.

    Returns:
        Mean squared distance of the states, over their variance, plus ``share`` times the
        Kullback-Leibler divergence of the opinions.
    """
    valid = mask > 0
    apart = F.mse_loss(student[valid], goal[valid]) / goal[valid].var()
    believed, _ = teacher.heads(mean_state(goal, mask))
    thought, _ = teacher.heads(mean_state(student, mask))
    divergence = F.kl_div(
        thought.log_softmax(dim=-1),
        believed.log_softmax(dim=-1),
        log_target=True,
        reduction="batchmean",
    )
    return apart + share * divergence


def learn(
    albert: AlbertModel,
    teacher: Teacher,
    kept: Sequence[int],
    batches: Iterator[Batch],
    validate: Callable[[], float],
    settings: StudentSettings,
) -> float:
    """Train the student; the teacher stays as it is.

    Args:
        albert: The student, changed in place.
        teacher: Tuned.
        kept: The teacher's number of each of the student's word pieces.
        batches: Tokenised for the student.
        validate: Accuracy of the student under the teacher's heads.
        settings: How long and how fast.

    Returns:
        The last validation accuracy.
    """
    teacher.train(mode=False)
    teacher.requires_grad_(requires_grad=False)
    places = torch.tensor(kept)
    optimiser = torch.optim.AdamW(
        albert.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    accuracy = 0.0
    progress = tqdm(range(1, settings.steps + 1), desc="student", mininterval=10)
    for step in progress:
        albert.train()
        optimiser.param_groups[0]["lr"] = settings.learning_rate * schedule(
            step, settings.warm_up, settings.steps
        )
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.half_precision):
            with torch.no_grad():
                goal = teacher.states(places[batch.ids], batch.mask).float()
            states = student_states(albert, batch.ids, batch.mask).float()
        loss = distance(states, goal, batch.mask, teacher, settings.opinion_share)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(albert.parameters(), 1.0)
        optimiser.step()
        if step % settings.validate_every == 0 or step == settings.steps:
            albert.train(mode=False)
            accuracy = validate()
            progress.set_postfix(loss=f"{loss.item():.2f}", validation=f"{accuracy:.3f}")
    albert.train(mode=False)
    return accuracy
