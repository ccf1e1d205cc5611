"""Lattice-free maximum mutual information, from a flat start and without alignments.

Each phone is one HMM state that is entered by a forward frame and may loop; both have a score of
their own and probability one half. The numerator sums over all ways to say the transcript, the
denominator over all phone sequences, weighted by a phone bigram (Povey et al., Interspeech 2016; Hadian
et al., *End-to-end speech recognition using lattice-free MMI*, Interspeech 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.recogniser.lexicon import PHONE_INDEX, PHONES, SILENCE, Pronunciation
from training.recogniser.sentences import Sentence

N_PHONES: Final = len(PHONES)
LOG_HALF: Final = log(0.5)
"""To stay in a state, or to leave it."""
_NEVER: Final = -1e4
_TINY: Final = 1e-300
_SILENT: Final = PHONE_INDEX[SILENCE]

States = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PhoneBigram:
    """Probability of each phone after each, silence included."""

    first: NDArray[np.float32]
    """``(phones,)``."""
    following: NDArray[np.float32]
    """``(phones, phones)``; rows with ``last`` sum to 1."""
    last: NDArray[np.float32]
    """Probability that the utterance ends after a phone, ``(phones,)``."""


def phone_bigram(
    sentences: Iterable[Sentence],
    lexicon: Mapping[str, Sequence[Pronunciation]],
    rng: np.random.Generator,
    pause: float = 0.12,
) -> PhoneBigram:
    """Estimate a phone bigram with pauses now and then.

    Args:
        sentences: Transcripts.
        lexicon: Pronunciations of all their words.
        rng: Draws pauses and pronunciations.
        pause: Share of the words that a pause follows.
    """
    edge = N_PHONES
    counts = np.full((N_PHONES + 1, N_PHONES + 1), 0.02)
    for words in sentences:
        phones = [_SILENT] if rng.random() < 0.9 else []
        for word in words:
            said = lexicon[word]
            phones += said[int(rng.integers(len(said)))]
            if rng.random() < pause:
                phones.append(_SILENT)
        if phones[-1] != _SILENT and rng.random() < 0.9:
            phones.append(_SILENT)
        np.add.at(counts, ([edge, *phones], [*phones, edge]), 1)
    counts[_SILENT, _SILENT] = counts[edge, edge] = 1e-9
    shares = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    return PhoneBigram(shares[edge, :edge], shares[:edge, :edge], shares[:edge, edge])


@dataclass(frozen=True, slots=True)
class Transcripts:
    """Phone sequences of a batch, with a silence that may be skipped around each word."""

    phones: Tensor
    """int64 ``(batch, states)``, padded by 0."""
    enter: Tensor
    """Log weight of coming from the state before, ``(batch, states)``."""
    skip: Tensor
    """Log weight of coming from the state before that, over a silence."""
    first: Tensor
    """Log weight of starting in a state."""
    last: Tensor
    """Log weight of ending in a state."""


def transcripts(
    batch: Sequence[Sentence],
    lexicon: Mapping[str, Sequence[Pronunciation]],
    bigram: PhoneBigram,
    rng: np.random.Generator,
) -> Transcripts:
    """Supervision of a batch; of several pronunciations one is drawn, the first one mostly."""
    sequences = []
    for words in batch:
        phones = [_SILENT]
        for word in words:
            said = lexicon[word]
            usual = len(said) == 1 or rng.random() < 0.6
            phones += [*(said[0] if usual else said[int(rng.integers(len(said)))]), _SILENT]
        sequences.append(np.array(phones, np.int64))
    shape = (len(batch), max(map(len, sequences)))
    states = np.zeros(shape, np.int64)
    enter, skip, first, last = (np.full(shape, _NEVER, np.float32) for _ in range(4))
    log_first, log_next, log_last = (
        np.log(bigram.first),
        np.log(bigram.following),
        np.log(bigram.last),
    )
    for row, said_phones in enumerate(sequences):
        n = len(said_phones)
        states[row, :n] = said_phones
        enter[row, 1:n] = log_next[said_phones[:-1], said_phones[1:]]
        over = np.flatnonzero(said_phones[1:-1] == _SILENT) + 2
        skip[row, over] = log_next[said_phones[over - 2], said_phones[over]]
        first[row, :2] = log_first[said_phones[:2]]
        last[row, n - 2 : n] = log_last[said_phones[-2:]]
    return Transcripts(*map(torch.from_numpy, (states, enter, skip, first, last)))


def numerator(scores: Tensor, lengths: Tensor, said: Transcripts) -> Tensor:
    """Log-likelihood of each transcript, float32 ``(batch,)``.

    Args:
        scores: ``(batch, time, 2 * phones)``.
        lengths: Valid outputs of each row, int64 ``(batch,)``.
        said: The transcripts. One that needs more frames than there are, or that the scores make
            hopelessly unlikely, has no gradient.
    """
    enter, skip, first, last = (
        np.exp(weights.numpy().astype(np.float64))
        for weights in (said.enter, said.skip, said.first, said.last)
    )

    def entering(state: States) -> States:
        moved = np.zeros_like(state)
        moved[:, 1:] = state[:, :-1] * enter[:, 1:]
        moved[:, 2:] += state[:, :-2] * skip[:, 2:]
        return moved

    def leaving(ahead: States) -> States:
        before = np.zeros_like(ahead)
        before[:, :-1] = ahead[:, 1:] * enter[:, 1:]
        before[:, :-2] += ahead[:, 2:] * skip[:, 2:]
        return before

    return _log_sum(scores, lengths, said.phones, _Moves(first, last, entering, leaving))


def denominator(scores: Tensor, lengths: Tensor, bigram: PhoneBigram) -> Tensor:
    """Log-likelihood summed over all phone sequences, float32 ``(batch,)``; arguments as above."""
    following = bigram.following.astype(np.float64)
    moves = _Moves(
        bigram.first.astype(np.float64),
        bigram.last.astype(np.float64),
        lambda state: state @ following,
        lambda ahead: ahead @ following.T,
    )
    return _log_sum(scores, lengths, torch.arange(N_PHONES).expand(len(scores), -1), moves)


@dataclass(frozen=True, slots=True)
class _Moves:
    """Where paths begin and end, and how they go from state to state."""

    first: States
    """Probability of starting in a state, ``(batch, states)`` or ``(states,)``."""
    last: States
    """Probability of ending in a state, likewise."""
    entering: Callable[[States], States]
    """What enters each state, ``(batch, states)``, from where the paths are."""
    leaving: Callable[[States], States]
    """The same against time: what each state leads to."""


def _log_sum(scores: Tensor, lengths: Tensor, phones: Tensor, moves: _Moves) -> Tensor:
    """Logarithm of the sum over all paths, ``(batch,)``; its gradient are the states' occupancies.

    Forward-backward in float64, scaled at each step (Rabiner, 1989, section V.A): about twice as fast as
    autograd through the forward recursion.

    Args:
        scores: ``(batch, time, 2 * phones)``.
        lengths: Valid outputs of each row, ``(batch,)``.
        phones: Phone of each state, ``(batch, states)``.
        moves: The paths.
    """
    given = scores.detach().double()
    peak = given.amax(dim=2, keepdim=True)
    index = phones[:, None].expand(-1, given.shape[1], -1)
    index = torch.cat([index, index + N_PHONES], dim=2)
    likely = torch.gather(torch.exp(given - peak), 2, index).transpose(0, 1).numpy()
    forward, loop = np.split(likely, 2, axis=2)  # (time, batch, states)
    ended = np.arange(given.shape[1])[:, None] >= lengths.numpy()
    forward[ended], loop[ended] = 0.0, 2.0  # a path that is over stays as it is
    log_sum, entered, stayed = _forward_backward(forward, loop, moves)
    entered[ended] = stayed[ended] = 0.0
    log_sum += np.where(ended.T, 0.0, peak[:, :, 0].numpy()).sum(axis=1)
    by_state = torch.from_numpy(np.concatenate([entered, stayed], axis=2)).transpose(0, 1)
    occupied = torch.zeros_like(given).scatter_add_(2, index, by_state)
    found: Tensor = _Known.apply(scores, torch.from_numpy(log_sum).float(), occupied.float())  # type: ignore[no-untyped-call]
    return found + LOG_HALF


def _forward_backward(
    forward: States, loop: States, moves: _Moves
) -> tuple[States, States, States]:
    """Logarithm of the sum ``(batch,)``; share of paths that enter and that stay in each state at each time."""
    alpha, moved, beta = np.empty_like(forward), np.empty_like(forward), np.empty_like(forward)
    scale = np.empty(forward.shape[:2])
    for t in range(len(forward)):
        moved[t] = moves.entering(alpha[t - 1]) if t else 2 * moves.first
        state = 0.5 * forward[t] * moved[t]
        if t:
            state += 0.5 * loop[t] * alpha[t - 1]
        scale[t] = np.maximum(state.sum(axis=1), _TINY)
        alpha[t] = state / scale[t, :, None]
    final = (alpha[-1] * moves.last).sum(axis=1)
    possible = final > _TINY
    beta[-1] = moves.last * np.divide(1.0, final, where=possible, out=np.zeros_like(final))[:, None]
    for t in range(len(forward) - 1, 0, -1):
        beta[t] /= scale[t, :, None]
        beta[t - 1] = 0.5 * (loop[t] * beta[t] + moves.leaving(forward[t] * beta[t]))
    beta[0] /= scale[0, :, None]
    entered = 0.5 * forward * moved * beta
    stayed = np.zeros_like(entered)
    stayed[1:] = 0.5 * loop[1:] * alpha[:-1] * beta[1:]
    log_sum = np.log(scale).sum(axis=0) + np.log(np.maximum(final, _TINY))
    return log_sum, entered, stayed


class _Known(torch.autograd.Function):
    """A value with the gradient that was found with it."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream[0][:, None, None] * gradient, None, None


def loss(
    scores: Tensor, lengths: Tensor, said: Transcripts, bigram: PhoneBigram, output_l2: float
) -> tuple[Tensor, Tensor]:
    """What to minimise, and the part of it that is the objective, both for each output frame.

    Rows whose transcript does not fit into their frames say nothing.
    """
    fits = numerator_fits(lengths, said)
    gap = denominator(scores, lengths, bigram) - numerator(scores, lengths, said)
    frames = lengths.sum()
    objective = torch.where(fits, gap, 0.0).sum() / frames
    valid = torch.arange(scores.shape[1])[None] < lengths[:, None]
    penalty = 0.5 * output_l2 * (scores.square().sum(dim=2) * valid).sum() / frames
    return objective + penalty, objective.detach()


def numerator_fits(lengths: Tensor, said: Transcripts) -> Tensor:
    """Whether each row has a frame for each phone that cannot be skipped, bool ``(batch,)``."""
    needed = (said.phones != _SILENT).sum(dim=1)
    return needed <= lengths
