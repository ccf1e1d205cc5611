from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stser_core.adaptation import (
    HEARD_FRAMES,
    HEARD_UTTERANCES,
    AdaptationSettings,
    Average,
    HeardSpeech,
    LogMelStatistics,
    normalise,
    voice_offset,
)
from stser_core.errors import ShapeError

AT_ONCE = AdaptationSettings(level_frames=0, shape_frames=0, deviation_frames=0)
NEVER = AdaptationSettings(level_frames=1e12, shape_frames=1e12, deviation_frames=1e12)
PRIOR = LogMelStatistics(1_000.0, np.array([-8.0, -6.0, -9.0]), 1_000 * np.array([4.0, 9.0, 1.0]))


def frames(count: int, seed: int = 0) -> NDArray[np.float32]:
    return (
        np.random.default_rng(seed).normal([-7, -9, -5], [1, 2, 3], (count, 3)).astype(np.float32)
    )


@given(cuts=st.lists(st.integers(0, 40), max_size=5))
def test_merged_statistics_are_those_of_the_joined_recording(cuts: list[int]) -> None:
    whole = frames(40)
    merged = LogMelStatistics.empty(3)
    for part in np.split(whole, sorted(cuts)):
        merged = merged.merge(LogMelStatistics.of(part))
    assert merged.count == 40
    np.testing.assert_allclose(merged.mean, whole.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(merged.variance, whole.var(axis=0), rtol=1e-5)


def test_without_a_prior_it_is_the_plain_standard_score() -> None:
    x = frames(50)
    expected = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(normalise(x, None, PRIOR, AT_ONCE), expected, atol=1e-5)


def test_with_nothing_but_the_prior_it_is_the_prior_standard_score() -> None:
    x = frames(50)
    expected = (x - PRIOR.mean) / np.sqrt(PRIOR.variance)
    np.testing.assert_allclose(normalise(x, None, PRIOR, NEVER), expected, atol=1e-5)


def test_as_many_frames_as_the_pseudo_count_weigh_as_much_as_the_prior() -> None:
    x = frames(50)
    settings = AdaptationSettings(level_frames=50, shape_frames=50, deviation_frames=50)
    mean = (x.mean(axis=0) + PRIOR.mean) / 2
    deviation = np.sqrt((x.var(axis=0) + PRIOR.variance) / 2)
    expected = (x - mean) / deviation
    np.testing.assert_allclose(normalise(x, None, PRIOR, settings), expected, atol=1e-5)


def test_the_spectrum_heard_before_counts_like_that_of_the_utterance_itself() -> None:
    before, x = frames(150, seed=1), frames(50)
    settings = dataclasses.replace(NEVER, shape_frames=300)
    joined = np.concatenate([before, x])
    expected = normalise(joined, None, PRIOR, settings)[150:]
    actual = normalise(x, Average.of(before), PRIOR, settings)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert np.abs(actual - normalise(x, None, PRIOR, settings)).max() > 0.1


def test_how_loud_and_how_lively_speech_was_before_says_nothing_of_an_utterance() -> None:
    before, x = frames(150, seed=1), frames(50)
    plain = normalise(x, Average.of(before), PRIOR, AT_ONCE)
    louder = normalise(x, Average.of(before + 5), PRIOR, AT_ONCE)
    livelier = before.mean(axis=0) + 3 * (before - before.mean(axis=0))
    np.testing.assert_allclose(louder, plain, atol=1e-5)
    np.testing.assert_allclose(normalise(x, Average.of(livelier), PRIOR, AT_ONCE), plain, atol=1e-5)


def test_the_gain_of_the_microphone_is_forgotten_before_the_spectrum_of_the_speaker() -> None:
    x = frames(100)
    settings = AdaptationSettings(level_frames=0, shape_frames=1e12, deviation_frames=1e12)
    plain = normalise(x, None, PRIOR, settings)
    np.testing.assert_allclose(normalise(x + 3, None, PRIOR, settings), plain, atol=1e-5)
    tilted = normalise(x + np.array([3, 0, -3], np.float32), None, PRIOR, settings)
    assert np.abs(tilted - plain).max() > 1


def test_a_stream_that_begins_and_one_that_was_silent_are_the_same() -> None:
    x = frames(20)
    silent = normalise(x, Average.of(frames(0)), PRIOR, AdaptationSettings())
    np.testing.assert_array_equal(silent, normalise(x, None, PRIOR, AdaptationSettings()))


def test_one_frame_or_a_frozen_spectrum_stays_finite() -> None:
    for x in (frames(1), np.full((30, 3), -23.0, np.float32)):
        assert np.isfinite(normalise(x, None, PRIOR, AT_ONCE)).all()


def test_capped_evidence_keeps_its_values_and_yields_sooner_to_new() -> None:
    heard = LogMelStatistics.of(frames(1_000))
    capped = heard.capped(100)
    assert capped.count == 100
    np.testing.assert_array_equal(capped.mean, heard.mean)
    np.testing.assert_allclose(capped.variance, heard.variance)
    assert heard.capped(5_000) is heard
    new = LogMelStatistics.of(frames(100) + 6)
    np.testing.assert_allclose(capped.merge(new).mean, (heard.mean + new.mean) / 2)


def test_statistics_of_another_front_end_are_refused() -> None:
    other = LogMelStatistics.empty(40)
    with pytest.raises(ShapeError, match="40"):
        LogMelStatistics.empty(3).merge(other)
    with pytest.raises(ShapeError, match="40"):
        normalise(frames(5), None, other, AdaptationSettings())
    with pytest.raises(ShapeError, match="3 and 40"):
        Average.of(frames(5)).merge(Average.of(np.zeros((2, 40))))


def test_a_negative_pseudo_count_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"adaptation\.shape_frames \(-1\)"):
        AdaptationSettings(shape_frames=-1)


def representations(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(2, 1, (count, 5)).astype(np.float32)


def heard_to_say(utterances: NDArray[np.float32]) -> Average:
    heard = HeardSpeech()
    for representation in utterances:
        heard = heard.judged(representation)
    assert heard.voice is not None
    return heard.voice


@pytest.mark.parametrize("count", [1, 2, 7, HEARD_UTTERANCES])
def test_a_voice_is_the_mean_of_what_it_was_heard_to_say(count: int) -> None:
    said = representations(count)
    voice = heard_to_say(said)
    assert voice.count == count
    np.testing.assert_allclose(voice.mean, said.mean(axis=0), rtol=1e-6)


def test_beyond_so_many_utterances_old_ones_fade_and_a_new_voice_takes_their_place() -> None:
    said = representations(HEARD_UTTERANCES)
    after = np.concatenate([said, np.full((1, 5), 40, np.float32)])
    voice = heard_to_say(after)
    assert voice.count == HEARD_UTTERANCES
    old = said.mean(axis=0)
    np.testing.assert_allclose(voice.mean, old + (40 - old) / HEARD_UTTERANCES, rtol=1e-6)
    voice = heard_to_say(np.concatenate([after, np.full((10 * HEARD_UTTERANCES, 5), -3, "f4")]))
    np.testing.assert_allclose(voice.mean, -3, atol=0.01)


def test_as_many_utterances_as_the_pseudo_count_have_half_of_their_mean_taken_off() -> None:
    voice = heard_to_say(representations(4))
    for pseudo, share in ((4.0, 0.5), (12.0, 0.25), (0.0, 1.0)):
        offset = voice_offset(voice, AdaptationSettings(voice_utterances=pseudo))
        np.testing.assert_allclose(offset, share * voice.mean, rtol=1e-6)
        assert offset.dtype == np.float32


def test_of_a_voice_that_said_nothing_nothing_is_taken_off() -> None:
    silent = Average(0.0, np.zeros(5))
    for pseudo in (0.0, 2.0):
        assert not voice_offset(silent, AdaptationSettings(voice_utterances=pseudo)).any()


def test_an_utterance_that_was_not_judged_changes_nothing() -> None:
    heard = HeardSpeech().after(frames(20)).judged(representations(1)[0])
    assert heard.judged(None) is heard
    assert HeardSpeech().judged(None).voice is None


def test_log_mel_and_voice_are_remembered_beside_each_other() -> None:
    (representation,) = representations(1)
    heard = HeardSpeech().after(frames(20)).judged(representation).after(frames(30, seed=1))
    assert heard.log_mel is not None
    assert heard.voice is not None
    assert (heard.log_mel.count, heard.voice.count) == (50, 1)
    both = np.concatenate([frames(20), frames(30, seed=1)])
    np.testing.assert_allclose(heard.log_mel.mean, both.mean(axis=0), rtol=1e-6)
    for _ in range(3):
        heard = heard.after(frames(HEARD_FRAMES // 2))
    assert heard.log_mel is not None
    assert heard.log_mel.count == HEARD_FRAMES


def test_a_negative_pseudo_count_of_utterances_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"adaptation\.voice_utterances \(-1\)"):
        AdaptationSettings(voice_utterances=-1)
