"""The program with ``--record``: what was heard is kept and nothing else, and that is announced."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from websockets.asyncio.client import ClientConnection, connect

from tests.support.monitor_process import DEADLINE_S, run_monitor, running_monitor
from tests.support.speech import silence, spoken, write_wav

RATE_HZ = 16_000


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.wav"), key=start_of)


def start_of(path: Path) -> int:
    """Where a file begins on the stream's clock, in samples."""
    return int(path.stem.rpartition("_")[2].removesuffix("ms")) * RATE_HZ // 1000


def test_recording_of_a_file_is_the_file(tmp_path: Path) -> None:
    talk = np.concatenate([spoken("leave me alone"), silence(1.5)])
    path = write_wav(tmp_path / "talk.wav", talk)
    done = run_monitor("--input", path, "--no-ws", "--no-asr", "--record", tmp_path / "kept")
    assert done.code == 0
    (started,) = done.of("monitor.started")
    assert started["data"]["recording"] is True
    (kept,) = files_in(tmp_path / "kept")
    assert kept.parent.name == "mic"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    np.testing.assert_array_equal(
        soundfile.read(kept, dtype="int16")[0][: len(talk)], soundfile.read(path, dtype="int16")[0]
    )


def test_no_audio_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "talk.wav", spoken("leave me alone"))
    before = set(tmp_path.rglob("*"))
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}
    done = run_monitor("--input", path, "--no-ws", "--pace", "realtime", environment=environment)
    (started,) = done.of("monitor.started")
    assert started["data"]["recording"] is False
    new = {path.name for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert new
    assert all("sqlite3" in name for name in new)  # the journal


async def some_pass(client: ClientConnection, seconds: float) -> None:
    """Wait until so much more of the stream has been heard, or passed while muted."""
    begun = None
    while True:
        await client.send('{"type":"mark","text":"now"}')
        at_ms = json.loads(await client.recv())["data"]["at_ms"]
        begun = at_ms if begun is None else begun
        if at_ms >= begun + 1_000 * seconds:
            return


def measured(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


def test_what_is_said_while_muted_is_not_in_the_recording_and_a_kill_leaves_it_playable(
    tmp_path: Path,
) -> None:
    loud = np.random.default_rng(1).uniform(-0.5, 0.5, 120 * RATE_HZ).astype(np.float32)
    path = write_wav(tmp_path / "noise.wav", loud)
    folder = tmp_path / "kept"

    async def main() -> tuple[list[dict[str, Any]], str]:
        flags = ["--input", path, "--pace", "realtime", "--ws-port", "0", "--no-asr"]
        async with (
            asyncio.timeout(2 * DEADLINE_S),
            running_monitor(*flags, "--record", folder) as monitor,
        ):
            port = await monitor.port()
            async with connect(f"ws://127.0.0.1:{port}/events?types=device.muted,mark") as client:
                muted = []
                for command in ("mute", "unmute"):
                    await some_pass(client, 2.5)
                    await client.send(json.dumps({"type": command}))
                    muted.append(json.loads(await client.recv()))
                await some_pass(client, 2.5)
            numbers = await asyncio.to_thread(measured, port)
            await monitor.end(signal.SIGKILL)
            return muted, numbers

    (muted, unmuted), numbers = asyncio.run(main())
    first, second = files_in(folder)
    # Each file is what was heard from where it says, and none of it was said while muted.
    for kept in (first, second):
        heard, rate_hz = soundfile.read(kept, dtype="int16")
        assert rate_hz == RATE_HZ
        at = start_of(kept)
        expected, _ = soundfile.read(path, start=at, stop=at + len(heard), dtype="int16")
        np.testing.assert_array_equal(heard, expected)
        assert len(heard) > 1 * RATE_HZ
    length = unmuted["data"]["duration_ms"] * RATE_HZ // 1000
    assert muted["data"]["active"]
    assert start_of(first) + len(soundfile.read(first)[0]) + length == start_of(second)
    assert "stser_recording 1.0" in numbers
    assert "stser_recorded_seconds_total" in numbers
