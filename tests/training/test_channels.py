"""Rooms, lines and noises: as long as it was, in the band and at the ratio that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from training.channels import (
    TRAINED,
    Channel,
    conditions,
    reverberated,
    synthetic_room,
    telephone,
    with_noise,
)

RATE = 16_000


def voice() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    t = np.arange(RATE) / RATE
    tones = sum(np.sin(2 * np.pi * hz * t) for hz in (120, 1_000, 6_000))
    return (0.1 * tones).astype(np.float32)


def power_at(samples: np.ndarray[tuple[int], np.dtype[np.float32]], hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    return float(spectrum[hz - 5 : hz + 6].sum())  # bins of one hertz


ALL = [
    *TRAINED.values(),
    *conditions([np.ones(100, np.float32)], [np.eye(1, 50, dtype=np.float32)[0]]),
]


@pytest.mark.parametrize("channel", ALL, ids=lambda channel: channel.name)
def test_a_channel_keeps_length_and_about_the_level(channel: Channel) -> None:
    heard = channel.change(voice(), RATE, np.random.default_rng(0))
    assert heard.dtype == np.float32
    assert heard.shape == (RATE,)
    assert 0.2 < np.sqrt(np.square(heard).mean() / np.square(voice()).mean()) < 1.5


@pytest.mark.parametrize("codec", ["ULAW", "ALAW", "GSM610"])
def test_a_telephone_passes_300_to_3400_hz(codec: str) -> None:
    heard = telephone(voice(), RATE, codec)
    assert power_at(heard, 1_000) > 0.5 * power_at(voice(), 1_000)
    for hz in (120, 6_000):
        assert power_at(heard, hz) < 0.02 * power_at(voice(), hz)


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 5.0])
def test_noise_has_the_power_that_was_asked_for(snr_db: float) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(5_000).astype(np.float32)
    added = with_noise(voice(), noise, snr_db, rng) - voice()
    ratio = 10 * np.log10(np.square(voice()).mean() / np.square(added).mean())
    assert ratio == pytest.approx(snr_db, abs=0.01)


def test_a_room_goes_on_after_a_sound_ends() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 1
    heard = reverberated(click, synthetic_room(RATE, np.random.default_rng(0)))
    assert np.square(heard[RATE // 100 :]).sum() > 1e-3
    assert np.square(heard[RATE // 2 :]).sum() < np.square(heard[: RATE // 2]).sum()


def test_a_room_that_only_delays_changes_nothing() -> None:
    delay = np.zeros(200, np.float32)
    delay[50] = 0.5
    np.testing.assert_allclose(reverberated(voice(), delay), voice(), atol=1e-4)
