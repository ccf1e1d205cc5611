"""The system's own limits on memory: too little to start with, just enough, and none left in the middle of the work."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.assembly import DEMO
from monitor.memory import LIMITS
from tests.support.monitor_process import environment_of

ROOT = Path(__file__).parents[2]
FLAGS = ("--input", str(DEMO), "--journal", "off", "--ws-port", "0")
DEADLINE_S = 30


def started(*flags: str, ulimit: str = "-v", mb: int | None = None) -> subprocess.Popen[str]:
    """The program, under a limit of the shell where one is given."""
    limit = "unlimited" if mb is None else str(mb << 10)
    command = [sys.executable, "-m", "monitor", *FLAGS, *flags]
    return subprocess.Popen(
        ["sh", "-c", f'ulimit {ulimit} {limit} && exec "$@"', "sh", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment_of({}),
    )


def to_its_end(program: subprocess.Popen[str]) -> tuple[str, str]:
    """What it still writes, to standard output and error; one that hangs is killed."""
    try:
        return program.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        program.kill()
        raise


@pytest.mark.parametrize(
    ("ulimit", "mb"),
    # With 400 MB, native code of the recogniser would wait for ever for memory that it does not get.
    [("-v", 60), ("-v", 250), ("-v", 400), ("-d", 200)],
)
def test_limit_that_leaves_too_little_to_start_with_is_named_with_the_remedy(
    ulimit: str, mb: int
) -> None:
    with started(ulimit=ulimit, mb=mb) as program:
        out, log = to_its_end(program)
    assert program.returncode == 1
    assert out == ""
    (line,) = log.splitlines()
    assert line.startswith(f"stser-monitor: this process may have {mb} MB of ")
    assert f"(ulimit {ulimit}, " in line
    assert "Lift that limit" in line


@pytest.mark.parametrize(("command", "needed_mb"), [(row[2], row[-1]) for row in LIMITS])
def test_limit_that_is_said_to_be_enough_is_enough(command: str, needed_mb: int) -> None:
    with started(ulimit=command.removeprefix("ulimit "), mb=needed_mb) as program:
        out, log = to_its_end(program)
    assert program.returncode == 0, log
    kinds = [json.loads(line)["type"] for line in out.splitlines()]
    assert kinds.count("org.stser.emotion.utterance.v1") == 8
    assert "Traceback" not in log


def test_program_that_gets_no_more_memory_while_it_works_says_so_and_ends_in_order() -> None:
    with started("--pace", "realtime") as program:
        assert program.stdout is not None
        first = program.stdout.readline()
        held = re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{program.pid}/status").read_text())
        assert held is not None
        limit = int(held[1]) << 10
        resource.prlimit(program.pid, resource.RLIMIT_AS, (limit, limit))
        rest, log = to_its_end(program)
    events = [json.loads(line) for line in (first + rest).splitlines()]
    assert program.returncode == 1, log
    assert "stser-monitor: the system gives this process no more memory." in log
    assert "Traceback" not in log
    assert events[-1]["type"] == "org.stser.monitor.stopped.v1"
