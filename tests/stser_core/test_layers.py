from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stser_core.errors import ShapeError
from stser_core.layers import (
    BidirectionalLstm,
    SelfAttention,
    attention_pool,
    reverse_valid,
    valid_mask,
)

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=4)
POISON = 1e6


def padded(rows: list[Tensor], extra: int) -> tuple[Tensor, Tensor]:
    """Rows of different lengths in one batch, with poison where nothing belongs to them."""
    time = max(len(row) for row in rows) + extra
    batch = torch.full((len(rows), time, *rows[0].shape[1:]), POISON)
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    return batch, torch.tensor([len(row) for row in rows])


def drawn(lengths: list[int], width: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, width, generator=generator) for length in lengths]


@given(lengths=LENGTHS, extra=st.integers(0, 6))
def test_pooling_ignores_padding_and_neighbours(lengths: list[int], extra: int) -> None:
    rows = drawn(lengths, 4)
    batch, counts = padded(rows, extra)
    valid = valid_mask(counts, batch.shape[1])
    pooled, weights = attention_pool(batch[..., :3], batch[..., 3], valid)
    for index, row in enumerate(rows):
        by_hand = torch.exp(row[:, 3]) / torch.exp(row[:, 3]).sum()
        expected = sum(weight * frame for weight, frame in zip(by_hand, row[:, :3], strict=True))
        torch.testing.assert_close(pooled[index], expected)
        torch.testing.assert_close(weights[index, : len(row)], by_hand)
        assert not weights[index, len(row) :].any()


def test_pooling_refuses_scores_of_another_shape() -> None:
    frames = torch.zeros(2, 5, 3)
    with pytest.raises(ShapeError, match=r"\(2, 5\)"):
        attention_pool(frames, torch.zeros(2, 4), torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"\(2, 5\)"):
        attention_pool(frames, torch.zeros(2, 5), torch.ones(1, 5, dtype=torch.bool))


@given(lengths=LENGTHS)
def test_reversal_turns_each_row_round_and_twice_is_nothing(lengths: list[int]) -> None:
    rows = drawn(lengths, 2)
    batch, counts = padded(rows, 2)
    reversed_batch = reverse_valid(batch, counts)
    for index, row in enumerate(rows):
        torch.testing.assert_close(reversed_batch[index, : len(row)], row.flip(0))
    assert torch.equal(reverse_valid(reversed_batch, counts), batch)


@torch.inference_mode()
def test_the_lstm_is_the_bidirectional_one_of_pytorch_on_packed_rows() -> None:
    torch.manual_seed(0)
    ours = BidirectionalLstm(3, 5)
    theirs = torch.nn.LSTM(3, 5, batch_first=True, bidirectional=True)
    for name, value in ours.forwards.state_dict().items():
        theirs.get_parameter(name).copy_(value)
    for name, value in ours.backwards.state_dict().items():
        theirs.get_parameter(f"{name}_reverse").copy_(value)
    rows = drawn([7, 2, 11], 3)
    batch, counts = padded(rows, 3)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        batch, counts, batch_first=True, enforce_sorted=False
    )
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    actual = ours(batch, counts)
    for index, row in enumerate(rows):
        torch.testing.assert_close(actual[index, : len(row)], expected[index, : len(row)])


@torch.inference_mode()
def test_self_attention_is_the_sum_written_out_frame_by_frame() -> None:
    torch.manual_seed(1)
    layer = SelfAttention(8, heads=2)
    rows = drawn([5, 3], 8)
    batch, counts = padded(rows, 2)
    actual = layer(batch, valid_mask(counts, batch.shape[1]))
    for index, row in enumerate(rows):
        q, k, v = layer.qkv(row).split(8, dim=-1)
        mixed = torch.zeros(len(row), 8)
        for head in (slice(0, 4), slice(4, 8)):
            for i in range(len(row)):
                scores = torch.stack([q[i, head] @ k[j, head] for j in range(len(row))])
                shares = torch.softmax(scores / math.sqrt(4), 0)
                mixed[i, head] = sum(shares[j] * v[j, head] for j in range(len(row)))
        torch.testing.assert_close(actual[index, : len(row)], layer.out(mixed))


def test_self_attention_refuses_heads_that_do_not_divide_it() -> None:
    with pytest.raises(ShapeError, match=r"hidden \(8\)"):
        SelfAttention(8, heads=3)
