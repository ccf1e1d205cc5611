"""The framer: any rate, channel count, sample type and chunking; one integer clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, AudioFrame
from monitor.framer import Framer

RATES_HZ = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)


def tone(
    frequency_hz: float, rate_hz: int, duration_s: float, amplitude: float = 0.5
) -> NDArray[np.float32]:
    time_s = np.arange(round(rate_hz * duration_s)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)[:, None]


def framed(chunks: Sequence[NDArray[np.float32]], rate_hz: int) -> list[AudioFrame]:
    framer = Framer(rate_hz, chunks[0].shape[1])
    return [frame for chunk in chunks for frame in framer.push(chunk)] + framer.flush()


def joined(frames: Sequence[AudioFrame]) -> NDArray[np.float32]:
    return np.concatenate([frame.samples for frame in frames])


def level_db(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-20))


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 9_000), max_size=30),
    rate_hz=st.sampled_from(RATES_HZ),
    channels=st.integers(1, 3),
)
def test_frames_do_not_depend_on_how_the_driver_cuts_the_audio(
    cuts: list[int], rate_hz: int, channels: int
) -> None:
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.5, 0.5, (9_000, channels)).astype(np.float32)
    whole, cut = framed([audio], rate_hz), framed(np.split(audio, sorted(cuts)), rate_hz)
    assert [frame.start for frame in cut] == [frame.start for frame in whole]
    np.testing.assert_array_equal(joined(cut), joined(whole))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_every_frame_has_320_samples_and_follows_the_one_before(rate_hz: int) -> None:
    frames = framed([tone(440, rate_hz, 0.37)], rate_hz)
    assert [frame.start for frame in frames] == [i * FRAME_SAMPLES for i in range(len(frames))]
    assert {frame.samples.shape for frame in frames} == {(FRAME_SAMPLES,)}
    assert {frame.samples.dtype for frame in frames} == {np.dtype(np.float32)}
    assert len(frames) == -(-round(0.37 * SAMPLE_RATE_HZ) // FRAME_SAMPLES)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_tone_keeps_its_pitch_level_and_time(rate_hz: int) -> None:
    heard = joined(framed([tone(1_000, rate_hz, 1.0)], rate_hz))[:SAMPLE_RATE_HZ]
    expected = tone(1_000, SAMPLE_RATE_HZ, 1.0)[:, 0]
    middle = slice(800, -800)  # the edges ring
    np.testing.assert_allclose(heard[middle], expected[middle], atol=2e-3)


@pytest.mark.parametrize("frequency_hz", [9_500, 12_000, 15_000, 20_000, 23_000])
def test_what_16_khz_cannot_hold_is_gone_instead_of_folded_back(frequency_hz: int) -> None:
    heard = joined(framed([tone(frequency_hz, 48_000, 1.0)], 48_000))
    assert level_db(heard[1_600:-1_600]) < level_db(tone(100, 16_000, 1.0)) - 80


def test_the_clock_of_minutes_at_44_1_khz_in_odd_chunks_is_exact() -> None:
    rate_hz, size, n_chunks = 44_100, 220_501, 60  # five minutes and 60 samples
    framer = Framer(rate_hz, 1)
    silence = np.zeros((size, 1), np.float32)
    n_frames, last = 0, AudioFrame(-FRAME_SAMPLES, np.zeros(0, np.float32))
    for _ in range(n_chunks):
        for frame in framer.push(silence):
            n_frames, last = n_frames + 1, frame
    flushed = framer.flush()
    n_frames, last = n_frames + len(flushed), flushed[-1]
    expected = -(-size * n_chunks * SAMPLE_RATE_HZ // (rate_hz * FRAME_SAMPLES))
    assert n_frames == expected
    assert last.start == (expected - 1) * FRAME_SAMPLES


@settings(max_examples=40)
@given(
    gaps=st.lists(st.tuples(st.integers(1, 3_000), st.integers(0, 100_000)), max_size=20),
    rate_hz=st.sampled_from(RATES_HZ),
)
def test_gaps_never_make_the_clock_drift(gaps: list[tuple[int, int]], rate_hz: int) -> None:
    framer = Framer(rate_hz, 1)
    n_input, clock = 0, 0
    for length, lost in gaps:
        for frame in framer.push(np.zeros((length, 1), np.float32)):
            assert frame.start == clock
            clock += FRAME_SAMPLES
        gap = framer.gap(lost, "overflow")
        n_input += length + lost
        assert gap.start == clock
        assert gap.length >= 0
        clock = gap.start + gap.length
        assert clock == n_input * SAMPLE_RATE_HZ // rate_hz


def test_an_hour_lost_in_pieces_of_1023_samples_is_an_hour() -> None:
    framer = Framer(44_100, 1)
    n_pieces = 3_600 * 44_100 // 1_023
    for _ in range(n_pieces):
        framer.gap(1_023, "overflow")
    assert framer.clock == n_pieces * 1_023 * SAMPLE_RATE_HZ // 44_100


def test_audio_after_a_gap_owes_nothing_to_what_was_before_it() -> None:
    loud, soft = tone(3_000, 44_100, 0.2, 0.9), tone(300, 44_100, 0.2, 0.1)
    framer = Framer(44_100, 1)
    framer.push(loud)
    gap = framer.gap(44_100, "overflow")
    after = framer.push(soft) + framer.flush()
    assert gap.reason == "overflow"
    assert after[0].start == gap.start + gap.length == SAMPLE_RATE_HZ + SAMPLE_RATE_HZ // 5
    np.testing.assert_array_equal(joined(after), joined(framed([soft], 44_100)))


def test_channels_are_averaged() -> None:
    left, right = tone(500, 16_000, 0.1, 0.8), tone(500, 16_000, 0.1, 0.2)
    heard = joined(framed([np.hstack([left, right])], 16_000))
    np.testing.assert_allclose(heard, tone(500, 16_000, 0.1, 0.5)[:, 0], atol=1e-6)


def test_sixteen_bits_reach_from_minus_one_to_just_below_one() -> None:
    extremes = np.array([[-32_768], [0], [16_384], [32_767]], np.int16)
    framer = Framer(16_000, 1)
    (frame,) = framer.push(extremes) + framer.flush()
    np.testing.assert_array_equal(frame.samples[:4], np.float32([-1, 0, 0.5, 32_767 / 32_768]))


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_broken_sample_is_silence_and_spares_its_neighbours(rate_hz: int, bad: float) -> None:
    broken = tone(440, rate_hz, 0.1)
    silenced = broken.copy()
    broken[500, 0], silenced[500, 0] = bad, 0.0
    np.testing.assert_array_equal(
        joined(framed([broken], rate_hz)), joined(framed([silenced], rate_hz))
    )


def test_a_broken_channel_does_not_spoil_the_other() -> None:
    stereo = np.hstack([np.full((320, 1), np.nan, np.float32), tone(440, 16_000, 0.02)])
    heard = joined(framed([stereo], 16_000))
    np.testing.assert_allclose(heard, stereo[:, 1] / 2)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_nothing_exceeds_full_scale_even_after_resampling(rate_hz: int) -> None:
    square = np.sign(tone(700, rate_hz, 0.3)) * np.float32(4.0)
    heard = joined(framed([square], rate_hz))
    assert np.abs(heard).max() == 1.0


def test_the_input_array_is_left_as_it_was() -> None:
    chunk = np.full((320, 1), 7.0, np.float32)
    Framer(16_000, 1).push(chunk)
    assert (chunk == 7.0).all()


def test_frames_stay_as_they_are_when_the_driver_reuses_its_buffer() -> None:
    framer, buffer = Framer(16_000, 1), tone(440, 16_000, 0.02)
    (frame,) = framer.push(buffer)
    before = frame.samples.copy()
    buffer[:] = 0
    np.testing.assert_array_equal(frame.samples, before)


def test_the_last_frame_is_filled_up_with_silence() -> None:
    framer = Framer(16_000, 1)
    assert framer.push(np.ones((100, 1), np.float32)) == []
    (frame,) = framer.flush()
    assert frame.samples.tolist() == [1.0] * 100 + [0.0] * 220


def test_no_audio_gives_no_frame() -> None:
    framer = Framer(44_100, 2)
    assert framer.push(np.zeros((0, 2), np.float32)) == []
    assert framer.flush() == []


def test_a_stream_in_97_pieces_adds_up_to_a_one_shot_resampling_of_the_best_quality() -> None:
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (48_000, 1)).astype(np.float32)
    low = soxr.resample(soxr.resample(noise[:, 0], 48_000, 12_000), 12_000, 48_000)[:, None]
    heard = joined(framed(np.array_split(low, 97), 48_000))[:SAMPLE_RATE_HZ]
    reference = soxr.resample(low[:, 0], 48_000, SAMPLE_RATE_HZ, quality="VHQ")
    assert level_db(heard - reference) < level_db(reference) - 80


@pytest.mark.parametrize("rate_hz", [7_999, 192_001, 0, -1])
def test_a_rate_out_of_range_is_refused(rate_hz: int) -> None:
    with pytest.raises(ValueError, match=rf"sample rate \({rate_hz} Hz\) must lie between 8000"):
        Framer(rate_hz, 1)


def test_a_chunk_with_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(samples, 2\), got \(10, 1\)"):
        Framer(16_000, 2).push(np.zeros((10, 1), np.float32))


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_a_stream_that_has_begun_before_goes_on_where_it_was(rate_hz: int) -> None:
    framer = Framer(rate_hz, 1, start=1_000_003)
    second = np.zeros((rate_hz, 1), np.float32)
    frames = framer.push(second)
    assert frames[0].start == 1_000_003
    gap = framer.gap(0, "lost")
    assert gap.start + gap.length == pytest.approx(1_016_003, abs=1)
