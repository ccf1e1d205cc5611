from __future__ import annotations

import numpy as np
import pytest

from stser_core.audio import Waveform, float_to_pcm16, pcm16_to_float
from stser_core.errors import AudioFormatError


def tone(hz: float, rate_hz: int) -> Waveform:
    time_s = np.arange(rate_hz) / rate_hz
    return Waveform(np.sin(2 * np.pi * hz * time_s).astype(np.float32), rate_hz)


def level_db(waveform: Waveform) -> float:
    middle = waveform.samples[len(waveform.samples) // 4 : -len(waveform.samples) // 4]
    return float(10 * np.log10(np.mean(np.square(middle)) * 2 + 1e-20))


def test_every_pcm16_value_survives_the_way_to_float_and_back() -> None:
    pcm = np.arange(-32_768, 32_768).astype(np.int16)
    there = pcm16_to_float(pcm)
    assert (there.min(), there.max()) == (-1.0, 32_767 / 32_768)
    np.testing.assert_array_equal(float_to_pcm16(there), pcm)


def test_float_beyond_full_scale_clips_instead_of_wrapping_round() -> None:
    beyond = np.array([1.0, 7.0, -1.0, -7.0], np.float32)
    np.testing.assert_array_equal(float_to_pcm16(beyond), [32_767, 32_767, -32_768, -32_768])


def test_resampling_keeps_a_tone_below_the_new_limit_and_removes_one_above() -> None:
    kept, removed = (tone(hz, 44_100).resampled(16_000) for hz in (1_000, 10_000))
    assert kept.sample_rate_hz == 16_000
    assert len(kept.samples) == pytest.approx(16_000, abs=16)
    assert level_db(kept) == pytest.approx(0.0, abs=0.05)
    assert level_db(removed) < -90


def test_channels_are_mixed_by_their_mean() -> None:
    stereo = np.array([[1.0, 0.0], [0.5, -0.5]], np.float32)
    np.testing.assert_array_equal(Waveform.mixed(stereo, 8_000).samples, [0.5, 0.0])


@pytest.mark.parametrize(
    ("samples", "rate_hz", "reason"),
    [
        (np.zeros(0, np.float32), 16_000, "no samples"),
        (np.zeros((4, 2), np.float32), 16_000, "shape"),
        (np.zeros(4), 16_000, "float64"),
        (np.zeros(4, np.float32), 0, "rate"),
        (np.array([0, np.nan], np.float32), 16_000, "sample 1"),
        (np.array([np.inf, 0], np.float32), 16_000, "sample 0"),
    ],
)
def test_audio_that_cannot_be_judged_is_refused_with_its_reason(
    samples: np.ndarray, rate_hz: int, reason: str
) -> None:
    with pytest.raises(AudioFormatError, match=reason):
        Waveform(samples, rate_hz)
