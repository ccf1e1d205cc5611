"""Inputs guided by coverage, with atheris (extra ``fuzz``): what reaches new code is mutated further."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.fuzz.attack import SLOW_S
from bench.fuzz.seeds import seeds_of
from bench.fuzz.targets import TARGETS

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What atheris has tried."""

    target: str
    inputs: int
    seconds: float
    edges: int
    """Edges of the monitor's code that its inputs have reached."""
    finding: str


def cover(name: str, seconds: float) -> None:
    """Inputs guided by coverage, in this process, which ends with it: 0, or otherwise where one led to an error."""
    import atheris

    quiet = logging.getLogger()
    quiet.addHandler(logging.NullHandler())
    with atheris.instrument_imports(include=["config", "monitor", "stser_core"]):
        import config.loader  # noqa: F401
        import monitor.assembly  # noqa: F401
        import stser_core.checkpoint  # noqa: F401
    corpus = Path(tempfile.mkdtemp(prefix="stser-corpus-"))
    for number, data in enumerate(seeds_of(name)):
        (corpus / str(number)).write_bytes(data)
    limits = (f"-max_total_time={seconds:.0f}", f"-timeout={SLOW_S:.0f}", "-rss_limit_mb=4096")
    told = ("-print_final_stats=1", f"-artifact_prefix={corpus}/", "-max_len=65536")
    atheris.Setup([sys.argv[0], *limits, *told, str(corpus)], TARGETS[name])
    atheris.Fuzz()


def covered(name: str, seconds: float) -> Coverage:
    """The same in a process of its own."""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bench.fuzz", "--in-process", name, "--seconds", str(seconds)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=ROOT,
    )
    said = done.stdout + done.stderr
    executed = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    finding = ""
    if done.returncode != 0 or not executed:
        error = re.findall(
            r"^(\w+(?:Error|Exception)\b.*|.*(?:timeout|out-of-memory).*)$", said, re.MULTILINE
        )
        finding = error[0] if error else said[-2_000:]
        sys.stdout.write(said[-6_000:] + "\n")
    return Coverage(
        name,
        int(executed[-1]) if executed else 0,
        time.monotonic() - began_s,
        int(edges[-1]) if edges else 0,
        finding,
    )
