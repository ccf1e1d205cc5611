"""What is kept of the audio: whole, bounded, private, and playable whatever happens."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.errors import UsageError
from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, AudioFrame
from monitor.recorder import Recorder
from monitor.recordings import RecordSettings
from stser_core.audio import float_to_pcm16

NOON = 1_767_355_200.0
"""2026-01-02T12:00:00Z, seconds since the epoch."""
NOISE = np.random.default_rng(1).uniform(-0.5, 0.5, 40 * SAMPLE_RATE_HZ).astype(np.float32)


class Clock:
    """Goes on when told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def frames(start_s: float, end_s: float) -> Iterable[AudioFrame]:
    """The noise of these seconds of the stream."""
    for at in range(round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ), FRAME_SAMPLES):
        yield AudioFrame(at, NOISE[at : at + FRAME_SAMPLES])


def hundred_seconds() -> Iterable[AudioFrame]:
    """The first second of the noise, a hundred times."""
    for second in range(100):
        for frame in frames(0, 1):
            yield AudioFrame(frame.start + second * SAMPLE_RATE_HZ, frame.samples)


@asynccontextmanager
async def recording(
    folder: Path,
    clock: Clock | None = None,
    *,
    look_every_s: float = 60,
    patience_s: float = 60,
    **settings: Any,
) -> AsyncIterator[Recorder]:
    async with Recorder(
        folder,
        RecordSettings(**settings),
        clock or Clock(),
        look_every_s=look_every_s,
        patience_s=patience_s,
    ) as recorder:
        yield recorder


def played(path: Path) -> np.ndarray:
    """The samples of a file, as its header says."""
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, 16_000)
        return np.frombuffer(wav.readframes(wav.getnframes()), np.int16)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*"))


def open_files() -> set[Path]:
    """Of this process."""
    return {path.resolve() for path in Path("/proc/self/fd").iterdir()}


def test_what_is_heard_is_in_the_file_sample_for_sample_and_for_its_owner_only(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with recording(tmp_path / "kept") as recorder:
            for frame in frames(0, 2.5):
                recorder.feed("mic", frame)

    asyncio.run(main())
    (path,) = files_in(tmp_path / "kept")
    assert path.relative_to(tmp_path) == Path("kept/mic/20260102T115959.980Z_0ms.wav")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    np.testing.assert_array_equal(played(path), float_to_pcm16(NOISE[: 2 * 16_000 + 8_000]))


def test_hole_in_the_stream_begins_a_file_that_says_where_it_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with recording(tmp_path) as recorder:
            for frame in [*frames(0, 1.5), *frames(4, 5.5)]:
                recorder.feed("mic", frame)

    asyncio.run(main())
    first, second = files_in(tmp_path)
    assert second.name.endswith("Z_4000ms.wav")
    np.testing.assert_array_equal(played(first), float_to_pcm16(NOISE[:24_000]))
    np.testing.assert_array_equal(played(second), float_to_pcm16(NOISE[64_000:88_000]))


def test_streams_have_folders_of_their_own_and_one_ends_without_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with recording(tmp_path) as recorder:
            for frame in frames(0, 1.2):
                recorder.feed("mic", frame)
                recorder.feed("kitchen", frame)
            recorder.end("kitchen")
            await recorder.settled()
            (of_kitchen,) = (tmp_path / "kitchen").iterdir()
            assert len(played(of_kitchen)) == 1.2 * SAMPLE_RATE_HZ
            for frame in frames(1.2, 2.4):
                recorder.feed("mic", frame)

    asyncio.run(main())
    (of_mic,) = (tmp_path / "mic").iterdir()
    assert len(played(of_mic)) == 2.4 * SAMPLE_RATE_HZ


def test_file_is_as_long_as_the_setting_says_and_the_next_goes_on_without_a_hole(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with recording(tmp_path, clock := Clock(), segment_s=10) as recorder:
            for frame in frames(0, 25):
                clock.now += 0.02
                recorder.feed("mic", frame)

    asyncio.run(main())
    parts = [played(path) for path in files_in(tmp_path)]
    assert [len(part) / SAMPLE_RATE_HZ for part in parts] == [10, 10, 5]
    np.testing.assert_array_equal(np.concatenate(parts), float_to_pcm16(NOISE[: 25 * 16_000]))


def test_oldest_files_make_room_and_the_limit_is_never_passed(tmp_path: Path) -> None:
    sizes: list[int] = []

    async def main() -> None:
        async with recording(tmp_path, clock := Clock(), segment_s=5, max_mb=1) as recorder:
            for frame in frames(0, 40):
                clock.now += 0.02
                if recorder.feed("mic", frame):
                    await recorder.settled()
                    sizes.append(sum(path.stat().st_size for path in files_in(tmp_path)))

    asyncio.run(main())
    assert 800_000 < max(sizes) <= 1_000_000
    kept = np.concatenate([played(path) for path in files_in(tmp_path)])
    np.testing.assert_array_equal(kept, float_to_pcm16(NOISE)[-len(kept) :])


def test_streams_that_share_the_limit_keep_the_same_of_each(tmp_path: Path) -> None:
    def kept_s() -> list[float]:
        of_streams = [(tmp_path / f"mic-{number}").iterdir() for number in range(5)]
        return [sum(len(played(path)) for path in of) / SAMPLE_RATE_HZ for of in of_streams]

    least_s = []

    async def main() -> None:
        async with recording(tmp_path, clock := Clock(), max_mb=1) as recorder:
            for frame in frames(0, 40):
                clock.now += 0.02
                handed_over = [recorder.feed(f"mic-{number}", frame) for number in range(5)]
                if any(handed_over):
                    await recorder.settled()
                    least_s.append(min(kept_s()))

    asyncio.run(main())
    # Of 31 s in all, 6 s of each, less a file of a second and a half, and a second that is being written.
    assert least_s[:5] == [1, 2, 3, 4, 5]
    assert min(least_s[5:]) >= 4


def test_what_is_too_old_is_deleted_and_what_is_not_the_recorders_stays(tmp_path: Path) -> None:
    (tmp_path / "mic").mkdir()
    old = tmp_path / "mic" / "20260101T000000.000Z_0ms.wav"
    others = [tmp_path / "mic" / "interview.wav", tmp_path / "notes.txt"]
    for path in (old, *others):
        path.write_bytes(b"x")
        os.utime(path, (NOON - 7_300, NOON - 7_300))

    async def main() -> None:
        async with recording(tmp_path, max_age_h=2) as recorder:  # nothing is heard
            await recorder.settled()
            assert not old.exists()

    asyncio.run(main())
    assert all(path.exists() for path in others)


def test_what_becomes_too_old_is_deleted_though_nothing_is_heard_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        async with recording(tmp_path, clock, look_every_s=0.001, max_age_h=2) as recorder:
            for frame in frames(0, 1):
                recorder.feed("mic", frame)
            recorder.end("mic")
            await recorder.settled()
            (path,) = files_in(tmp_path)
            clock.now = path.stat().st_mtime + 7_100
            await recorder.settled()
            assert path.exists()
            clock.now += 200
            async with asyncio.timeout(10):
                while path.exists():
                    await recorder.settled()

    asyncio.run(main())


def test_full_disk_ends_the_recording_with_one_line_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main() -> None:
        async with recording(tmp_path, look_every_s=0.001) as recorder:
            for frame in frames(0, 3):
                recorder.feed("mic", frame)
            await recorder.settled()
            assert recorder.health.active
            # No file may grow: what a full disk does to a write.
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
            try:
                for frame in frames(3, 8):
                    recorder.feed("mic", frame)
                await recorder.settled()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert not recorder.health.active
            assert recorder.health.written_s == 2
            # What is too old is deleted all the same.
            old = tmp_path / "mic" / "20260101T000000.000Z_0ms.wav"
            old.touch()
            os.utime(old, (0, 0))
            async with asyncio.timeout(10):
                while old.exists():
                    await recorder.settled()

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGXFSZ, before)
    (said,) = caplog.messages
    assert "has stopped" in said
    assert "Make room on the disk" in said
    (path,) = files_in(tmp_path)
    np.testing.assert_array_equal(played(path), float_to_pcm16(NOISE[: 2 * 16_000]))


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.monitor.test_recorder import frames
from monitor.recorder import Recorder
from monitor.recordings import RecordSettings

async def main():
    async with Recorder(Path(sys.argv[1]), RecordSettings()) as recorder:
        for frame in frames(0, 7.5):
            if recorder.feed("mic", frame):
                await recorder.settled()
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_kill_leaves_a_file_that_plays_up_to_the_last_second(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (path,) = files_in(tmp_path)
    np.testing.assert_array_equal(played(path), float_to_pcm16(NOISE[: 7 * 16_000]))


def test_many_streams_in_step_lose_nothing_and_leave_no_file_open(tmp_path: Path) -> None:
    async def main() -> None:
        async with recording(tmp_path) as recorder:
            for frame in frames(0, 3.02):
                # More than may wait of a few streams, in one turn of the loop.
                handed_over = [recorder.feed(f"mic-{number}", frame) for number in range(100)]
                if any(handed_over) and frame.start < 3 * SAMPLE_RATE_HZ:
                    await recorder.settled()
            for number in range(100):
                recorder.end(f"mic-{number}")
            await recorder.settled()
            assert recorder.health.lost_s == 0
            assert not open_files() & set(files_in(tmp_path))

    asyncio.run(main())
    assert [len(played(path)) for path in files_in(tmp_path)] == [round(3.02 * 16_000)] * 100


def test_source_that_can_wait_loses_nothing_to_those_that_cannot(tmp_path: Path) -> None:
    async def main() -> None:
        async with recording(tmp_path) as recorder:
            blocked = recorder._worker.call(lambda _: os.read(reading, 1))
            for frame in hundred_seconds():
                recorder.feed("mic", frame)
            for frame in frames(0, 1.5):
                recorder.feed("file", frame, waits=True)
            recorder.end("file")
            os.write(writing, b"x")
            await blocked

    reading, writing = os.pipe()
    try:
        asyncio.run(main())
    finally:
        os.close(reading)
        os.close(writing)
    (kept,) = (tmp_path / "file").iterdir()
    assert len(played(kept)) == 1.5 * SAMPLE_RATE_HZ


def test_disk_that_is_too_slow_costs_audio_and_not_memory_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with recording(tmp_path) as recorder:
            blocked = recorder._worker.call(lambda _: os.read(reading, 1))
            for frame in hundred_seconds():
                recorder.feed("mic", frame)
            assert recorder.health.lost_s == 99 - 64
            os.write(writing, b"x")
        assert blocked.done()

    reading, writing = os.pipe()
    try:
        asyncio.run(main())
    finally:
        os.close(reading)
        os.close(writing)
    (said,) = caplog.messages
    assert "the disk is too slow" in said
    # With a hole between: the last second is no loss, because the end waits for the disk.
    assert [len(played(path)) for path in files_in(tmp_path)] == [64 * 16_000, 16_000]


def test_disk_that_hangs_does_not_keep_the_program_from_ending(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), recording(tmp_path, patience_s=0.05) as recorder:
            recorder._worker.call(lambda _: os.read(reading, 1))
            for frame in frames(0, 1.5):
                recorder.feed("mic", frame)

    reading, writing = os.pipe()
    try:
        asyncio.run(main())
    finally:
        os.close(writing)
    (said,) = caplog.messages
    assert f"the disk of {tmp_path} does not answer" in said


def test_disk_that_hangs_holds_a_source_up_once_and_costs_audio_until_it_goes_on(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        clock = Clock()
        async with asyncio.timeout(20), recording(tmp_path, clock, patience_s=0.5) as recorder:
            recorder._worker.call(lambda _: os.read(reading, 1))
            for frame in hundred_seconds():  # waiting at each would take longer than this may
                if recorder.feed("file", frame, waits=True):
                    await recorder.settled()
            assert recorder.health.lost_s == 99 - 64
            os.write(writing, b"xx")
            recorder.end("file")
            await recorder._worker.call(lambda _: os.read(reading, 1))
            clock.now += 100
            for frame in hundred_seconds():
                recorder.feed("file", frame, waits=True)
            assert recorder.health.lost_s == 99 - 64 + 1

    reading, writing = os.pipe()
    try:
        asyncio.run(main())
    finally:
        os.close(reading)
        os.close(writing)


def test_end_of_many_streams_keeps_the_last_second_of_each(tmp_path: Path) -> None:
    async def main() -> None:
        async with recording(tmp_path) as recorder:
            for number in range(100):  # more than may wait
                for frame in frames(0, 0.5):
                    recorder.feed(f"mic-{number}", frame)

    asyncio.run(main())
    assert [len(played(path)) for path in files_in(tmp_path)] == [8_000] * 100


def test_folder_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def main() -> None:
        async with recording(tmp_path / "file" / "folder"):
            pass

    with pytest.raises(UsageError, match=r"--record .*file/folder: cannot be written"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "value"), [("max_age_h", 0), ("max_mb", 0.5), ("segment_s", 0), ("segment_s", 1e6)]
)
def test_setting_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"record\.{name}"):
        RecordSettings(**{name: value})
