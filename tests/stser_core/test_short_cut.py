"""Functionals against numpy, row by row; no row sees its padding; what is short is finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stser_core.short_cut import LAGS, ShortCut, functionals
from stser_core.sizes import SpeechModelSettings
from stser_core.smodel import SpeechModel

SIZES = SpeechModelSettings(n_mels=16, pool_mels=8, channels=3, hidden=4, short_cut=True)


def row(n_frames: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n_frames, 16)).astype(np.float32)


def computed(x: NDArray[np.float32]) -> NDArray[np.float32]:
    shown, lengths = torch.from_numpy(x)[None], torch.tensor([len(x)])
    return functionals(shown, lengths, ShortCut(SIZES).ripples)[0].numpy()


def test_functionals_are_what_their_names_say() -> None:
    x = row(50)
    level = x.mean(axis=1)
    louder = np.exp(3 * level) / np.exp(3 * level).sum()
    quieter = np.exp(-3 * level) / np.exp(-3 * level).sum()
    centred = x - x.mean(axis=0)
    expected = [
        x.mean(axis=0),
        x.std(axis=0),
        (centred**3).mean(axis=0) / (x.std(axis=0) + 0.1) ** 3,
        (np.linspace(-1, 1, 50)[:, None] * x).mean(axis=0),
        (centred[:, 1:] * centred[:, :-1]).mean(axis=0),
        *(np.abs(x[lag:] - x[:-lag]).mean(axis=0) for lag in LAGS),
        louder @ x,
        np.sqrt(louder @ x**2 - (louder @ x) ** 2),
        quieter @ x,
    ]
    found = computed(x)
    np.testing.assert_allclose(found[: 11 * 16 - 1], np.concatenate(expected), atol=2e-3)
    assert found[-1] == pytest.approx(np.log(50))


def test_a_ripple_of_harmonics_is_heard_wherever_it_begins() -> None:
    bins = np.arange(16)
    flat = np.zeros((20, 16), np.float32)
    ripples = [(flat + np.cos(1.4 * bins + phase)).astype(np.float32) for phase in (0.0, 1.5)]
    n = ShortCut(SIZES).ripples.shape[1] // 2
    quiet, *loud = (computed(x)[11 * 16 - 1 : 11 * 16 - 1 + n].max() for x in (flat, *ripples))
    assert min(loud) > 5 * quiet


@pytest.mark.parametrize("n_frames", [1, 2, 8, 16, 17])
def test_short_utterances_have_finite_functionals(n_frames: int) -> None:
    assert np.isfinite(computed(row(n_frames))).all()


def test_no_row_sees_its_padding_or_its_neighbours() -> None:
    torch.manual_seed(0)
    model = SpeechModel(SIZES).eval()
    with torch.no_grad():
        alone = model(torch.from_numpy(row(40))[None], torch.tensor([40])).representation
        padded = torch.full((2, 90, 16), float("nan"))
        padded[0, :40] = torch.from_numpy(row(40))
        padded[1] = torch.from_numpy(row(90, 1))
        together = model(padded, torch.tensor([40, 90])).representation
    torch.testing.assert_close(together[:1], alone)


def test_without_it_a_model_has_the_weights_that_it_always_had() -> None:
    plain = SpeechModel(SpeechModelSettings(channels=3, hidden=4)).state_dict()
    assert not any(name.startswith(("short_cut", "share")) for name in plain)
