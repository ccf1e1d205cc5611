"""Lattice-free maximum mutual information, from a flat start and without alignments.

Each phone is one HMM state that is entered by a forward frame and may loop; both have a score of
their own and probability one half. The numerator sums over all ways to say the transcript, the
denominator over all phone sequences, weighted by a phone bigram (Povey et al., Interspeech 2016; Hadian
et al., *End-to-end speech recognition using lattice-free MMI*, Interspeech 2018). Gradients are those of
autograd through the forward recursions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

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
_SILENT: Final = PHONE_INDEX[SILENCE]


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
        said: The transcripts; one that needs more frames than there are is very unlikely.
    """
    batch, time, _ = scores.shape
    index = said.phones[:, None, :].expand(batch, time, -1)
    forward = torch.gather(scores, 2, index).unbind(1)
    loop = torch.gather(scores, 2, index + N_PHONES).unbind(1)
    never = torch.full((batch, 2), _NEVER)
    state = said.first + forward[0]
    for t in range(1, time):
        before = torch.cat([never, state], dim=1)
        moved = torch.logaddexp(before[:, 1:-1] + said.enter, before[:, :-2] + said.skip)
        ahead = LOG_HALF + torch.logaddexp(loop[t] + state, forward[t] + moved)
        state = torch.where((t < lengths)[:, None], ahead, state)
    return torch.logsumexp(state + said.last, dim=1) + LOG_HALF


def denominator(scores: Tensor, lengths: Tensor, bigram: PhoneBigram) -> Tensor:
    """Log-likelihood summed over all phone sequences, float32 ``(batch,)``; arguments as above."""
    first, following, last = map(torch.from_numpy, (bigram.first, bigram.following, bigram.last))
    peak = scores.amax(dim=2, keepdim=True).detach()
    likely = torch.exp(scores - peak) + 1e-30
    forward, loop = likely[..., :N_PHONES].unbind(1), likely[..., N_PHONES:].unbind(1)
    state = forward[0] * first
    total = state.sum(dim=1)
    log_sum = total.log() + peak[:, 0, 0]
    state = state / total[:, None]
    for t in range(1, scores.shape[1]):
        ahead = 0.5 * (loop[t] * state + forward[t] * (state @ following))
        total = ahead.sum(dim=1)
        valid = t < lengths
        log_sum = log_sum + torch.where(valid, total.log() + peak[:, t, 0], 0.0)
        state = torch.where(valid[:, None], ahead / total[:, None], state)
    ended: Tensor = log_sum + torch.log((state * last).sum(dim=1)) + LOG_HALF
    return ended


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
