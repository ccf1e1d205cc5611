"""A microphone that another program holds: said at the start, waited for where told so, and found again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.capture import CaptureSettings, DeviceSource
from monitor.errors import DeviceHeldError
from monitor.portaudio import list_devices
from tests.support.exclusive_microphone import (
    NAME,
    ExclusiveMicrophone,
    running_exclusive_microphone,
)
from tests.support.monitor_process import DEADLINE_S, run_monitor, running_monitor
from tests.support.speech import spoken, write_wav
from tests.support.virtual_microphone import heard_in_process

FLAGS = ("--device", NAME, "--no-ws", "--journal", "off")
HELD = "deskmic (Exclusive microphone): another program holds the microphone."


@pytest.fixture
def microphone() -> Iterator[ExclusiveMicrophone]:
    with running_exclusive_microphone() as microphone:
        yield microphone


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "talk.wav", spoken("leave me alone", before_s=0.6, after_s=1.0))


def test_start_at_a_held_microphone_ends_with_the_reason_and_the_remedy(
    microphone: ExclusiveMicrophone,
) -> None:
    with microphone.held_by_another_program():
        done = run_monitor(*FLAGS, environment=microphone.virtual.environment)
    assert done.code == 3
    line = done.log.splitlines()[-1]
    assert "Traceback" not in done.log
    assert line.startswith(f"stser-monitor: {HELD}")
    assert "'fuser -v /dev/snd/*' shows which" in line
    assert "--wait-for-device" in line
    assert done.output == b""


def test_machine_whose_only_microphone_is_held_plays_no_demo(
    microphone: ExclusiveMicrophone,
) -> None:
    with microphone.held_by_another_program():
        done = run_monitor("--no-ws", "--journal", "off", environment=microphone.only_one)
    assert done.code == 3
    assert HELD in done.log


def test_held_microphone_is_among_those_that_are_listed(microphone: ExclusiveMicrophone) -> None:
    with microphone.held_by_another_program():
        done = run_monitor("--list-devices", environment=microphone.virtual.environment)
    assert "deskmic (Exclusive microphone)  (held by another program)" in done.output.decode()
    done = run_monitor("--list-devices", environment=microphone.virtual.environment)
    assert "deskmic" in done.output.decode()
    assert "held" not in done.output.decode()


def test_doctor_names_the_held_microphone_and_what_to_do(microphone: ExclusiveMicrophone) -> None:
    flags = ("--doctor", "--log-format", "json", *FLAGS)
    with microphone.held_by_another_program():
        done = run_monitor(*flags, environment=microphone.virtual.environment)
    findings = {finding["part"]: finding for finding in json.loads(done.output)["findings"]}
    devices = findings["devices"]
    assert done.code == devices["exit_code"] == 3
    assert devices["text"].startswith(HELD)
    assert "End the program that 'fuser -v /dev/snd/*' names" in devices["remedy"]
    assert devices["figures"]["held"] == ["deskmic (Exclusive microphone)"]


def test_held_microphone_is_waited_for_where_told_so_and_heard_when_it_is_let_go(
    microphone: ExclusiveMicrophone, talk: Path
) -> None:
    virtual = microphone.virtual

    async def main() -> None:
        flags = (*FLAGS, "--wait-for-device")
        with microphone.held_by_another_program() as let_go:
            async with running_monitor(*flags, environment=virtual.environment) as monitor:
                (lost,) = await monitor.wait_for("device.lost")
                assert lost["data"]["reason"] == "absent"
                await monitor.wait_for_log("still away: deskmic.*: another program holds")
                assert monitor.of("device.recovered") == []
                await asyncio.to_thread(let_go)
                await monitor.wait_for("device.recovered")
                await asyncio.to_thread(virtual.play, talk)
                (utterance,) = await monitor.wait_for("emotion.utterance")
                assert "alone" in utterance["data"]["transcript"]["text"]
                assert await monitor.end() == 0

    asyncio.run(asyncio.wait_for(main(), 3 * DEADLINE_S))


def test_microphone_that_another_program_took_while_it_was_away_is_heard_when_it_is_let_go(
    microphone: ExclusiveMicrophone, talk: Path
) -> None:
    virtual = microphone.virtual

    async def main() -> None:
        async with running_monitor(*FLAGS, environment=virtual.environment) as monitor:
            await monitor.wait_for("monitor.started")
            virtual.unplug()
            await monitor.wait_for("device.lost")
            with microphone.held_by_another_program() as let_go:
                await asyncio.to_thread(virtual.plug_in)
                await monitor.wait_for_log("still away: deskmic.*: another program holds")
                assert monitor.of("device.recovered") == []
                await asyncio.to_thread(let_go)
                (recovered,) = await monitor.wait_for("device.recovered")
            (lost,) = monitor.of("device.lost")
            assert lost["data"]["reason"] == "ended"
            assert recovered["data"]["device"] == NAME
            assert recovered["data"]["count"] >= 2, "attempts"
            await asyncio.to_thread(virtual.play, talk)
            (utterance,) = await monitor.wait_for("emotion.utterance")
            assert utterance["data"]["start_ms"] >= recovered["data"]["at_ms"]
            assert await monitor.end() == 0

    asyncio.run(asyncio.wait_for(main(), 3 * DEADLINE_S))


def test_microphone_that_was_free_when_it_was_listed_and_is_held_now_is_said_to_be_held(
    microphone: ExclusiveMicrophone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with DeviceSource(CaptureSettings(device=NAME)):
            pass

    with heard_in_process(microphone.virtual, monkeypatch):
        assert NAME in [device.name for device in list_devices()]
        with (
            microphone.held_by_another_program(),
            pytest.raises(DeviceHeldError, match=r"^deskmic: another program holds"),
        ):
            asyncio.run(main())
        asyncio.run(main())
