"""docs/dependencies.md lists what the run time installs, as it is pinned."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| ([\w.-]+) \| ([\w.]+) \| (.+) \|$", re.MULTILINE)


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Version and licence by package."""
    part = text.partition("Libraries inside")[0]
    return {
        name: (version, licence)
        for name, version, licence in ROW.findall(part)
        if version not in {"version", "---"}
    }


def test_every_package_of_the_run_time_is_listed_with_its_pinned_version_and_a_licence() -> None:
    listed = rows((ROOT / "docs" / "dependencies.md").read_text("utf-8"))
    done = subprocess.run(
        [sys.executable, ROOT / "setup" / "licences.py"], capture_output=True, check=True
    )
    assert listed.keys() == rows(done.stdout.decode()).keys()
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    assert {name: pins.get(name) for name in listed} == {
        name: version for name, (version, _) in listed.items()
    }
    assert all(licence != "not stated" for _, licence in listed.values())
