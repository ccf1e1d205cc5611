"""The energy VAD and the segmenter on what a room and a driver do to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, CloseReason, Segment
from monitor.framer import Framer
from monitor.segmenter import Segmenter
from monitor.vad import EnergyVad, VadSettings
from tests.support.speech import silence, spoken

Sound = NDArray[np.float32]
Noise = Callable[[float, float], Sound]
"""Of a duration in seconds and a level in dBFS."""

LEARNING_S = 1.7
"""A second of steady noise, up to a block of 200 ms before it, the hangover and 100 ms to spare."""


def segments_of(audio: Sound, rate_hz: int = SAMPLE_RATE_HZ) -> list[Segment]:
    """Segments of one channel that comes from a driver at once."""
    framer, segmenter = Framer(rate_hz, 1), Segmenter()
    frames = framer.push(audio[:, None]) + framer.flush()
    outputs = [output for frame in frames for output in segmenter.push(frame)]
    return [out for out in outputs + segmenter.flush() if isinstance(out, Segment)]


def spans_s(audio: Sound) -> list[tuple[float, float]]:
    return [
        (segment.start / SAMPLE_RATE_HZ, segment.end / SAMPLE_RATE_HZ)
        for segment in segments_of(audio)
    ]


def at_level(samples: NDArray[np.float64] | Sound, dbfs: float) -> Sound:
    power = np.mean(np.square(samples, dtype=np.float64))
    return (samples * 10 ** (dbfs / 20) / np.sqrt(power)).astype(np.float32)


def white_noise(duration_s: float, dbfs: float) -> Sound:
    rng = np.random.default_rng(0)
    return at_level(rng.standard_normal(round(duration_s * SAMPLE_RATE_HZ)), dbfs)


def pink_noise(duration_s: float, dbfs: float) -> Sound:
    """As much power in each octave, like a fan or rain."""
    spectrum = np.fft.rfft(white_noise(duration_s, 0))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return at_level(np.fft.irfft(spectrum, round(duration_s * SAMPLE_RATE_HZ)), dbfs)


def mains_hum(duration_s: float, dbfs: float, mains_hz: int = 50) -> Sound:
    """The mains and its overtones."""
    angle = 2 * np.pi * mains_hz * np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return at_level(sum(np.sin(k * angle) / k for k in (1, 2, 3, 5)), dbfs)


def music(duration_s: float, dbfs: float) -> Sound:
    """A plucked tune, four notes a second."""
    rng = np.random.default_rng(5)
    samples = np.zeros(round(duration_s * SAMPLE_RATE_HZ))
    time_s = np.arange(SAMPLE_RATE_HZ * 3 // 4) / SAMPLE_RATE_HZ
    for start in range(0, len(samples), SAMPLE_RATE_HZ // 4):
        pitch_hz = 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
        overtones = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 8))
        note = overtones * np.exp(-time_s / 0.3) * np.minimum(1, time_s / 0.01)
        samples[start : start + len(note)] += note[: len(samples) - start]
    return at_level(samples, dbfs)


def slam(decay_s: float) -> Sound:
    """A door: a thump below 400 Hz that dies away, 1 dB below full scale at its peak."""
    time_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    spectrum = np.fft.rfft(white_noise(1.0, -20) * np.exp(-time_s / decay_s))
    frequencies_hz = np.fft.rfftfreq(SAMPLE_RATE_HZ, 1 / SAMPLE_RATE_HZ)
    spectrum[frequencies_hz > 400] *= (400 / frequencies_hz[frequencies_hz > 400]) ** 2
    thump = np.fft.irfft(spectrum, SAMPLE_RATE_HZ)
    return (0.9 * thump / np.abs(thump).max()).astype(np.float32)


def speech(dbfs: float = -20) -> Sound:
    return at_level(spoken("leave me alone", before_s=0, after_s=0), dbfs)


def with_speech_at(background: Sound, *starts_s: float) -> Sound:
    mixed, words = background.copy(), speech()
    for start_s in starts_s:
        start = round(start_s * SAMPLE_RATE_HZ)
        mixed[start : start + len(words)] += words
    return np.clip(mixed, -1, 1)


SPEECH_S = 1.3
"""Length of :func:`speech`, to 10 ms."""


def check_finds_speech(found: tuple[float, float], start_s: float) -> None:
    """The segment holds the speech from its beginning, and ends with it."""
    # The voice starts 60 ms into the synthesised file and is loud within 100 ms.
    assert start_s - 0.6 < found[0] < start_s + 0.1
    assert start_s + 0.8 * SPEECH_S < found[1] < start_s + SPEECH_S + 0.3


# --- noise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [white_noise, pink_noise, mains_hum])
@pytest.mark.parametrize("dbfs", [-65, -50, -40, -30, -20])
def test_steady_noise_from_the_first_sample_on_is_learned_once_and_never_again_speech(
    noise: Noise, dbfs: float
) -> None:
    for segment in segments_of(noise(12, dbfs)):
        assert segment.end / SAMPLE_RATE_HZ < LEARNING_S
        assert segment.reason is CloseReason.SILENCE


@pytest.mark.parametrize("noise", [white_noise, pink_noise, mains_hum])
@pytest.mark.parametrize("dbfs", [-50, -40, -30, -20])
@pytest.mark.parametrize("room", [silence(4.0), white_noise(4.0, -65), white_noise(4.1, -60)])
def test_steady_noise_that_begins_in_a_quiet_room_is_learned_once_too(
    room: Sound, dbfs: float, noise: Noise
) -> None:
    starts_s = len(room) / SAMPLE_RATE_HZ
    found = segments_of(np.concatenate([room, noise(12, dbfs)]))
    assert len(found) <= 1
    for segment in found:
        assert segment.end / SAMPLE_RATE_HZ - starts_s < LEARNING_S
        assert dbfs - 6 < segment.noise_floor_dbfs < dbfs + 1  # known by then


@pytest.mark.parametrize("noise", [white_noise, pink_noise, mains_hum])
def test_speech_above_steady_noise_is_found_where_it_is(noise: Noise) -> None:
    *learned, first, second = spans_s(with_speech_at(noise(10, -40), 3, 7))
    assert len(learned) <= 1
    check_finds_speech(first, 3)
    check_finds_speech(second, 7)


@pytest.mark.parametrize("mains_hz", [50, 60])
@pytest.mark.parametrize("dbfs", [-50, -40, -30])
def test_mains_hum_is_not_in_the_band_that_is_listened_to(dbfs: float, mains_hz: int) -> None:
    assert segments_of(mains_hum(8, dbfs, mains_hz)) == []


def test_the_floor_falls_at_once_when_noise_ends() -> None:
    vad = EnergyVad()
    *_, last = vad.push(np.concatenate([white_noise(5, -30), white_noise(0.14, -65)]))
    assert last.noise_floor_dbfs == pytest.approx(-65, abs=2)


def test_speech_as_soon_as_noise_has_ended_is_found() -> None:
    audio = np.concatenate([white_noise(5, -30), white_noise(4, -65)])
    check_finds_speech(spans_s(with_speech_at(audio, 5.5))[-1], 5.5)


# --- door and music ----------------------------------------------------------------------------


def test_a_dull_slam_is_too_short_to_be_an_utterance() -> None:
    assert segments_of(with_slam(0.01)) == []


@pytest.mark.parametrize("decay_s", [0.03, 0.08, 0.15])
def test_a_slam_that_rings_is_one_short_segment_and_speech_after_it_another(decay_s: float) -> None:
    slammed, after = spans_s(with_speech_at(with_slam(decay_s), 5.0))
    assert slammed[0] == pytest.approx(3.0 - 0.3, abs=0.03)  # the pre-roll
    assert slammed[1] < 3.0 + 1.2
    check_finds_speech(after, 5.0)


def with_slam(decay_s: float) -> Sound:
    """A door slammed after 3 s in a quiet room."""
    room = white_noise(8, -60)
    room[3 * SAMPLE_RATE_HZ : 4 * SAMPLE_RATE_HZ] += slam(decay_s)
    return room


@pytest.mark.parametrize("dbfs", [-70, -65, -60])
def test_music_below_the_least_level_is_no_speech(dbfs: float) -> None:
    assert segments_of(music(12, dbfs)) == []


@pytest.mark.parametrize("dbfs", [-50, -45, -40])
def test_low_music_neither_holds_a_segment_open_nor_hides_speech(dbfs: float) -> None:
    found = segments_of(with_speech_at(music(20, dbfs), 5, 15))
    assert CloseReason.MAX_LENGTH not in {segment.reason for segment in found}
    for start_s in (5, 15):
        (around,) = [
            segment
            for segment in found
            if segment.start / SAMPLE_RATE_HZ < start_s + 0.5 < segment.end / SAMPLE_RATE_HZ
        ]
        check_finds_speech(
            (around.start / SAMPLE_RATE_HZ, around.speech_end / SAMPLE_RATE_HZ), start_s
        )
    # A tune's accents are segments, too: an energy VAD cannot tell. They are no more than this.
    rest = sum(segment.end - segment.start for segment in found) / SAMPLE_RATE_HZ - 2 * SPEECH_S
    assert rest < 7


# --- drivers -----------------------------------------------------------------------------------


def test_speech_driven_to_full_scale_is_one_segment_that_says_so() -> None:
    quiet = with_speech_at(white_noise(4, -90), 1.0)
    (loud,) = segments_of(np.clip(quiet * 100, -1, 1))
    (clean,) = segments_of(quiet)
    assert loud.clipped
    assert not clean.clipped
    check_finds_speech((loud.start / SAMPLE_RATE_HZ, loud.end / SAMPLE_RATE_HZ), 1.0)


def test_a_signal_stuck_at_full_scale_is_learned_like_any_noise() -> None:
    buzz = np.sign(mains_hum(8, -3, 200) + np.float32(1e-9))
    (segment,) = segments_of(buzz)
    assert segment.clipped
    assert segment.level_dbfs == pytest.approx(0, abs=0.01)
    assert segment.end / SAMPLE_RATE_HZ < LEARNING_S
    assert segments_of(np.ones(SAMPLE_RATE_HZ, np.float32)) == []


def test_digital_silence_is_no_speech_and_speech_after_it_is_found_at_once() -> None:
    assert segments_of(silence(10)) == []
    (found,) = spans_s(with_speech_at(silence(8), 5.0))
    check_finds_speech(found, 5.0)


def test_a_level_is_finite_whatever_comes() -> None:
    vad = EnergyVad()
    for sound in (silence(0.02), np.ones(FRAME_SAMPLES, np.float32), white_noise(0.02, -140)):
        (frame,) = vad.push(sound)
        assert np.isfinite([frame.level_dbfs, frame.noise_floor_dbfs]).all()
        assert frame.level_dbfs >= -120


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_samples_from_a_driver_neither_open_a_segment_nor_hide_one(bad: float) -> None:
    assert segments_of(np.full(5 * SAMPLE_RATE_HZ, bad, np.float32)) == []
    broken = with_speech_at(white_noise(6, -60), 1.0, 4.0)
    broken[::100] = bad
    broken[8_000:8_800] = bad  # 50 ms without a single good sample
    first, second = segments_of(broken)
    for segment, start_s in ((first, 1.0), (second, 4.0)):
        assert np.isfinite([segment.level_dbfs, segment.noise_floor_dbfs]).all()
        check_finds_speech((segment.start / SAMPLE_RATE_HZ, segment.end / SAMPLE_RATE_HZ), start_s)


@pytest.mark.parametrize("offset", [-0.5, 0.01, 0.3])
def test_a_dc_offset_changes_neither_the_segments_nor_their_level(offset: float) -> None:
    assert segments_of(np.full(5 * SAMPLE_RATE_HZ, offset, np.float32)) == []
    audio = with_speech_at(white_noise(4, -60), 1.0) * np.float32(0.5)
    (plain,), (shifted,) = segments_of(audio), segments_of(audio + np.float32(offset))
    assert (shifted.start, shifted.end) == (plain.start, plain.end)
    assert shifted.level_dbfs == pytest.approx(plain.level_dbfs, abs=0.1)


@settings(max_examples=20)
@given(
    cuts=st.lists(st.integers(0, 200_000), max_size=40), rate_hz=st.sampled_from([16_000, 48_000])
)
def test_any_chunking_of_the_same_audio_gives_the_same_segments(
    cuts: list[int], rate_hz: int
) -> None:
    audio = with_speech_at(pink_noise(6, -45), 1.0, 3.5)
    audio = np.repeat(audio, rate_hz // SAMPLE_RATE_HZ)[:, None]

    def segments(chunks: list[Sound]) -> list[Segment]:
        framer, segmenter = Framer(rate_hz, 1), Segmenter()
        frames = [frame for chunk in chunks for frame in framer.push(chunk)] + framer.flush()
        outputs = [out for frame in frames for out in segmenter.push(frame)] + segmenter.flush()
        return [output for output in outputs if isinstance(output, Segment)]

    whole = segments([audio])
    assert len(whole) >= 2
    assert segments(np.split(audio, sorted(cuts))) == whole


# --- settings ----------------------------------------------------------------------------------


def test_a_frame_is_speech_from_the_onset_and_until_the_offset() -> None:
    vad = EnergyVad(VadSettings(onset_db=12, offset_db=4))
    assert not any(frame.speech for frame in vad.push(white_noise(2, -50)))
    # 8 dB above the room: not enough to begin, enough to go on.
    middling, loud = white_noise(0.02, -42), white_noise(0.02, -30)
    heard = vad.push(np.concatenate([middling, loud, middling, white_noise(0.02, -50)]))
    assert [frame.speech for frame in heard] == [False, True, True, False]


@given(cuts=st.lists(st.integers(0, 150), max_size=40))
def test_a_decision_does_not_depend_on_how_many_frames_come_at_a_time(cuts: list[int]) -> None:
    audio = with_speech_at(pink_noise(3, -45), 1.0)
    together, apart = EnergyVad(), EnergyVad()
    pieces = np.split(audio, [FRAME_SAMPLES * cut for cut in sorted(cuts)])
    assert together.push(audio) == [frame for piece in pieces for frame in apart.push(piece)]


def test_nothing_below_the_least_level_is_speech() -> None:
    for least_dbfs, speech_heard in ((-50.0, True), (-30.0, False)):
        vad = EnergyVad(VadSettings(min_level_dbfs=least_dbfs))
        *_, last = vad.push(np.concatenate([silence(1), white_noise(0.02, -40)]))
        assert last.speech is speech_heard


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"offset_db": 10.0}, r"vad\.offset_db \(10\) must not exceed vad\.onset_db \(9\)"),
        ({"offset_db": 0.0}, r"vad\.offset_db \(0\) must be positive"),
        ({"min_level_dbfs": 0.0}, r"vad\.min_level_dbfs \(0\) must lie between -120 and 0"),
        ({"min_level_dbfs": -120.0}, r"vad\.min_level_dbfs \(-120\) must lie between"),
        ({"steady_ms": 0}, r"vad\.steady_ms \(0\) must be positive"),
        ({"steady_ms": 4_000}, r"vad\.steady_ms \(4000\) must be positive and not exceed"),
        ({"floor_memory_ms": 60_001}, r"vad\.floor_memory_ms \(60001\), and that not 60000"),
        ({"steady_db": -1.0}, r"vad\.steady_db \(-1\) must not be negative"),
        ({"clipped_share": 0.0}, r"vad\.clipped_share \(0\) must be above 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(
    changed: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        VadSettings(**changed)
