"""What becomes of a microphone, produced for real: crashed, unplugged, stalled, frozen, muted, clipped, absent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from monitor.capture import CaptureSettings, DeviceSource
from monitor.errors import CaptureError
from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    AudioGap,
    DeviceClipping,
    DeviceHappening,
    DeviceLost,
    DeviceMuted,
    DeviceRecovered,
    DeviceSilent,
)
from tests.support.speech import write_wav
from tests.support.virtual_microphone import (
    VirtualMicrophone,
    heard_in_process,
    running_virtual_microphone,
    silent_machine,
)

SETTINGS = CaptureSettings(stalled_after_s=0.5, quiet_after_s=1.0)
DEADLINE_S = 60

Heard = AudioFrame | AudioGap | DeviceHappening


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    """One of the test's own, which it may break."""
    with running_virtual_microphone() as microphone, heard_in_process(microphone, monkeypatch):
        yield microphone


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of a tone far beyond full scale."""
    time_s = np.arange(60 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    samples = np.clip(3 * np.sin(2 * np.pi * 440 * time_s), -1, 1).astype(np.float32)
    return write_wav(tmp_path_factory.mktemp("loud") / "loud.wav", samples)


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    time_s = np.arange(60 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    samples = (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    return write_wav(tmp_path_factory.mktemp("tone") / "tone.wav", samples)


class Listening:
    """A source, listened to step by step, with everything that it has said."""

    def __init__(self, source: DeviceSource) -> None:
        self.source = source
        self.heard: list[Heard] = []
        self._items = aiter(source)

    async def until(self, reached: Callable[[Heard], bool]) -> Heard:
        """Listen on until something is heard that is waited for."""
        async for item in self._items:
            self.heard.append(item)
            if reached(item):
                return item
        raise AssertionError("the stream has ended")

    async def until_loud(self) -> None:
        await self.until(lambda item: isinstance(item, AudioFrame) and item.samples.max() > 0.1)

    async def until_lost(self) -> DeviceLost:
        lost = await self.until(lambda item: isinstance(item, DeviceLost))
        assert isinstance(lost, DeviceLost)
        return lost

    async def until_recovered(self) -> DeviceRecovered:
        recovered = await self.until(lambda item: isinstance(item, DeviceRecovered))
        assert isinstance(recovered, DeviceRecovered)
        return recovered

    def check_clock(self) -> None:
        """Frames and gaps follow each other on one clock."""
        clock = 0
        for item in self.heard:
            if isinstance(item, AudioFrame):
                assert item.start == clock
                clock += FRAME_SAMPLES
            elif isinstance(item, AudioGap):
                assert item.start == clock
                clock += item.length

    def lost_samples(self) -> int:
        return sum(i.length for i in self.heard if isinstance(i, AudioGap) and i.reason == "lost")


def listen(story: Callable[[Listening], object], settings: CaptureSettings = SETTINGS) -> Listening:
    """Tell a story around an open microphone; returns what was heard."""

    async def main() -> Listening:
        async with asyncio.timeout(DEADLINE_S), DeviceSource(settings) as source:
            listening = Listening(source)
            await story(listening)  # type: ignore[misc]
            source.stop()
            return listening

    listening = asyncio.run(main())
    listening.check_clock()
    return listening


def test_an_audio_server_that_crashes_is_waited_for_and_the_clock_goes_on(
    microphone: VirtualMicrophone, tone: Path
) -> None:
    async def story(listening: Listening) -> None:
        with microphone.playing(tone):
            await listening.until_loud()
        microphone.kill()
        lost = await listening.until_lost()
        assert (lost.reason, lost.count) == ("ended", 1)
        await asyncio.to_thread(microphone.start)
        recovered = await listening.until_recovered()
        with microphone.playing(tone):
            await listening.until_loud()
        assert recovered.at == lost.at + recovered.lost
        # With what the resampler and the unfinished frame held when it went.
        held = 3 * FRAME_SAMPLES
        assert 0 <= listening.lost_samples() - recovered.lost <= held

    listen(story)


def test_a_device_that_is_unplugged_is_heard_again_when_it_is_plugged_in_each_time(
    microphone: VirtualMicrophone, tone: Path
) -> None:
    async def story(listening: Listening) -> None:
        for count in (1, 2):
            with microphone.playing(tone):
                await listening.until_loud()
            microphone.unplug()
            lost = await listening.until_lost()
            assert (lost.reason, lost.count) == ("ended", count)
            await asyncio.to_thread(microphone.plug_in)
            await listening.until_recovered()
        with microphone.playing(tone):
            await listening.until_loud()

    listen(story)


def test_a_device_that_stalls_without_an_error_is_noticed_and_opened_again(
    microphone: VirtualMicrophone, tone: Path
) -> None:
    async def story(listening: Listening) -> None:
        with microphone.playing(tone):
            await listening.until_loud()
        microphone.control("suspend-source", "mic", "1")
        assert (await listening.until_lost()).reason == "stalled"
        microphone.control("suspend-source", "mic", "0")
        recovered = await listening.until_recovered()
        assert recovered.lost > SETTINGS.stalled_after_s * SAMPLE_RATE_HZ * 0.9
        with microphone.playing(tone):
            await listening.until_loud()

    listen(story)


def test_an_audio_server_that_hangs_is_lost_and_recovered_when_it_goes_on(
    microphone: VirtualMicrophone, tone: Path
) -> None:
    async def story(listening: Listening) -> None:
        await listening.until(lambda item: isinstance(item, AudioFrame))
        microphone.freeze()
        assert (await listening.until_lost()).reason == "stalled"
        microphone.thaw()
        await listening.until_recovered()
        with microphone.playing(tone):
            await listening.until_loud()

    listen(story)


def test_a_microphone_that_comes_back_with_another_rate_is_heard_at_the_same_pitch(
    microphone: VirtualMicrophone, tone: Path
) -> None:
    async def story(listening: Listening) -> None:
        await listening.until(lambda item: isinstance(item, AudioFrame))
        microphone.unplug()
        await listening.until_lost()
        await asyncio.to_thread(microphone.plug_in, 48_000)
        await listening.until_recovered()
        with microphone.playing(tone):
            await listening.until_loud()
            for _ in range(50):
                await listening.until(lambda item: isinstance(item, AudioFrame))

    heard = listen(story).heard[-40:]
    samples = np.concatenate([item.samples for item in heard if isinstance(item, AudioFrame)])
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) * SAMPLE_RATE_HZ / len(samples) == pytest.approx(440, abs=3)


def test_a_loop_that_was_busy_takes_no_device_for_stalled(
    microphone: VirtualMicrophone,
) -> None:
    async def story(listening: Listening) -> None:
        for _ in range(3):
            await listening.until(lambda item: isinstance(item, AudioFrame))
            # Blocks the loop while it waits for audio, for longer than a stall.
            asyncio.get_running_loop().call_soon(time.sleep, 0.8)
            for _ in range(10):
                await listening.until(lambda item: isinstance(item, AudioFrame))

    assert not [item for item in listen(story).heard if isinstance(item, DeviceLost)]


def test_blocks_that_come_late_in_a_burst_are_no_loss(
    microphone: VirtualMicrophone, tone: Path
) -> None:
    async def story(listening: Listening) -> None:
        with microphone.playing(tone):
            await listening.until_loud()
            microphone.freeze()
            await asyncio.sleep(0.4)  # the fault itself: shorter than a stall
            microphone.thaw()
            for _ in range(100):
                await listening.until(lambda item: isinstance(item, AudioFrame))

    heard = listen(story, CaptureSettings(stalled_after_s=5.0)).heard
    assert not [item for item in heard if isinstance(item, DeviceLost)]
    assert not [item for item in heard if isinstance(item, AudioGap) and item.reason == "backlog"]


def test_a_microphone_that_was_chosen_by_index_is_found_again_by_its_name(
    microphone: VirtualMicrophone, tone: Path
) -> None:
    from monitor.portaudio import list_devices

    (index,) = [device.index for device in list_devices() if device.name == "fakemic"]

    async def story(listening: Listening) -> None:
        await listening.until(lambda item: isinstance(item, AudioFrame))
        microphone.unplug()
        await listening.until_lost()
        await asyncio.to_thread(microphone.plug_in)
        assert (await listening.until_recovered()).device == "fakemic"

    listen(story, CaptureSettings(device=index, stalled_after_s=0.5))


def test_stopping_while_the_device_is_away_ends_at_once(microphone: VirtualMicrophone) -> None:
    async def story(listening: Listening) -> None:
        await listening.until(lambda item: isinstance(item, AudioFrame))
        microphone.kill()
        await listening.until_lost()
        asyncio.get_running_loop().call_later(0.1, listening.source.stop)
        with pytest.raises(AssertionError, match="the stream has ended"):
            await asyncio.wait_for(listening.until_recovered(), 5)

    listen(story)


def test_without_a_device_at_the_start_it_is_waited_for_where_told_so(
    monkeypatch: pytest.MonkeyPatch, tone: Path
) -> None:
    with silent_machine() as microphone, heard_in_process(microphone, monkeypatch):

        async def story(listening: Listening) -> None:
            lost = await listening.until_lost()
            assert (lost.device, lost.reason, lost.at) == ("microphone", "absent", 0)
            await asyncio.to_thread(microphone.start)
            recovered = await listening.until_recovered()
            assert recovered.device != "microphone"
            with microphone.playing(tone):
                await listening.until_loud()

        with pytest.raises(CaptureError, match="no microphone at all"):
            listen(story)
        listen(story, CaptureSettings(wait_for_device=True, stalled_after_s=0.5))


def test_a_muted_microphone_is_reported_and_so_is_its_return(
    microphone: VirtualMicrophone, tone: Path
) -> None:
    async def story(listening: Listening) -> None:
        with microphone.playing(tone):
            await listening.until_loud()
            microphone.control("set-source-mute", "mic", "1")
            # Until the player began, there was digital silence, too.
            began = await listening.until(
                lambda item: isinstance(item, DeviceMuted) and item.active
            )
            assert isinstance(began, DeviceMuted)
            assert began.length == SAMPLE_RATE_HZ
            microphone.control("set-source-mute", "mic", "0")
            over = await listening.until(lambda item: isinstance(item, DeviceMuted))
            assert isinstance(over, DeviceMuted)
            assert not over.active
            assert over.length >= SAMPLE_RATE_HZ

    heard = listen(story).heard
    assert not any(isinstance(item, DeviceSilent) for item in heard)


def test_a_level_that_is_too_high_is_reported(microphone: VirtualMicrophone, loud: Path) -> None:
    async def story(listening: Listening) -> None:
        with microphone.playing(loud):
            began = await listening.until(lambda item: isinstance(item, DeviceClipping))
        assert isinstance(began, DeviceClipping)
        assert began.active
        assert began.count >= 80
        over = await listening.until(lambda item: isinstance(item, DeviceClipping))
        assert isinstance(over, DeviceClipping)
        assert not over.active

    listen(story)
