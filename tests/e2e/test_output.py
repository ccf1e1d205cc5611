"""The program's standard output, where its reader stands still."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.support.monitor_process import DEADLINE_S, environment_of, program
from tests.support.speech import SAMPLE_RATE_HZ, silence, write_wav

ENOUGH = 70
"""Events: more than wait before a file does, and fewer than the file has."""


@pytest.fixture(scope="module")
def babble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that comes and goes: many short segments."""
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, int(0.3 * SAMPLE_RATE_HZ))
    once = np.concatenate([noise.astype(np.float32), silence(1.0)])
    return write_wav(tmp_path_factory.mktemp("babble") / "babble.wav", np.tile(once, 60))


@contextmanager
def unread(path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A run on a file whose output, a pipe that holds a dozen events, nobody has begun to read."""
    flags = ["--input", str(path), "--no-asr", "--ws-port", "0", "--journal", "off"]
    with subprocess.Popen(
        [*program(), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment_of({}),
        pipesize=4_096,
    ) as process:
        try:
            assert process.stderr is not None
            told = next(found for line in process.stderr if (found := re.search(rb"http\S+", line)))
            url = told[0].decode() + "healthz"
            while newest(url) < ENOUGH:
                pass
            yield process, url
        finally:
            process.kill()


def newest(url: str) -> int:
    """Sequence of the newest event, of a program that answers."""
    with urllib.request.urlopen(url, timeout=DEADLINE_S / 3) as response:
        return int(json.load(response)["journal"]["newest"].get("mic", 0))


def test_file_waits_for_the_reader_of_its_events_who_gets_all_of_them(babble: Path) -> None:
    with unread(babble) as (process, url):
        assert process.stdout is not None
        before, stopped_at = 0, newest(url)
        while stopped_at != before:
            before, stopped_at = stopped_at, newest(url)
        events = [json.loads(line) for line in process.stdout]
        assert process.wait(DEADLINE_S) == 0
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "org.stser.monitor.stopped.v1"
    assert stopped_at < 2 * ENOUGH < len(events)


def test_signal_ends_a_program_whose_output_nobody_reads(babble: Path) -> None:
    with unread(babble) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
