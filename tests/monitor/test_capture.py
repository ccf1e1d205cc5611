"""The microphone: real PortAudio on a real sound server, whose only source is what a test plays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.capture import CaptureSettings, DeviceSource
from monitor.capture_process import InputProcess
from monitor.errors import CaptureError
from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, AudioFrame, AudioGap
from monitor.portaudio import (
    InputDevice,
    default_device,
    find_again,
    find_device,
    list_devices,
)
from tests.support.speech import silence, write_wav
from tests.support.virtual_microphone import (
    VirtualMicrophone,
)

Sound = NDArray[np.float32]
TONE_HZ, TONE_S, AMPLITUDE = 1_000, 1.0, 0.5


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of 1 kHz, with silence around it."""
    time_s = np.arange(round(TONE_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    samples = (AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * time_s)).astype(np.float32)
    path = tmp_path_factory.mktemp("tone") / "tone.wav"
    return write_wav(path, np.concatenate([silence(0.3), samples, silence(0.3)]))


async def captured(
    source: DeviceSource, microphone: VirtualMicrophone, path: Path
) -> list[AudioFrame | AudioGap]:
    """All that a microphone hears from its opening until a file has been played into it."""
    async with source:
        playing = asyncio.create_task(asyncio.to_thread(microphone.play, path))
        playing.add_done_callback(lambda _: source.stop())
        items = [item async for item in source if isinstance(item, AudioFrame | AudioGap)]
        await playing
    return items


def loud_part(items: list[AudioFrame | AudioGap]) -> Sound:
    samples = np.concatenate([item.samples for item in items if isinstance(item, AudioFrame)])
    loud = np.flatnonzero(np.abs(samples) > AMPLITUDE / 4)
    assert len(loud), "nothing was heard"
    return samples[loud[0] : loud[-1] + 1]


def check_is_the_tone(sound: Sound) -> None:
    assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(TONE_S, abs=0.02)
    middle = sound[len(sound) // 10 : len(sound) // 10 * 9]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * SAMPLE_RATE_HZ / len(middle) == pytest.approx(TONE_HZ, abs=2)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(AMPLITUDE / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("block_ms", [5, 13, 20, 200])
def test_what_is_played_arrives_at_16_khz_whatever_the_block(
    in_process_microphone: VirtualMicrophone, tone: Path, block_ms: int
) -> None:
    source = DeviceSource(CaptureSettings(block_ms=block_ms))
    items = asyncio.run(captured(source, in_process_microphone, tone))
    check_is_the_tone(loud_part(items))
    clock = 0
    for item in items:
        assert item.start == clock
        clock += item.length if isinstance(item, AudioGap) else FRAME_SAMPLES
    assert all(len(item.samples) == FRAME_SAMPLES for item in items if isinstance(item, AudioFrame))


def test_several_channels_are_heard_as_their_mean(
    in_process_microphone: VirtualMicrophone, tone: Path
) -> None:
    source = DeviceSource(CaptureSettings(channels=2))
    check_is_the_tone(loud_part(asyncio.run(captured(source, in_process_microphone, tone))))


def test_a_device_can_be_chosen_by_a_part_of_its_name_or_by_its_index(
    in_process_microphone: VirtualMicrophone, tone: Path
) -> None:
    (fake,) = [device for device in list_devices() if device.name == "fakemic"]
    for choice in ("FakeM", fake.index, str(fake.index)):
        source = DeviceSource(CaptureSettings(device=choice))
        check_is_the_tone(loud_part(asyncio.run(captured(source, in_process_microphone, tone))))
        assert source.name == "fakemic"


def test_the_default_microphone_is_listed_with_its_own_rate(
    in_process_microphone: VirtualMicrophone,
) -> None:
    default = default_device()
    assert default is not None
    assert default in list_devices()
    assert default.channels >= 1
    assert default.sample_rate_hz >= 8_000


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("no such thing", r"no microphone whose name contains 'no such thing'\. There are: \d+ '"),
        (4_711, r"there is no microphone with index 4711\. There are: .*'fakemic'"),
        ("4711", r"there is no microphone with index 4711\."),
    ],
)
def test_an_unknown_device_is_refused_with_a_list_of_those_there_are(
    in_process_microphone: VirtualMicrophone, choice: int | str, message: str
) -> None:
    async def main() -> None:
        async with DeviceSource(CaptureSettings(device=choice)):
            pass

    with pytest.raises(CaptureError, match=message) as refused:
        asyncio.run(main())
    assert refused.value.exit_code == 3
    assert "stser-capture" not in live_threads()


def recordings(microphone: VirtualMicrophone) -> list[str]:
    """Who listens to the sound server."""
    return microphone.control("list", "short", "source-outputs").splitlines()


def live_threads() -> set[str]:
    """Names of this process's threads, without the number that a pool gives each."""
    for thread in threading.enumerate():
        if thread.name.startswith("stser-capture"):
            thread.join(5)
    return {thread.name.rpartition("_")[0] or thread.name for thread in threading.enumerate()}


def test_the_device_is_closed_on_the_way_out_whatever_happened_inside(
    in_process_microphone: VirtualMicrophone,
) -> None:
    before = recordings(in_process_microphone)

    async def main() -> None:
        async with DeviceSource() as source:
            async for _ in source:
                assert len(recordings(in_process_microphone)) == len(before) + 1
                raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        asyncio.run(main())
    assert recordings(in_process_microphone) == before
    assert "stser-capture" not in live_threads()


def test_a_device_can_be_opened_again_and_again(
    in_process_microphone: VirtualMicrophone, tone: Path
) -> None:
    before = recordings(in_process_microphone)
    for _ in range(3):
        items = asyncio.run(captured(DeviceSource(), in_process_microphone, tone))
        check_is_the_tone(loud_part(items))
    assert recordings(in_process_microphone) == before


def test_stopping_ends_the_stream_although_the_microphone_goes_on(
    in_process_microphone: VirtualMicrophone,
) -> None:
    async def main() -> int:
        n_frames = 0
        async with DeviceSource() as source:
            async for _ in source:
                n_frames += 1
                if n_frames == 5:
                    source.stop()
                    source.stop()
        return n_frames

    assert asyncio.run(asyncio.wait_for(main(), 10)) >= 5


@pytest.mark.parametrize("opening", [False, True])
def test_stopping_before_or_while_the_device_is_opened_ends_the_stream(
    in_process_microphone: VirtualMicrophone, opening: bool
) -> None:
    async def main() -> None:
        source = DeviceSource()
        if opening:
            asyncio.get_running_loop().call_soon(source.stop)
        else:
            source.stop()
        async with asyncio.timeout(10), source:
            async for _ in source:
                pass

    asyncio.run(main())


def test_a_consumer_that_is_too_slow_is_told_what_it_has_missed(
    in_process_microphone: VirtualMicrophone,
) -> None:
    async def main() -> list[AudioFrame | AudioGap]:
        items: list[AudioFrame | AudioGap] = []
        settings = CaptureSettings(block_ms=20, backlog_ms=200)
        async with DeviceSource(settings) as source:
            async for item in source:
                assert isinstance(item, AudioFrame | AudioGap)
                items.append(item)
                if len(items) == 5:
                    await asyncio.sleep(1.0)  # the microphone does not wait
                if len(items) == 40:
                    source.stop()
        return items

    items = asyncio.run(asyncio.wait_for(main(), 20))
    gaps = [item for item in items if isinstance(item, AudioGap)]
    assert {gap.reason for gap in gaps} == {"backlog"}
    # Of the second, at most 200 ms were kept.
    assert sum(gap.length for gap in gaps) > 0.6 * SAMPLE_RATE_HZ
    clock = 0
    for item in items:
        assert item.start == clock
        clock += item.length if isinstance(item, AudioGap) else FRAME_SAMPLES


# --- in a process of its own --------------------------------------------------------------------


def open_in_a_process_of_its_own(choice: int) -> None:
    microphone = InputProcess()
    try:
        microphone.open(choice, None, channels=1, block_ms=20, post=print, finished=print)
    finally:
        microphone.close()


def test_python_files_where_the_monitor_was_started_are_not_run_for_a_microphone(
    in_process_microphone: VirtualMicrophone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("open('was run', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptureError, match="there is no microphone with index 4711"):
        open_in_a_process_of_its_own(4_711)
    assert not (tmp_path / "was run").exists()


def test_a_microphone_whose_process_ends_at_once_is_not_said_to_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "none")  # with which no interpreter starts
    with pytest.raises(CaptureError, match="process ended before the device was open"):
        open_in_a_process_of_its_own(0)


# --- choosing ----------------------------------------------------------------------------------

DEVICES = [
    InputDevice(0, "Built-in", 2, 44_100, False),
    InputDevice(3, "USB Microphone", 1, 48_000, True),
    InputDevice(4, "USB Microphone (rear)", 1, 48_000, False),
]


@pytest.mark.parametrize(
    ("choice", "index"), [(None, 3), (0, 0), ("4", 4), ("built", 0), ("REAR", 4), ("usb mic", None)]
)
def test_a_choice_means_one_device_or_is_refused(
    choice: int | str | None, index: int | None
) -> None:
    if index is not None:
        assert find_device(choice, DEVICES).index == index
        return
    with pytest.raises(CaptureError, match=r"part of several .+: 3 'USB.+, 4 'USB.+ or the index"):
        find_device(choice, DEVICES)


def test_a_device_chosen_by_index_is_found_by_its_name_once_indices_have_changed() -> None:
    built_in, usb, rear = DEVICES
    before = InputDevice(7, "USB Microphone", 1, 48_000, False)
    assert find_again(7, before, DEVICES) == usb
    assert find_again("7", before, DEVICES) == usb
    assert find_again(7, None, [before, *DEVICES]) == before
    assert find_again(None, built_in, DEVICES) == usb, "the default may be another one now"
    twin = InputDevice(5, "USB Microphone (rear)", 1, 48_000, False)
    assert find_again(4, rear, [twin, rear]) == rear
    with pytest.raises(CaptureError, match="no microphone whose name contains 'Built-in'"):
        find_again(0, built_in, [usb, rear])


def test_a_whole_name_is_meant_even_where_it_is_part_of_another() -> None:
    assert find_device("usb microphone", DEVICES).index == 3


@pytest.mark.parametrize("choice", [None, 0, "usb"])
def test_a_machine_without_a_microphone_is_told_so(choice: int | str | None) -> None:
    with pytest.raises(CaptureError, match=r"no microphone at all\. Plug one in, or use --input"):
        find_device(choice, [])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CaptureSettings(channels=0), r"capture\.channels \(0\) must lie between 1 and 64"),
        (lambda: CaptureSettings(block_ms=4), r"capture\.block_ms \(4\) must lie between 5 and"),
        (lambda: CaptureSettings(block_ms=201), r"capture\.block_ms \(201\) must lie between"),
        (lambda: CaptureSettings(backlog_ms=39), r"capture\.backlog_ms \(39\) .+ two blocks \(40"),
        (lambda: CaptureSettings(backlog_ms=60_001), r"capture\.backlog_ms \(60001\) must be"),
        (lambda: CaptureSettings(stalled_after_s=0.4), r"capture\.stalled_after_s \(0\.4\) must"),
        (lambda: CaptureSettings(quiet_after_s=0.5), r"capture\.quiet_after_s \(0\.5\) must lie"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(
    make: Callable[[], CaptureSettings], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()
