"""The rules by which detectors are compared are the monitor's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.events import FRAME_SAMPLES, AudioFrame, Segment
from monitor.segmenter import Segmenter, SegmenterSettings

pytest.importorskip("webrtcvad", reason="the packages of the extra `bench` are not installed")

from bench.vad import Count, Webrtc, as_segments, energy
from bench.vad_tracks import bridged, speech_frames


@settings(max_examples=50)
@given(
    script=st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.3]), st.integers(1, 40)), min_size=1, max_size=15
    ),
    limits=st.builds(
        SegmenterSettings,
        silence_ms=st.integers(0, 800),
        early_ms=st.just(0),
        late_ms=st.just(0),
        min_speech_ms=st.integers(21, 300),
        pre_roll_ms=st.integers(0, 500),
        tail_ms=st.integers(0, 500),
        max_segment_ms=st.just(60_000),
    ),
)
def test_segments_made_of_decisions_are_those_of_the_segmenter(
    script: list[tuple[float, int]], limits: SegmenterSettings
) -> None:
    rng = np.random.default_rng(0)
    audio = np.concatenate(
        [level * rng.standard_normal(n * FRAME_SAMPLES) for level, n in script]
    ).astype(np.float32)
    segmenter = Segmenter(settings=limits)
    frames = [
        AudioFrame(i * FRAME_SAMPLES, samples)
        for i, samples in enumerate(audio.reshape(-1, FRAME_SAMPLES))
    ]
    outputs = [out for frame in frames for out in segmenter.push(frame)] + segmenter.flush()
    expected = np.zeros(len(frames), bool)
    for output in outputs:
        if isinstance(output, Segment):
            expected[output.start // FRAME_SAMPLES : output.end // FRAME_SAMPLES] = True
    np.testing.assert_array_equal(as_segments(energy(audio), limits), expected)


def test_rates_are_shares_of_what_is_speech_and_of_what_is_not() -> None:
    count = Count()
    count.add(np.array([1, 1, 1, 1, 0], bool), np.array([1, 1, 1, 0, 1], bool))
    count.add(np.array([0, 0, 0], bool), np.array([0, 0, 0], bool))
    assert count.rates() == {"miss": 25.0, "false_alarm": 25.0}


def test_short_gaps_within_speech_are_speech_and_long_ones_are_not() -> None:
    flags = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 0], bool)
    assert bridged(flags, 3).tolist() == [bool(x) for x in (0, 1, 1, 1, 1, 0, 0, 0, 1, 0)]


def test_the_reference_goes_by_the_level_of_the_utterance_itself() -> None:
    rng = np.random.default_rng(0)
    levels = np.repeat([1e-4, 0.1, 1e-4], 20 * FRAME_SAMPLES)
    utterance = (levels * rng.standard_normal(len(levels))).astype(np.float32)
    for gain in (0.001, 1.0):  # no fixed threshold does for both
        speech = speech_frames(utterance * np.float32(gain))
        assert speech.tolist() == [False] * 20 + [True] * 20 + [False] * 20


def test_every_detector_decides_on_each_frame() -> None:
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 77 * FRAME_SAMPLES).astype(np.float32)
    for detector in (energy, Webrtc(3)):
        assert detector(noise).shape == (77,)
