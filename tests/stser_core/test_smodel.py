from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stser_core.errors import ShapeError
from stser_core.fusion import StserModel
from stser_core.sizes import SpeechModelSettings
from stser_core.smodel import SpeechModel


def drawn(length: int) -> torch.Tensor:
    return torch.randn(length, 64, generator=torch.Generator().manual_seed(length))


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(4, 60), min_size=1, max_size=4),
    extra=st.integers(0, 9),
    poison=st.sampled_from([0.0, 1e6, float("inf"), float("nan")]),
)
@torch.inference_mode()
def test_a_row_depends_neither_on_padding_nor_on_neighbours(
    model: StserModel, lengths: list[int], extra: int, poison: float
) -> None:
    rows = [drawn(length) for length in lengths]
    batch = torch.full((len(rows), max(lengths) + extra, 64), poison)
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    together = model.smodel(batch, torch.tensor(lengths))
    for index, row in enumerate(rows):
        alone = model.smodel(row[None], torch.tensor([len(row)]))
        torch.testing.assert_close(together.representation[index], alone.representation[0])
        pooled = len(row) // 4
        torch.testing.assert_close(together.attention[index, :pooled], alone.attention[0])
        assert not together.attention[index, pooled:].any()


@torch.inference_mode()
def test_attention_shares_sum_to_one_and_there_is_one_for_each_40_ms(model: StserModel) -> None:
    output = model.smodel(drawn(103)[None], torch.tensor([103]))
    assert output.attention.shape == (1, 25)
    assert output.representation.shape == (1, 32)
    torch.testing.assert_close(output.attention.sum(), torch.tensor(1.0))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("n_mels", [40, 43, 64])
@torch.inference_mode()
def test_every_stride_and_number_of_mels_fits(stride: int, n_mels: int) -> None:
    settings = SpeechModelSettings(
        n_mels=n_mels, stride_time=stride, stride_mels=stride, channels=3, hidden=4
    )
    for length in range(4, 13):
        model = SpeechModel(settings).eval()
        output = model(torch.randn(1, length, n_mels), torch.tensor([length]))
        assert output.attention.shape == (1, length // 4)


@torch.inference_mode()
def test_the_order_of_the_frames_matters(model: StserModel) -> None:
    frames = drawn(80)[None]
    ahead = model.smodel(frames, torch.tensor([80])).representation
    behind = model.smodel(frames.flip(1), torch.tensor([80])).representation
    assert (ahead - behind).abs().max() > 1e-3


def test_every_weight_learns(model: StserModel) -> None:
    model.smodel.zero_grad()
    output = model.smodel(drawn(50)[None], torch.tensor([50]))
    output.representation.square().sum().backward()
    unmoved = [
        name
        for name, parameter in model.smodel.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    # A constant added to all scores leaves a softmax as it is.
    assert set(unmoved) <= {"score.bias"}
    model.smodel.zero_grad()


def test_another_number_of_mels_is_refused(model: StserModel) -> None:
    with pytest.raises(ShapeError, match="64 mels, got 40"):
        model.smodel(torch.zeros(1, 20, 40), torch.tensor([20]))


def test_a_centred_representation_is_relative_to_the_mean_over_training_batches() -> None:
    torch.manual_seed(0)
    settings = SpeechModelSettings(channels=3, hidden=4, dropout=0.0, centred=True)
    model, batch = SpeechModel(settings), (torch.randn(8, 40, 64), torch.full((8,), 40))
    with torch.no_grad():
        first = model(*batch).representation
        for _ in range(1_000):
            last = model(*batch).representation
    assert first.mean(dim=0).abs().max() > 0.01
    torch.testing.assert_close(last.mean(dim=0), torch.zeros(8), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_evaluation_leaves_the_mean_of_training_as_it_is() -> None:
    torch.manual_seed(0)
    settings = SpeechModelSettings(channels=3, hidden=4, centred=True)
    model = SpeechModel(settings).eval()
    plain = SpeechModel(dataclasses.replace(settings, centred=False)).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    model.mean.normal_()
    before = model.mean.clone()
    batch = (torch.randn(8, 40, 64), torch.full((8,), 40))
    representation = model(*batch).representation
    torch.testing.assert_close(model.mean, before, atol=0, rtol=0)
    torch.testing.assert_close(representation, plain(*batch).representation - before)
