"""A limit on memory: what is shed, and when the program ends."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.assembly import DEMO
from monitor.errors import ModelError
from monitor.memory import LOOKS_TO_SHED, MemorySettings, MemoryWatch, held_mb, ran_out

ROOT = Path(__file__).parents[2]


def told(held: list[float], limit_mb: float = 100.0) -> list[str]:
    """What a watch says of memory that is held look by look."""
    said: list[str] = []
    values = iter(held)
    watch = MemoryWatch(
        MemorySettings(limit_mb=limit_mb),
        spare=lambda sparing: said.append("spare" if sparing else "go on"),
        stop=lambda: said.append("stop"),
        held=lambda: next(values),
    )
    for _ in held:
        watch.look()
    return said


def test_beyond_the_limit_is_spared_and_within_it_no_longer() -> None:
    assert told([90, 110, 120, 90, 90, 101]) == ["spare", "go on", "spare"]


def test_what_stays_beyond_the_limit_ends_the_program_once() -> None:
    assert told([110.0] * (LOOKS_TO_SHED - 1)) == ["spare"]
    assert told([110.0] * (LOOKS_TO_SHED + 5)) == ["spare", "stop"]


def test_what_is_held_is_what_the_system_says() -> None:
    before = held_mb()
    block = bytearray(50_000_000)
    assert 45 < held_mb() - before < 60
    del block


def test_lack_of_memory_is_seen_in_what_it_has_led_to_and_in_nothing_else() -> None:
    disguised = ModelError("it may be damaged")
    disguised.__cause__ = OSError("libvosk.so: failed to map segment from shared object")
    for error in (MemoryError(), OSError(errno.ENOMEM, "no"), disguised):
        assert ran_out(error)
        assert ran_out(ExceptionGroup("streams", [ValueError(), error]))
    for error in (ValueError(), OSError(errno.ENOSPC, "full"), ModelError("damaged")):
        assert not ran_out(error)


def test_limit_that_the_models_alone_would_pass_is_refused() -> None:
    with pytest.raises(ValueError, match=r"memory\.limit_mb \(10\) must be 0 or from 50"):
        MemorySettings(limit_mb=10)


def test_program_beyond_its_limit_publishes_what_was_said_and_ends_with_the_remedy(
    tmp_path: Path,
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[memory]\nlimit_mb = 51\n[websocket]\nenabled = false\n", "utf-8")
    flags = ("--pace", "realtime", "--events", str(tmp_path / "events"), "--journal", "off")
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "--input", str(DEMO), "--config", str(settings), *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=100,
    )
    assert done.returncode == 1
    assert "memory.limit_mb (51)" in done.stderr
    assert "Traceback" not in done.stderr
    events = (tmp_path / "events").read_text("utf-8").splitlines()
    assert "monitor.stopped" in events[-1]
    begun = sum("speech.started" in event for event in events)
    assert begun == sum("emotion.utterance" in event for event in events) > 0
