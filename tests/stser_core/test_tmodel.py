from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stser_core.fusion import StserModel
from stser_core.sizes import TextModelSettings
from stser_core.tmodel import TextModel


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4), extra=st.integers(0, 5))
@torch.inference_mode()
def test_a_sentence_depends_neither_on_padding_nor_on_neighbours(
    model: StserModel, lengths: list[int], extra: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(4, 17, (length,), generator=generator) for length in lengths]
    # An identifier outside the vocabulary would crash, were it looked up.
    ids = torch.full((len(rows), max(lengths) + extra), 10**6)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    together = model.tmodel(ids, mask)
    for index, row in enumerate(rows):
        alone = model.tmodel(row[None], torch.ones(1, len(row), dtype=torch.int64))
        torch.testing.assert_close(together.representation[index], alone.representation[0])
        torch.testing.assert_close(together.weights[index, : len(row)], alone.weights[0])
        assert not together.weights[index, len(row) :].any()


@torch.inference_mode()
def test_a_new_model_pools_by_the_mean() -> None:
    settings = TextModelSettings(
        vocabulary=20, embedding=8, hidden=16, layers=1, heads=2, intermediate=16
    )
    model = TextModel(settings).eval()
    output = model(torch.tensor([[2, 5, 6, 3]]), torch.ones(1, 4, dtype=torch.int64))
    torch.testing.assert_close(output.weights, torch.full((1, 4), 0.25))


@torch.inference_mode()
def test_a_new_model_gives_the_mean_of_its_alberts_states(model: StserModel) -> None:
    twin = TextModel(model.tmodel.settings).eval()
    ids = torch.tensor([[2, 5, 9, 3]])
    expected = twin.albert(input_ids=ids).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(twin(ids, torch.ones_like(ids)).representation, expected)
