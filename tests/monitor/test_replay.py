"""Files and pipes as sources: every format that libsndfile reads, and a clear word for the rest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from monitor.errors import UsageError
from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, AudioFrame
from monitor.replay import FileSource, PipeSource
from tests.support.speech import write_wav

DURATION_S = 1.1
TONE_HZ = 800

Sound = NDArray[np.float32]


def tone(rate_hz: int, channels: int = 1, duration_s: float = DURATION_S) -> Sound:
    """800 Hz at half of full scale on every channel, ``(samples, channels)``."""
    time_s = np.arange(round(rate_hz * duration_s)) / rate_hz
    mono = 0.5 * np.sin(2 * np.pi * TONE_HZ * time_s)
    return np.repeat(mono[:, None], channels, axis=1).astype(np.float32)


async def _heard(source: FileSource | PipeSource) -> list[AudioFrame]:
    frames = []
    async with source:
        async for frame in source:
            assert isinstance(frame, AudioFrame)
            frames.append(frame)
    return frames


def heard(source: FileSource | PipeSource) -> Sound:
    """Everything that a source delivers, as one piece; its frames are in order and whole."""
    frames = asyncio.run(_heard(source))
    clock = 0
    for frame in frames:
        assert frame.start == clock
        assert len(frame.samples) % FRAME_SAMPLES == 0
        clock += len(frame.samples)
    return np.concatenate([frame.samples for frame in frames])


def check_is_the_tone(samples: Sound, duration_s: float = DURATION_S) -> None:
    """Length, pitch and level are those that were written."""
    # A codec may pad its first and last packet.
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(duration_s, abs=0.08)
    middle = samples[SAMPLE_RATE_HZ // 10 : SAMPLE_RATE_HZ // 10 * 9]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * SAMPLE_RATE_HZ / len(middle) == pytest.approx(TONE_HZ, abs=2)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


FORMATS = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAV", "ULAW"),
    ("wav", "WAVEX", "PCM_16"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]
RATES_HZ = {"OPUS": (8_000, 16_000, 24_000, 48_000)}
"""Opus knows these alone; every other format is tried with those below."""
USUAL_RATES_HZ = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("suffix", "form", "subtype", "rate_hz"),
    [
        (suffix, form, subtype, rate_hz)
        for suffix, form, subtype in FORMATS
        for rate_hz in RATES_HZ.get(subtype, USUAL_RATES_HZ)
    ],
)
def test_a_file_of_any_format_rate_and_channels_is_heard_at_16_khz(
    tmp_path: Path, suffix: str, form: str, subtype: str, rate_hz: int, channels: int
) -> None:
    path = tmp_path / f"talk.{suffix}"
    soundfile.write(path, tone(rate_hz, channels), rate_hz, format=form, subtype=subtype)
    check_is_the_tone(heard(FileSource(path)))


@pytest.mark.parametrize(("rate_hz", "channels"), [(96_000, 2), (192_000, 1), (48_000, 6)])
def test_studio_rates_and_surround_are_heard_too(
    tmp_path: Path, rate_hz: int, channels: int
) -> None:
    path = tmp_path / "studio.wav"
    soundfile.write(path, tone(rate_hz, channels), rate_hz, subtype="PCM_24")
    check_is_the_tone(heard(FileSource(path)))


def test_the_format_is_what_the_file_is_and_not_what_its_name_says(tmp_path: Path) -> None:
    path = tmp_path / "really flac.wav"
    soundfile.write(path, tone(16_000), 16_000, format="FLAC")
    check_is_the_tone(heard(FileSource(path)))


def test_pcm16_at_16_khz_comes_through_bit_by_bit(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-32_768, 32_768, 5_000).astype(np.int16)
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise, 16_000)
    expected = np.zeros(16 * FRAME_SAMPLES, np.float32)
    expected[:5_000] = noise / np.float32(32_768)
    np.testing.assert_array_equal(heard(FileSource(path)), expected)


@pytest.mark.parametrize(("form", "subtype"), [("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_a_codec_read_block_by_block_gives_what_it_gives_at_once(
    tmp_path: Path, form: str, subtype: str | None
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.3, 0.3, 5 * SAMPLE_RATE_HZ)
    path = tmp_path / "noise"
    soundfile.write(path, noise, SAMPLE_RATE_HZ, format=form, subtype=subtype)
    whole, _ = soundfile.read(path, dtype="float32")
    in_blocks = heard(FileSource(path))[: len(whole)]
    np.testing.assert_allclose(in_blocks, np.clip(whole, -1, 1), atol=1e-5)


def test_a_wav_whose_length_was_never_noted_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "piped.wav", tone(16_000)[:, 0])
    data = path.read_bytes()
    at = data.index(b"data") + 4
    for length in (0, 0xFFFF_FFFF, 0x7FFF_F000):  # a killed recorder, ffmpeg, sox
        path.write_bytes(data[:at] + length.to_bytes(4, "little") + data[at + 4 :])
        check_is_the_tone(heard(FileSource(path)))


def test_a_file_is_the_same_at_either_pace_and_real_time_takes_its_time(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "short.wav", tone(16_000, duration_s=0.4)[:, 0])

    async def timed() -> tuple[float, list[AudioFrame]]:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        frames = await _heard(FileSource(path, "realtime"))
        return loop.time() - started_s, frames

    took_s, frames = asyncio.run(timed())
    assert took_s >= 0.4
    np.testing.assert_array_equal(
        np.concatenate([frame.samples for frame in frames]), heard(FileSource(path))
    )


def test_a_stopped_file_ends_at_once(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", tone(16_000, duration_s=60)[:, 0])

    async def main() -> int:
        n_frames = 0
        async with FileSource(path, "realtime") as source:
            async for _ in source:
                n_frames += 1
                if n_frames == 3:
                    source.stop()
        return n_frames

    assert asyncio.run(asyncio.wait_for(main(), 10)) == 3


def test_a_file_is_closed_on_the_way_out(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "talk.wav", tone(16_000)[:, 0])
    before = set(os.listdir("/proc/self/fd"))
    heard(FileSource(path))
    assert set(os.listdir("/proc/self/fd")) == before


# --- files that are none -----------------------------------------------------------------------


def make_missing(path: Path) -> None:
    """Nothing is there."""


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_empty(path: Path) -> None:
    path.touch()


def make_text(path: Path) -> None:
    path.write_text("This is not audio, whatever its name says.\n" * 100)


def make_m4a(path: Path) -> None:
    path.write_bytes(b"\0\0\0\x20ftypM4A \0\0\2\0isomiso2" + bytes(2_000))


def make_half(path: Path) -> None:
    write_wav(path, tone(16_000)[:, 0])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def make_half_header(path: Path) -> None:
    write_wav(path, tone(16_000)[:, 0])
    path.write_bytes(path.read_bytes()[:30])


def make_header_without_end(path: Path) -> None:
    path.write_bytes(b"RIFF\xff\xff\xff\x7fWAVE" + bytes(10_000))


def make_zero_length(path: Path) -> None:
    write_wav(path, np.zeros(0, np.float32))


def make_half_flac(path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000)
    soundfile.write(path, noise, 16_000, format="FLAC")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def make_too_slow(path: Path) -> None:
    soundfile.write(path, tone(4_000), 4_000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_missing, r"cannot be opened \(No such file or directory\)\. Check the path"),
        (make_folder, r"is a folder\. Name one audio file in it"),
        (make_fifo, r"is not a file\. Pipe 16 kHz mono PCM16 into standard input"),
        (make_empty, r"has no audio: the file is empty"),
        (make_text, r"not audio that can be read \(.+\)\. Use WAV, FLAC, Ogg, Opus or MP3"),
        (make_m4a, r"read \(an MP4 or M4A file: .+\)\. Use .+ convert it with: ffmpeg"),
        (make_half, r"truncated: its header promises 35200 bytes of audio, 17622 are missing"),
        (make_half_header, r"truncated: it ends after 30 bytes, within the WAV header"),
        (make_header_without_end, r"not audio that can be read \(.+\)\. Use WAV"),
        (make_zero_length, r"has no audio: its length is zero"),
        (make_half_flac, r"truncated or damaged: its header promises 1\.0 s of audio"),
        (make_too_slow, r"sample rate \(4000 Hz\) must lie between 8000 .+ Convert the file first"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_path_and_the_reason(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "talk.wav"
    make(path)
    open_before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(UsageError, match=message) as refused:
        heard(FileSource(path))
    assert str(refused.value).startswith(f"{path}: ")
    assert refused.value.exit_code == 2
    assert set(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_is_not_ours_to_read_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "private.wav", tone(16_000)[:, 0])
    path.chmod(0)
    with pytest.raises(UsageError, match=r"cannot be opened \(Permission denied\)"):
        heard(FileSource(path))


def test_a_flac_damaged_further_on_is_heard_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "damaged.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * 16_000)
    soundfile.write(path, noise, 16_000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40_000] = bytes(40_000)
    path.write_bytes(data)
    frames: list[AudioFrame] = []

    async def main() -> None:
        async with FileSource(path) as source:
            async for frame in source:
                assert isinstance(frame, AudioFrame)
                frames.append(frame)

    with pytest.raises(UsageError, match=r"damaged after \d+\.\d s .+ has been analysed"):
        asyncio.run(main())
    assert sum(len(frame.samples) for frame in frames) > 4 * SAMPLE_RATE_HZ


# --- standard input ----------------------------------------------------------------------------


async def piped(data: bytes, write_size: int) -> Sound:
    """What a source hears of bytes that another thread writes, ``write_size`` at a time."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as pipe:
            for at in range(0, len(data), write_size):
                pipe.write(data[at : at + write_size])

    with os.fdopen(read_end, "rb", buffering=0) as stdin:
        source = PipeSource(stdin)
        writing = asyncio.create_task(asyncio.to_thread(write))
        try:
            frames = await asyncio.wait_for(_heard(source), 30)
        finally:
            await asyncio.wait_for(writing, 30)
    return np.concatenate([frame.samples for frame in frames])


def pcm16(samples: Sound) -> bytes:
    return np.round(samples * 32_767).astype("<i2").tobytes()


@pytest.mark.parametrize("write_size", [1, 319, 4_096, 1 << 20])
def test_pcm16_on_standard_input_is_heard_however_it_is_written(write_size: int) -> None:
    data = pcm16(tone(16_000, duration_s=0.5))
    samples = asyncio.run(piped(data, write_size))
    np.testing.assert_array_equal(
        samples, np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32_768)
    )


def test_a_pipe_that_ends_within_a_sample_loses_that_sample_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    samples = asyncio.run(piped(pcm16(tone(16_000)) + b"x", 4_096))
    assert len(samples) == round(DURATION_S * SAMPLE_RATE_HZ)
    assert "ended within a sample: 1 byte(s)" in caplog.text


def test_a_stopped_pipe_ends_although_nobody_writes_or_closes_it() -> None:
    async def main() -> int:
        read_end, write_end = os.pipe()
        n_frames = 0
        with os.fdopen(read_end, "rb", 0) as stdin, os.fdopen(write_end, "wb", 0) as pipe:
            pipe.write(bytes(2 * FRAME_SAMPLES))
            async with PipeSource(stdin) as source:
                # Whenever it comes; by then, as a rule, a thread waits for more to read.
                asyncio.get_running_loop().call_later(0.1, source.stop)
                async for _ in source:
                    n_frames += 1
        return n_frames

    assert asyncio.run(asyncio.wait_for(main(), 10)) == 1


def test_a_pipe_without_audio_is_refused() -> None:
    with pytest.raises(UsageError, match=r"standard input has no audio: it ended before"):
        asyncio.run(piped(b"", 1))


@pytest.mark.parametrize("form", ["WAV", "FLAC", "Ogg"])
def test_a_file_with_a_header_on_standard_input_is_refused_by_what_it_is(
    tmp_path: Path, form: str
) -> None:
    path = tmp_path / "talk"
    soundfile.write(path, tone(16_000), 16_000, format=form.upper())
    with pytest.raises(UsageError, match=rf"is an? {form} file, .+ headerless PCM16"):
        asyncio.run(piped(path.read_bytes()[:4_000], 4_000))


@pytest.mark.parametrize(
    ("head", "named"), [(b"ID3\x04", "an MP3"), (b"\0\0\0\x20ftypM4A ", "an MP4 or M4A")]
)
def test_a_compressed_file_on_standard_input_is_refused_by_what_it_is(
    head: bytes, named: str
) -> None:
    with pytest.raises(UsageError, match=rf"standard input is {named} file, .+ convert it with"):
        asyncio.run(piped(head + bytes(4_000), 4_100))


def test_a_terminal_on_standard_input_is_refused() -> None:
    main_end, terminal = os.openpty()
    with (
        os.fdopen(main_end, "rb", 0),
        os.fdopen(terminal, "rb", 0) as stdin,
        pytest.raises(UsageError, match=r"standard input is a terminal.+ Pipe it in"),
    ):
        heard(PipeSource(stdin))


def test_a_closed_standard_input_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "talk.wav", tone(16_000)[:, 0])
    with path.open("rb") as stdin:
        pass
    with pytest.raises(UsageError, match=r"standard input is not open \(.+\)\. Pipe PCM16"):
        heard(PipeSource(stdin))
