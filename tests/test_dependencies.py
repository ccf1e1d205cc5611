"""docs/dependencies.md lists what is installed, as it is pinned; lock files pin the run time by hashes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| ([\w.-]+) \| ([\w.]+) \| (.+) \|$", re.MULTILINE)


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Version and licence by package."""
    part = text.partition("Libraries inside their wheels")[0]
    return {
        name: (version, licence)
        for name, version, licence in ROW.findall(part)
        if version not in {"version", "---"}
    }


def pins(file: str) -> dict[str, str]:
    """Version by package, as indexes compare names."""
    lines = (ROOT / file).read_text("utf-8").splitlines()
    found = [re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in found if pin}


@pytest.fixture(scope="module")
def written() -> str:
    """The page as it would be written now."""
    done = subprocess.run(
        [sys.executable, ROOT / "setup" / "licences.py"], capture_output=True, check=True
    )
    return done.stdout.decode()


def test_every_package_of_the_run_time_is_listed_with_its_pinned_version_and_a_licence(
    written: str,
) -> None:
    listed = rows((ROOT / "docs" / "dependencies.md").read_text("utf-8"))
    assert listed.keys() == rows(written).keys()
    pinned = pins("constraints.txt")
    assert {name: pinned.get(re.sub(r"[-_.]+", "-", name).lower()) for name in listed} == {
        name: version for name, (version, _) in listed.items()
    }
    assert all(licence != "not stated" for _, licence in listed.values())


def test_every_package_of_training_and_tests_is_listed_too(written: str) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    extras = rows(written.partition("## Of training")[2])
    # What an accelerator's build of torch brings depends on the machine.
    own = {name for name in extras if not name.startswith(("nvidia", "cuda", "triton"))}
    assert own
    assert own <= rows(page.partition("## Of training")[2]).keys()


def test_lock_pins_what_the_run_time_installs_by_version_and_hash(written: str) -> None:
    locked = pins("requirements.lock")
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in rows(written)} <= locked.keys()
    known = pins("constraints.txt")
    assert {name: known[name] for name in locked if name in known} == {
        name: version for name, version in locked.items() if name in known
    }
    for file in ("requirements.lock", "setup/build.lock"):
        text = (ROOT / file).read_text("utf-8")
        for entry in re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_package_whose_file_was_changed_on_its_way_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "srt-3.5.3-py3-none-any.whl"
    wheel.write_bytes(b"not what was locked")
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    entry = re.search(r"^srt==.*?(?=^\w)", lock, re.MULTILINE | re.DOTALL)
    assert entry
    (tmp_path / "lock").write_text(entry[0])
    pip = (sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps")
    told = ("--find-links", tmp_path, "--require-hashes", "--requirement", tmp_path / "lock")
    done = subprocess.run(
        [*pip, "--ignore-installed", *told],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null"},
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr.upper()
