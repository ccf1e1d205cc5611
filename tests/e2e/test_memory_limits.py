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


def started(*flags: str, limit: tuple[int, int] | None = None) -> subprocess.Popen[str]:
    """The program under a limit of so many MB."""

    def restrict() -> None:
        if limit is not None:
            kind, mb = limit
            resource.setrlimit(kind, (mb << 20, mb << 20))

    return subprocess.Popen(
        [sys.executable, "-m", "monitor", *FLAGS, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment_of({}),
        preexec_fn=restrict,  # noqa: PLW1509 - the child has one thread
    )


def to_its_end(program: subprocess.Popen[str]) -> tuple[str, str]:
    """What it still writes, to standard output and error; one that hangs is killed."""
    try:
        return program.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        program.kill()
        raise


@pytest.mark.parametrize(
    ("kind", "name", "mb"),
    [
        (resource.RLIMIT_AS, "address space (ulimit -v", 60),
        (resource.RLIMIT_AS, "address space (ulimit -v", 250),
        # Native code that the recogniser is made of waits for ever for memory that it does not get.
        (resource.RLIMIT_AS, "address space (ulimit -v", 400),
        (resource.RLIMIT_DATA, "data (ulimit -d", 200),
    ],
)
def test_limit_that_leaves_too_little_to_start_with_is_named_with_the_remedy(
    kind: int, name: str, mb: int
) -> None:
    with started(limit=(kind, mb)) as program:
        out, log = to_its_end(program)
    assert program.returncode == 1
    assert out == ""
    (line,) = log.splitlines()
    assert line.startswith(f"stser-monitor: this process may have {mb} MB of {name}")
    assert "Lift that limit" in line


@pytest.mark.parametrize(("kind", "needed_mb"), [(row[0], row[-1]) for row in LIMITS])
def test_limit_that_is_said_to_be_enough_is_enough(kind: int, needed_mb: int) -> None:
    with started(limit=(kind, needed_mb)) as program:
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
