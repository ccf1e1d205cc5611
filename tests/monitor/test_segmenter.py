"""The segmenter: durations to the frame, order, bounds, and the same answer for any chunking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    CloseReason,
    Segment,
    SegmenterOutput,
    SpeechAudio,
    SpeechPaused,
    SpeechStarted,
)
from monitor.framer import Framer
from monitor.segmenter import Segmenter, SegmenterSettings
from tests.support.speech import silence, spoken

FRAME_MS = 20
LOUD, QUIET = 0.3, 0.001
"""Amplitudes of noise that the VAD cannot mistake: 40 dB and more above the room, and the room."""

Script = Sequence[tuple[float, int]]
"""Amplitude and number of frames, one after another."""

SYLLABLE = [(LOUD, 8), (QUIET, 2)]
"""Repeated, it is speech that never ends: it wavers too much to be taken for the room."""


def fixed(**changed: int) -> SegmenterSettings:
    """The same hangover, however the speech ended."""
    return SegmenterSettings(**{"early_ms": 0, "late_ms": 0, **changed})


def sound(script: Script) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    blocks = [amplitude * rng.standard_normal(n * FRAME_SAMPLES) for amplitude, n in script]
    return np.clip(np.concatenate([np.zeros(0), *blocks]), -1, 1).astype(np.float32)


def frames_of(samples: NDArray[np.float32], start: int = 0) -> list[AudioFrame]:
    n_frames = len(samples) // FRAME_SAMPLES
    return [
        AudioFrame(start + i * FRAME_SAMPLES, samples[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES])
        for i in range(n_frames)
    ]


def cut(
    audio: Iterable[AudioFrame | AudioGap], settings: SegmenterSettings | None = None
) -> list[SegmenterOutput]:
    segmenter = Segmenter(settings=settings or fixed())
    return [output for item in audio for output in segmenter.push(item)] + segmenter.flush()


def segments_of(outputs: Iterable[SegmenterOutput]) -> list[Segment]:
    return [output for output in outputs if isinstance(output, Segment)]


def spans(script: Script, settings: SegmenterSettings | None = None) -> list[tuple[int, int]]:
    """Segments of a script, in frames."""
    found = segments_of(cut(frames_of(sound(script)), settings))
    return [(s.start // FRAME_SAMPLES, s.end // FRAME_SAMPLES) for s in found]


def check_order(outputs: Sequence[SegmenterOutput], settings: SegmenterSettings) -> None:
    """What every consumer relies on: started, audio without holes, segment; numbered, disjoint,
    bounded."""
    number, ended = 0, 0
    audio: list[SpeechAudio] | None = None
    start = 0
    paused_at: int | None = None
    for output in outputs:
        if isinstance(output, SpeechStarted):
            assert audio is None, "a segment started within another"
            number += 1
            assert output.utterance == number
            assert output.start >= ended
            audio, start = [], output.start
            continue
        assert audio is not None, "audio or an end without a start"
        assert output.utterance == number
        if isinstance(output, SpeechAudio):
            assert output.start == start + sum(len(block.samples) for block in audio)
            audio.append(output)
            paused_at = None
            continue
        if isinstance(output, SpeechPaused):
            assert paused_at is None, "a pause within a pause"
            paused_at = output.end
            continue
        assert output.start == start
        assert output.end == start + sum(len(block.samples) for block in audio)
        assert paused_at in (None, output.end)
        paused_at = None
        assert output.start < output.speech_end <= output.end <= output.closed_at
        assert output.end - output.start >= 2 * FRAME_SAMPLES
        longest = -(-settings.max_segment_ms // FRAME_MS) * FRAME_SAMPLES
        assert output.end - output.start <= longest
        assert 0 < output.speech_samples <= output.end - output.start
        ended, audio = output.end, None
    assert audio is None, "a segment never ended"


def test_speech_is_kept_with_its_pre_roll_and_tail() -> None:
    script = [(QUIET, 50), (LOUD, 30), (QUIET, 50)]
    assert spans(script) == [(50 - 15, 80 + 5)]  # 300 ms before, 100 ms after


def test_a_pause_shorter_than_the_hangover_does_not_split_a_segment() -> None:
    script = [(QUIET, 50), (LOUD, 25), (QUIET, 19), (LOUD, 25), (QUIET, 50)]  # 380 ms < 400 ms
    assert spans(script) == [(35, 50 + 69 + 5)]


def test_a_pause_as_long_as_the_hangover_does() -> None:
    script = [(QUIET, 50), (LOUD, 25), (QUIET, 20), (LOUD, 25), (QUIET, 50)]
    assert spans(script) == [(35, 80), (80, 125)]  # the second pre-roll ends where the tail begins


@pytest.mark.parametrize(
    ("silence_ms", "n_frames"), [(0, 1), (20, 1), (100, 5), (390, 20), (1_000, 50)]
)
def test_the_hangover_is_rounded_up_to_whole_frames(silence_ms: int, n_frames: int) -> None:
    script = [(QUIET, 50), (LOUD, 30), (QUIET, 60)]
    (segment,) = segments_of(cut(frames_of(sound(script)), fixed(silence_ms=silence_ms)))
    assert segment.speech_end == 80 * FRAME_SAMPLES
    assert segment.closed_at == (80 + n_frames) * FRAME_SAMPLES
    assert segment.reason is CloseReason.SILENCE
    assert segment.end == (80 + min(5, n_frames)) * FRAME_SAMPLES


def test_a_sound_shorter_than_the_minimum_speech_opens_nothing() -> None:
    assert spans([(QUIET, 50), (LOUD, 4), (QUIET, 50)]) == []  # 80 ms < 100 ms
    assert len(spans([(QUIET, 50), (LOUD, 5), (QUIET, 50)])) == 1


def test_a_segment_opens_with_the_frame_that_makes_the_minimum_speech() -> None:
    segmenter = Segmenter(settings=fixed())
    frames = frames_of(sound([(QUIET, 50), (LOUD, 5)]))
    for frame in frames[:-1]:
        assert segmenter.push(frame) == []
    started, audio = segmenter.push(frames[-1])
    assert started == SpeechStarted(1, 35 * FRAME_SAMPLES)
    assert isinstance(audio, SpeechAudio)
    assert len(audio.samples) == 20 * FRAME_SAMPLES


FADING = [(LOUD, 25), *[(LOUD * 10 ** (-db / 20), 1) for db in range(2, 32, 2)]]
"""Half a second at full level, then down by 30 dB within 300 ms."""


def hangover_ms(script: Script, settings: SegmenterSettings | None = None) -> float:
    """How long the segmenter waited after a script's speech."""
    audio = frames_of(sound([(QUIET, 50), *script, (QUIET, 60)]))
    (segment,) = segments_of(cut(audio, settings or SegmenterSettings()))
    return (segment.closed_at - segment.speech_end) * 1000 / SAMPLE_RATE_HZ


def test_a_voice_that_faded_out_is_waited_for_less_than_one_that_broke_off() -> None:
    assert hangover_ms(FADING) == 280
    assert hangover_ms([(LOUD, 40)]) == 600
    settings = SegmenterSettings(silence_ms=500, early_ms=300, late_ms=40)
    assert hangover_ms(FADING, settings) == 200
    assert hangover_ms([(LOUD, 40)], settings) == 540


def test_a_word_too_short_to_tell_how_it_ended_is_waited_for_as_long_as_the_setting_says() -> None:
    assert hangover_ms([(LOUD, 19)]) == 400
    assert hangover_ms(FADING[1:]) == 400


def test_a_hesitation_that_a_fixed_hangover_would_split_leaves_the_utterance_whole() -> None:
    script = [(QUIET, 50), (LOUD, 40), (QUIET, 25), (LOUD, 25), (QUIET, 50)]
    assert len(spans(script)) == 2
    assert len(spans(script, SegmenterSettings())) == 1


def test_each_pause_is_waited_for_by_the_speech_before_it() -> None:
    script = [(QUIET, 50), (LOUD, 40), (QUIET, 25), *FADING, (QUIET, 60)]
    (segment,) = segments_of(cut(frames_of(sound(script)), SegmenterSettings()))
    assert segment.closed_at - segment.speech_end == 14 * FRAME_SAMPLES


def pauses_of(script: Script, settings: SegmenterSettings) -> list[tuple[int, int]]:
    """When a pause was reported and where it said that the segment ends, in frames."""
    segmenter = Segmenter(settings=settings)
    return [
        (number, output.end // FRAME_SAMPLES)
        for number, frame in enumerate(frames_of(sound(script)), start=1)
        for output in segmenter.push(frame)
        if isinstance(output, SpeechPaused)
    ]


@pytest.mark.parametrize(("lead_ms", "after"), [(20, 19), (120, 14), (400, 5), (5_000, 5)])
def test_a_pause_is_reported_ahead_of_the_end_but_not_before_the_tail_is_complete(
    lead_ms: int, after: int
) -> None:
    script = [(QUIET, 50), (LOUD, 30), (QUIET, 30)]
    assert pauses_of(script, fixed(lead_ms=lead_ms)) == [(80 + after, 85)]


def test_a_pause_is_never_reported_where_nothing_is_to_be_prepared() -> None:
    script = [(QUIET, 50), (LOUD, 30), (QUIET, 30)]
    assert pauses_of(script, fixed(lead_ms=0)) == []


def test_each_pause_that_lasts_is_reported_again() -> None:
    script = [
        (QUIET, 50),
        (LOUD, 30),
        (QUIET, 15),
        (LOUD, 10),
        (QUIET, 13),
        (LOUD, 10),
        (QUIET, 30),
    ]
    assert pauses_of(script, fixed()) == [(94, 85), (142, 133)]


def test_speech_is_handed_on_as_it_comes_and_silence_only_when_speech_resumes() -> None:
    segmenter = Segmenter(settings=fixed(tail_ms=40))
    handed_on = [
        sum(len(out.samples) // FRAME_SAMPLES for out in outputs if isinstance(out, SpeechAudio))
        for outputs in map(
            segmenter.push, frames_of(sound([(LOUD, 8), (QUIET, 6), (LOUD, 2), (QUIET, 3)]))
        )
    ]
    assert handed_on == [*(0, 0, 0, 0, 5, 1, 1, 1), *(1, 1, 0, 0, 0, 0), *(5, 1), *(1, 1, 0)]


def test_speech_that_never_pauses_is_cut_at_the_maximum_and_goes_on_without_a_hole() -> None:
    limits = fixed(max_segment_ms=2_000)
    outputs = cut(frames_of(sound([(QUIET, 50), *SYLLABLE * 35])), limits)
    found = segments_of(outputs)
    check_order(outputs, limits)
    assert [s.reason for s in found] == [CloseReason.MAX_LENGTH] * 3 + [CloseReason.END]
    assert {s.end - s.start for s in found[:3]} == {2_000 * SAMPLE_RATE_HZ // 1000}
    assert [after.start for after in found[1:]] == [before.end for before in found[:-1]]
    assert found[-1].end == 400 * FRAME_SAMPLES


def test_silence_after_a_cut_at_the_maximum_starts_no_further_segment() -> None:
    limits = fixed(max_segment_ms=2_000, pre_roll_ms=0)
    assert spans([(QUIET, 50), *SYLLABLE * 10, (QUIET, 60)], limits) == [(50, 150)]


def test_a_single_frame_after_a_cut_is_not_an_utterance_but_two_are() -> None:
    limits = fixed(max_segment_ms=2_000, pre_roll_ms=0)
    before = [(QUIET, 50), *SYLLABLE * 9, (LOUD, 10)]
    assert len(spans([*before, (LOUD, 1), (QUIET, 60)], limits)) == 1
    assert spans([*before, (LOUD, 2), (QUIET, 60)], limits) == [(50, 150), (150, 157)]


def test_speech_long_after_a_cut_has_to_prove_itself_again() -> None:
    limits = fixed(max_segment_ms=2_000, pre_roll_ms=0)
    before = [(QUIET, 50), *SYLLABLE * 9, (LOUD, 10)]
    assert len(spans([*before, (QUIET, 19), (LOUD, 2), (QUIET, 60)], limits)) == 2
    assert len(spans([*before, (QUIET, 20), (LOUD, 2), (QUIET, 60)], limits)) == 1


def test_a_gap_closes_the_segment_at_the_last_sample_before_it() -> None:
    before = frames_of(sound([(QUIET, 50), (LOUD, 30)]))
    gap = AudioGap(80 * FRAME_SAMPLES, 12_345, "overflow")
    after = frames_of(sound([(LOUD, 30), (QUIET, 50)]), start=80 * FRAME_SAMPLES + 12_345)
    first, second = segments_of(cut([*before, gap, *after]))
    assert (first.reason, first.end) == (CloseReason.GAP, 80 * FRAME_SAMPLES)
    assert first.closed_at == 80 * FRAME_SAMPLES
    assert second.start == 80 * FRAME_SAMPLES + 12_345  # no pre-roll from across the gap


def test_a_gap_in_silence_makes_no_segment_and_forgets_half_an_onset() -> None:
    before = frames_of(sound([(QUIET, 50), (LOUD, 4)]))
    gap = AudioGap(54 * FRAME_SAMPLES, 0, "backlog")
    after = frames_of(sound([(LOUD, 4), (QUIET, 50)]), start=54 * FRAME_SAMPLES)
    assert cut([*before, gap, *after]) == []


def test_the_end_of_the_stream_publishes_what_was_being_said() -> None:
    (segment,) = segments_of(cut(frames_of(sound([(QUIET, 50), (LOUD, 30)]))))
    assert (segment.reason, segment.end) == (CloseReason.END, 80 * FRAME_SAMPLES)


def test_flushing_twice_gives_nothing_more() -> None:
    segmenter = Segmenter(settings=fixed())
    for frame in frames_of(sound([(QUIET, 50), (LOUD, 30)])):
        segmenter.push(frame)
    assert len(segmenter.flush()) == 1
    assert segmenter.flush() == []


def test_the_segment_so_far_is_what_was_handed_on_and_has_not_ended() -> None:
    segmenter = Segmenter(settings=fixed())
    assert (segmenter.so_far(), segmenter.speech_samples) == (None, 0)
    for frame in frames_of(sound([(QUIET, 50), (LOUD, 30), (QUIET, 8)])):
        segmenter.push(frame)
    so_far = segmenter.so_far()
    assert so_far is not None
    assert (so_far.start, so_far.end) == (35 * FRAME_SAMPLES, 85 * FRAME_SAMPLES)
    assert so_far.reason is CloseReason.OPEN
    assert so_far.speech_samples == segmenter.speech_samples == 30 * FRAME_SAMPLES
    (segment,) = segments_of(segmenter.flush())
    assert (segment.start, segment.end, segment.clipped) == (so_far.start, so_far.end, False)
    assert segmenter.so_far() is None


def test_the_level_is_that_of_the_speech_and_the_floor_that_of_the_room() -> None:
    (segment,) = segments_of(cut(frames_of(sound([(0.001, 100), (0.1, 50), (0.001, 50)]))))
    assert segment.level_dbfs == pytest.approx(-20, abs=0.3)
    assert segment.noise_floor_dbfs == pytest.approx(-60, abs=1)
    assert segment.snr_db == pytest.approx(40, abs=1.2)
    assert segment.speech_samples == 50 * FRAME_SAMPLES


@pytest.mark.parametrize(("n_clipped", "clipped"), [(15, False), (16, True)])
def test_a_segment_is_clipped_from_one_sample_in_a_thousand_at_full_scale(
    n_clipped: int, clipped: bool
) -> None:
    audio = sound([(0.001, 50), (0.1, 30), (0.001, 50)])
    audio[50 * FRAME_SAMPLES : 50 * FRAME_SAMPLES + n_clipped] = -1.0
    (segment,) = segments_of(cut(frames_of(audio)))
    assert segment.end - segment.start == 50 * FRAME_SAMPLES  # 16,000 samples
    assert segment.clipped is clipped


def bounded(**given: int) -> SegmenterSettings:
    return SegmenterSettings(**given | {"early_ms": min(given["early_ms"], given["silence_ms"])})


scripts = st.lists(
    st.tuples(st.sampled_from([0.0, QUIET, 0.02, LOUD, 2.0]), st.integers(1, 60)),
    max_size=12,
)


@settings(max_examples=60)
@given(
    script=scripts,
    gaps=st.lists(st.integers(0, 300), max_size=3),
    limits=st.builds(
        bounded,
        silence_ms=st.integers(300, 500) | st.integers(0, 800),
        early_ms=st.just(0) | st.integers(0, 300),
        late_ms=st.just(0) | st.integers(0, 300),
        min_speech_ms=st.integers(21, 300),
        pre_roll_ms=st.integers(0, 500),
        tail_ms=st.integers(0, 500),
        max_segment_ms=st.integers(2_000, 4_000),
    ),
)
def test_segments_are_ordered_disjoint_bounded_and_without_holes(
    script: Script, gaps: list[int], limits: SegmenterSettings
) -> None:
    items: list[AudioFrame | AudioGap] = []
    lost = 0
    for index, frame in enumerate(frames_of(sound(script))):
        if index in gaps:
            items.append(AudioGap(frame.start + lost, 100, "overflow"))
            lost += 100
        items.append(AudioFrame(frame.start + lost, frame.samples))
    check_order(cut(items, limits), limits)


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 60_000), max_size=20), data=st.data())
def test_any_chunking_of_the_same_audio_gives_the_same_segments(
    cuts: list[int], data: st.DataObject
) -> None:
    rate_hz = data.draw(st.sampled_from([16_000, 44_100]))
    rng = np.random.default_rng(1)
    envelope = np.repeat(rng.choice([0.0, 0.001, 0.3], 120), 500)
    audio = (envelope * rng.standard_normal(60_000)).astype(np.float32)[:, None]

    def events(chunks: Sequence[NDArray[np.float32]], *, at_a_time: int) -> list[SegmenterOutput]:
        framer = Framer(rate_hz, 1, at_a_time=at_a_time)
        frames = [f for chunk in chunks for f in framer.push(chunk)] + framer.flush()
        return cut(frames, SegmenterSettings())

    whole = events([audio], at_a_time=data.draw(st.integers(1, 9)))
    pieces = events(np.split(audio, sorted(cuts)), at_a_time=data.draw(st.integers(1, 9)))
    assert len(whole) == len(pieces) > 0
    for one, other in zip(whole, pieces, strict=True):
        assert type(one) is type(other)
        if isinstance(one, SpeechAudio) and isinstance(other, SpeechAudio):
            assert one.start == other.start
            np.testing.assert_array_equal(one.samples, other.samples)
        else:
            assert one == other


def test_two_spoken_sentences_are_two_segments_around_their_words() -> None:
    talk = np.concatenate(
        [
            spoken("leave me alone", before_s=0.5, after_s=1.0),
            spoken("i am so happy today", before_s=0.5, after_s=1.0),
        ]
    )
    whole = talk[: len(talk) // FRAME_SAMPLES * FRAME_SAMPLES]
    first, second = segments_of(cut(frames_of(whole)))
    for segment in (first, second):
        outside = silence(0) if segment is first else whole[first.end : second.start]
        assert np.abs(outside).max(initial=0) < 0.01
        assert 1.0 < (segment.end - segment.start) / SAMPLE_RATE_HZ < 2.5
    assert np.abs(whole[second.end :]).max() < 0.01


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"silence_ms": -5},
            r"segmenter\.silence_ms \(-5\) must not be negative: it is a duration",
        ),
        ({"pre_roll_ms": -1}, r"segmenter\.pre_roll_ms \(-1\) must not be negative"),
        ({"tail_ms": -1}, r"segmenter\.tail_ms \(-1\) must not be negative"),
        ({"early_ms": -1}, r"segmenter\.early_ms \(-1\) must not be negative"),
        ({"late_ms": -1}, r"segmenter\.late_ms \(-1\) must not be negative"),
        ({"early_ms": 401}, r"early_ms \(401\) must not exceed segmenter\.silence_ms \(400\)"),
        ({"silence_ms": 100}, r"Lower early_ms in a settings file \(--config\), or raise silence"),
        ({"lead_ms": -1}, r"segmenter\.lead_ms \(-1\) must not be negative"),
        ({"min_speech_ms": 20}, r"segmenter\.min_speech_ms \(20\) must exceed 20"),
        (
            {"max_segment_ms": 1_000},
            r"must exceed pre_roll_ms \+ min_speech_ms \+ silence_ms \+ late_ms \(1000\)",
        ),
        ({"max_segment_ms": 60_001}, r"must not exceed 60000"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(
    changed: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SegmenterSettings(**changed)


def test_level_is_that_of_the_loudest_frame_of_the_last_moment_until_a_gap() -> None:
    segmenter = Segmenter()
    assert segmenter.level is None
    for frame in frames_of(sound([(QUIET, 100), (LOUD, 5), (QUIET, 5)])):
        segmenter.push(frame)
    level = segmenter.level
    assert level is not None
    assert level.level_dbfs == pytest.approx(20 * np.log10(LOUD), abs=1.0)
    assert level.noise_floor_dbfs == pytest.approx(20 * np.log10(QUIET), abs=2.0)
    assert (level.speech, level.at) == (True, 110 * FRAME_SAMPLES)
    for frame in frames_of(sound([(QUIET, 10)]), level.at):
        segmenter.push(frame)
    level = segmenter.level
    assert level is not None
    assert level.level_dbfs == pytest.approx(20 * np.log10(QUIET), abs=1.0)
    assert not level.speech
    segmenter.push(AudioGap(level.at, FRAME_SAMPLES, "muted"))
    assert segmenter.level is None
