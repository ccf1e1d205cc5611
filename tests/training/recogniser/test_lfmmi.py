"""The objective against sums over all paths, written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from training.recogniser.lexicon import PHONE_INDEX
from training.recogniser.lfmmi import (
    N_PHONES,
    PhoneBigram,
    denominator,
    loss,
    numerator,
    numerator_fits,
    phone_bigram,
    transcripts,
)

LEXICON = {"a": ((PHONE_INDEX["AH"],),), "me": ((PHONE_INDEX["M"], PHONE_INDEX["IY"]),)}


@pytest.fixture
def bigram() -> PhoneBigram:
    return phone_bigram([("a",), ("me", "a"), ("a", "me")], LEXICON, np.random.default_rng(0), 0.3)


def path_weight(
    scores: np.ndarray, path: tuple[tuple[int, bool], ...], bigram: PhoneBigram
) -> float:
    """One path of (phone, entered now) through the HMM, as a probability."""
    weight = bigram.first[path[0][0]] * np.exp(scores[0, path[0][0]])
    for t in range(1, len(path)):
        (before, _), (phone, entered) = path[t - 1], path[t]
        move = bigram.following[before, phone] if entered else float(before == phone)
        weight *= 0.5 * move * np.exp(scores[t, phone if entered else N_PHONES + phone])
    return float(weight * 0.5 * bigram.last[path[-1][0]])


def all_paths(phones: list[int], n_frames: int) -> list[tuple[tuple[int, bool], ...]]:
    steps = [(phone, entered) for phone in phones for entered in (True, False)]
    paths = itertools.product(*[[(p, True) for p in phones], *[steps] * (n_frames - 1)])
    return [
        path
        for path in paths
        if all(now[1] or now[0] == before[0] for before, now in itertools.pairwise(path))
    ]


def sequence(path: tuple[tuple[int, bool], ...]) -> list[int]:
    return [phone for phone, entered in path if entered]


def test_the_denominator_sums_over_all_phone_sequences(bigram: PhoneBigram) -> None:
    scores = torch.randn(1, 3, 2 * N_PHONES, generator=torch.manual_seed(0))
    paths = all_paths(list(range(N_PHONES)), 3)
    expected = np.log(sum(path_weight(scores[0].numpy(), path, bigram) for path in paths))
    assert denominator(scores, torch.tensor([3]), bigram).item() == pytest.approx(
        expected, abs=1e-3
    )


def test_the_numerator_sums_over_all_ways_to_say_the_words(bigram: PhoneBigram) -> None:
    scores = torch.randn(1, 5, 2 * N_PHONES, generator=torch.manual_seed(1))
    silent, ah, m, iy = (PHONE_INDEX[name] for name in ("SIL", "AH", "M", "IY"))
    sayings = [
        [
            phone
            for phone, said in zip([silent, m, iy, silent, ah, silent], choice, strict=True)
            if said
        ]
        for choice in itertools.product(*[(0, 1), (1,), (1,), (0, 1), (1,), (0, 1)])
    ]
    total = sum(
        path_weight(scores[0].numpy(), path, bigram)
        for path in all_paths([silent, ah, m, iy], 5)
        if sequence(path) in sayings
    )
    said = transcripts([("me", "a")], LEXICON, bigram, np.random.default_rng(0))
    result = numerator(scores, torch.tensor([5]), said)
    assert result.item() == pytest.approx(np.log(total), abs=1e-3)


def test_an_utterance_does_not_change_with_the_others_in_its_batch(bigram: PhoneBigram) -> None:
    scores = torch.randn(2, 9, 2 * N_PHONES, generator=torch.manual_seed(2))
    rng = np.random.default_rng(0)
    both = transcripts([("me", "a"), ("a",)], LEXICON, bigram, rng)
    alone = transcripts([("a",)], LEXICON, bigram, rng)
    lengths = torch.tensor([9, 4])
    assert torch.allclose(
        numerator(scores, lengths, both)[1:],
        numerator(scores[1:, :4], torch.tensor([4]), alone),
        atol=1e-4,
    )
    assert torch.allclose(
        denominator(scores, lengths, bigram)[1:],
        denominator(scores[1:, :4], torch.tensor([4]), bigram),
        atol=1e-4,
    )


def test_a_transcript_that_does_not_fit_its_frames_says_nothing(bigram: PhoneBigram) -> None:
    scores = torch.randn(2, 2, 2 * N_PHONES, generator=torch.manual_seed(3), requires_grad=True)
    said = transcripts([("me", "me"), ("a",)], LEXICON, bigram, np.random.default_rng(0))
    assert numerator_fits(torch.tensor([2, 2]), said).tolist() == [False, True]
    value, _ = loss(scores, torch.tensor([2, 2]), said, bigram, 0.0)
    value.backward()
    assert scores.grad is not None
    assert scores.grad[0].abs().max() == 0
    assert scores.grad[1].abs().max() > 0


def test_the_objective_falls_as_the_right_phones_score_higher(bigram: PhoneBigram) -> None:
    said = transcripts([("a",)], LEXICON, bigram, np.random.default_rng(0))
    scores = torch.zeros(1, 6, 2 * N_PHONES)
    raised = scores.clone()
    ah = PHONE_INDEX["AH"]
    raised[..., [ah, N_PHONES + ah]] = 3.0
    lengths = torch.tensor([6])
    assert loss(raised, lengths, said, bigram, 0.0)[1] < loss(scores, lengths, said, bigram, 0.0)[1]


def test_the_gradient_is_what_the_objective_changes_by(bigram: PhoneBigram) -> None:
    said = transcripts([("me", "a"), ("a",)], LEXICON, bigram, np.random.default_rng(0))
    scores = torch.randn(2, 6, 2 * N_PHONES, generator=torch.manual_seed(4), requires_grad=True)
    lengths = torch.tensor([6, 4])
    loss(scores, lengths, said, bigram, 0.0)[0].backward()
    assert scores.grad is not None
    for row, time, output in [(0, 0, 0), (0, 3, PHONE_INDEX["M"]), (1, 3, N_PHONES), (1, 5, 0)]:
        moved = scores.detach().repeat(2, 1, 1, 1)
        moved[0, row, time, output] += 0.05
        moved[1, row, time, output] -= 0.05
        above, below = (loss(one, lengths, said, bigram, 0.0)[1].item() for one in moved)
        assert scores.grad[row, time, output].item() == pytest.approx(
            (above - below) / 0.1, abs=1e-4
        )


def test_a_transcript_that_the_scores_exclude_says_nothing(bigram: PhoneBigram) -> None:
    said = transcripts([("me",)], LEXICON, bigram, np.random.default_rng(0))
    scores = torch.zeros(1, 40, 2 * N_PHONES)
    scores[:, :, PHONE_INDEX["M"]] = scores[:, :, PHONE_INDEX["IY"]] = -1000.0
    scores.requires_grad_()
    likely = numerator(scores, torch.tensor([40]), said)
    likely.sum().backward()
    assert scores.grad is not None
    assert torch.isfinite(likely).all()
    assert torch.isfinite(scores.grad).all()
