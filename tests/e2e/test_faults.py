"""The program through faults of its microphone: it goes on, and it says what it has missed."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.support.monitor_process import DEADLINE_S, running_monitor
from tests.support.speech import spoken, write_wav
from tests.support.virtual_microphone import running_virtual_microphone, silent_machine

FLAGS = ("--no-ws", "--journal", "off")


def test_an_audio_server_that_crashes_costs_its_time_and_nothing_that_follows(
    tmp_path: Path,
) -> None:
    talk = write_wav(tmp_path / "talk.wav", spoken("leave me alone", before_s=0.6, after_s=0.6))

    async def main() -> None:
        with running_virtual_microphone() as microphone:
            async with running_monitor(*FLAGS, environment=microphone.environment) as monitor:
                await monitor.wait_for("monitor.started")
                microphone.kill()
                (lost,) = await monitor.wait_for("device.lost")
                assert lost["data"]["reason"] == "ended"
                await asyncio.to_thread(microphone.start)
                (recovered,) = await monitor.wait_for("device.recovered")
                await asyncio.to_thread(microphone.play, talk)
                (utterance,) = await monitor.wait_for("emotion.utterance")
                assert utterance["data"]["transcript"]["text"] == "leave me alone"
                assert utterance["data"]["start_ms"] >= recovered["data"]["at_ms"]
                assert await monitor.end() == 0
                (stopped,) = monitor.of("monitor.stopped")
                assert stopped["data"]["dropped"]["gaps"] == 1
                assert monitor.of("device.overflow") == []

    asyncio.run(asyncio.wait_for(main(), 3 * DEADLINE_S))


def test_a_signal_ends_the_program_in_order_although_the_audio_server_hangs() -> None:
    async def main() -> None:
        with running_virtual_microphone() as microphone:
            async with running_monitor(*FLAGS, environment=microphone.environment) as monitor:
                await monitor.wait_for("monitor.started")
                microphone.freeze()
                (lost,) = await monitor.wait_for("device.lost")
                assert lost["data"]["reason"] == "stalled"
                assert await monitor.end(signal.SIGTERM) == 0
                assert len(monitor.of("monitor.stopped")) == 1

    asyncio.run(asyncio.wait_for(main(), 3 * DEADLINE_S))


def test_a_microphone_that_comes_after_the_start_is_waited_for_where_told_so() -> None:
    async def main() -> None:
        with silent_machine() as microphone:
            flags = (*FLAGS, "--wait-for-device")
            async with running_monitor(*flags, environment=microphone.environment) as monitor:
                (lost,) = await monitor.wait_for("device.lost")
                assert lost["data"]["reason"] == "absent"
                await asyncio.to_thread(microphone.start)
                await monitor.wait_for("device.recovered")
                assert await monitor.end() == 0

    asyncio.run(asyncio.wait_for(main(), 3 * DEADLINE_S))
