"""Several streams in one process, as a user starts them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from websockets.asyncio.client import connect

from tests.support.monitor_process import RunningMonitor, run_monitor, running_monitor
from tests.support.speech import spoken, write_wav
from tests.support.virtual_microphone import VirtualMicrophone


def recordings(folder: Path) -> list[Path]:
    texts = ("leave me alone", "i am so happy today")
    return [
        write_wav(folder / f"{number}.wav", np.concatenate([spoken(text, after_s=1.0)] * 2))
        for number, text in enumerate(texts)
    ]


def test_each_file_is_a_stream_with_its_own_events(tmp_path: Path) -> None:
    first, second = recordings(tmp_path)
    together = run_monitor(
        *("--input", first, "--input", second, "--stream", "desk", "--stream", "door"),
        *("--no-ws", "--node", "node"),
    )
    assert together.code == 0
    for name, path in (("desk", first), ("door", second)):
        alone = run_monitor("--input", path, "--no-ws", "--node", "node", "--stream", name)
        events = [e for e in together.events if e["source"] == f"/stser/node/{name}"]
        assert [int(e["sequence"]) for e in events] == list(range(1, len(events) + 1))
        told = [e["data"] for e in events if e["type"].endswith("utterance.v1")]
        expected = [e["data"] for e in alone.of("emotion.utterance")]
        assert len(told) == 2
        for one, other in zip(told, expected, strict=True):
            assert one["transcript"] == other["transcript"]
            assert (one["start_ms"], one["end_ms"]) == (other["start_ms"], other["end_ms"])
            # Judged together with others, a verdict may differ in its last digit.
            for emotion, probability in one["posterior"].items():
                assert abs(probability - other["posterior"][emotion]) <= 2e-4


def test_streams_without_a_name_are_numbered_and_too_many_names_are_refused(tmp_path: Path) -> None:
    first, second = recordings(tmp_path)
    done = run_monitor("--input", first, "--input", second, "--no-ws", "--no-asr", "--node", "node")
    assert {e["source"] for e in done.events} == {"/stser/node/mic", "/stser/node/mic-2"}
    refused = run_monitor("--input", first, "--stream", "a", "--stream", "b", "--no-ws")
    assert refused.code == 2
    assert "--stream names 2 streams (a, b), and there are 1" in refused.log


def test_a_damaged_file_does_not_keep_the_other_from_its_end(tmp_path: Path) -> None:
    first, _ = recordings(tmp_path)
    # Cut after the start, which looks whole, in a format that says nothing of its length.
    damaged = tmp_path / "damaged.flac"
    import soundfile

    samples, rate = soundfile.read(first)
    soundfile.write(damaged, np.tile(samples, 4), rate)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4_000] = bytes(4_000)
    damaged.write_bytes(data)
    done = run_monitor(
        *("--input", first, "--input", damaged, "--no-ws", "--no-asr", "--node", "node")
    )
    whole = [e for e in done.of("emotion.utterance") if e["source"] == "/stser/node/mic"]
    assert len(whole) == 2
    stopped = {e["source"] for e in done.of("monitor.stopped")}
    assert stopped == {"/stser/node/mic", "/stser/node/mic-2"}


def test_a_missing_second_file_ends_the_start_of_the_first(tmp_path: Path) -> None:
    first, _ = recordings(tmp_path)
    done = run_monitor("--input", first, "--input", tmp_path / "none.wav", "--no-ws", "--no-asr")
    assert done.code == 2
    assert "none.wav" in done.log


def test_a_subscriber_resumes_each_stream_where_it_left(tmp_path: Path) -> None:
    first, second = recordings(tmp_path)
    flags: tuple[Any, ...] = (
        *("--input", first, "--input", second, "--stream", "desk", "--stream", "door"),
        *("--pace", "realtime", "--ws-port", "0", "--no-asr", "--node", "node"),
    )

    async def main() -> tuple[list[Any], list[Any]]:
        environment = {"XDG_STATE_HOME": str(tmp_path)}
        async with running_monitor(*flags, environment=environment) as monitor:
            await monitor.wait_for("emotion.utterance", 2)
            port = await monitor.port()
            query = "since=0,door:3&types=speech.started,speech.ended,emotion.utterance"
            async with connect(f"ws://127.0.0.1:{port}/events?{query}") as client:
                told = [json.loads(message) async for message in client]
            await monitor.ended()
            lines = [json.loads(line) for line in monitor.lines]
            kinds = ("speech.started", "speech.ended", "emotion.utterance")
            wanted = [e for e in lines if e["type"][10:-3] in kinds]
            return told, wanted

    told, wanted = asyncio.run(main())
    for name, since in (("desk", 0), ("door", 3)):
        source = f"/stser/node/{name}"
        expected = [e for e in wanted if e["source"] == source and int(e["sequence"]) > since]
        assert [e for e in told if e["source"] == source] == expected


def test_health_and_commands_know_each_stream(tmp_path: Path) -> None:
    import urllib.request

    first, second = recordings(tmp_path)

    async def main() -> tuple[Any, list[Any], Any]:
        async with running_monitor(
            *("--input", first, "--input", second, "--stream", "desk", "--stream", "door"),
            *("--pace", "realtime", "--ws-port", "0", "--no-asr", "--journal", "off"),
        ) as monitor:
            port = await monitor.port()
            async with connect(f"ws://127.0.0.1:{port}/events?types=device.muted") as client:
                await client.send('{"type":"mute","stream":"door"}')
                muted = json.loads(await client.recv())
                await client.send('{"type":"mute","stream":"attic"}')
                refusal = json.loads(await client.recv())

            def health() -> Any:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
                    return json.loads(answer.read())

            return await asyncio.to_thread(health), [muted], refusal

    health, (muted,), refusal = asyncio.run(main())
    assert muted["source"].endswith("/door")
    assert refusal["code"] == "unknown_stream"
    assert {s["name"]: s["muted"] for s in health["streams"]} == {"desk": False, "door": True}
    assert [s["device"] for s in health["streams"]] == ["0.wav", "1.wav"]


def test_two_microphones_are_heard_apart_and_one_that_stalls_does_not_touch_the_other(
    virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    microphone = virtual_microphone
    desk = write_wav(tmp_path / "desk.wav", spoken("leave me alone", after_s=1.0))
    door = write_wav(tmp_path / "door.wav", spoken("i am so happy today", after_s=1.0))
    flags = (
        *("--device", "fakemic", "--device", "fakedoor", "--stream", "desk", "--stream", "door"),
        *("--ws-port", "0", "--journal", "off", "--node", "node"),
    )

    async def main() -> RunningMonitor:
        async with running_monitor(*flags, environment=microphone.environment) as monitor:
            await monitor.wait_for_log("Listening to")
            await asyncio.gather(
                asyncio.to_thread(microphone.play, desk),
                asyncio.to_thread(microphone.play, door, "spk_door"),
            )
            await monitor.wait_for("emotion.utterance", 2)
            microphone.control("suspend-source", "mic_door", "1")
            await monitor.wait_for("device.lost")
            await asyncio.to_thread(microphone.play, desk)
            await monitor.wait_for("emotion.utterance", 3)
            microphone.control("suspend-source", "mic_door", "0")
            await monitor.wait_for("device.recovered")
            await asyncio.to_thread(microphone.play, door, "spk_door")
            await monitor.wait_for("emotion.utterance", 4)
            assert await monitor.end() == 0
            return monitor

    with microphone.second_microphone():
        monitor = asyncio.run(main())
    heard: dict[str, list[str]] = {}
    for event in monitor.of("emotion.utterance"):
        heard.setdefault(event["source"], []).append(event["data"]["transcript"]["text"])
    assert heard.keys() == {"/stser/node/desk", "/stser/node/door"}
    assert [len(texts) for texts in heard.values()] == [2, 2]
    assert all("alone" in text for text in heard["/stser/node/desk"])
    assert all("happy" in text for text in heard["/stser/node/door"])
    (lost,) = monitor.of("device.lost")
    assert (lost["source"], lost["data"]["reason"]) == ("/stser/node/door", "stalled")


def test_microphone_that_is_plugged_in_later_is_found_while_another_is_heard(
    virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    microphone = virtual_microphone
    desk = write_wav(tmp_path / "desk.wav", spoken("leave me alone", after_s=1.0))
    flags = (
        *("--device", "fakemic", "--device", "fakedoor", "--stream", "desk", "--stream", "door"),
        *("--wait-for-device", "--no-asr", "--ws-port", "0", "--journal", "off", "--node", "node"),
    )

    async def main() -> RunningMonitor:
        async with running_monitor(*flags, environment=microphone.environment) as monitor:
            await monitor.wait_for("device.lost")
            await asyncio.to_thread(microphone.play, desk)
            await monitor.wait_for("emotion.utterance")
            with microphone.second_microphone():
                await monitor.wait_for("device.recovered")
                await asyncio.to_thread(microphone.play, desk, "spk_door")
                await monitor.wait_for("emotion.utterance", 2)
                assert await monitor.end() == 0
            return monitor

    monitor = asyncio.run(main())
    first, second = monitor.of("emotion.utterance")
    assert (first["source"], second["source"]) == ("/stser/node/desk", "/stser/node/door")
    (lost,), (recovered,) = monitor.of("device.lost"), monitor.of("device.recovered")
    assert (lost["source"], lost["data"]["reason"]) == ("/stser/node/door", "absent")
    assert (recovered["source"], recovered["data"]["device"]) == ("/stser/node/door", "fakedoor")


def test_capture_that_crashes_is_started_again_and_none_outlives_its_monitor(
    virtual_microphone: VirtualMicrophone,
) -> None:
    microphone = virtual_microphone
    flags = (
        *("--device", "fakemic", "--device", "fakedoor", "--stream", "desk", "--stream", "door"),
        *("--no-asr", "--ws-port", "0", "--journal", "off", "--node", "node"),
    )

    async def main() -> tuple[RunningMonitor, list[psutil.Process]]:
        async with running_monitor(*flags, environment=microphone.environment) as monitor:
            await monitor.wait_for_log("Listening to")
            started = psutil.Process(monitor.pid).children()
            (door,) = [child for child in started if "fakedoor" in child.cmdline()[-1]]
            (desk,) = [child for child in started if child != door]
            door.kill()
            await monitor.wait_for("device.lost")
            await monitor.wait_for("device.recovered")
            assert desk.is_running()
            children = psutil.Process(monitor.pid).children()
            assert len(children) == 2
        return monitor, children  # killed by now

    with microphone.second_microphone():
        monitor, children = asyncio.run(main())
        assert [lost["source"] for lost in monitor.of("device.lost")] == ["/stser/node/door"]
        _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_level_goes_to_who_asks_for_it_and_to_nobody_else(tmp_path: Path) -> None:
    first, second = recordings(tmp_path)

    async def main() -> tuple[list[Any], list[Any], RunningMonitor]:
        flags = ("--input", first, "--input", second, "--stream", "desk", "--stream", "door")
        async with running_monitor(*flags, "--pace", "realtime", "--ws-port", "0") as monitor:
            url = f"ws://127.0.0.1:{await monitor.port()}/events"
            async with (
                connect(f"{url}?types=audio.level&stream=door") as meter,
                connect(url) as other,
            ):
                levels = [json.loads(message) async for message in meter]
                return levels, [json.loads(message) async for message in other], monitor

    levels, told, monitor = asyncio.run(main())
    assert {level["source"].rpartition("/")[2] for level in levels} == {"door"}
    said = [level["data"]["level_dbfs"] for level in levels if level["data"]["speech"]]
    quiet = [level["data"]["level_dbfs"] for level in levels if not level["data"]["speech"]]
    assert np.median(said) > np.median(quiet) + 20
    assert all("sequence" not in level for level in levels)
    at_ms = [level["data"]["at_ms"] for level in levels]
    assert at_ms == sorted(at_ms)
    assert told
    assert not [event for event in told if "level" in event["type"]]
    assert not monitor.of("audio.level")
