"""Which files stay: those that are young enough, and the newest of them, whatever else lies in the folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from monitor.retention import Retention

NOON = 1_767_355_200.0
"""2026-01-02T12:00:00Z, seconds since the epoch."""


def retention(folder: Path, *, max_age_s: float = 3_600, max_bytes: float = 1_000) -> Retention:
    return Retention(
        folder,
        re.compile(r"\d+\.wav"),
        max_age_s=max_age_s,
        max_bytes=max_bytes,
        clock=lambda: NOON,
    )


def file(path: Path, *, age_s: float = 0, n_bytes: int = 100) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(n_bytes))
    os.utime(path, (NOON - age_s, NOON - age_s))
    return path


def test_what_is_too_old_goes_and_all_else_stays(tmp_path: Path) -> None:
    old = file(tmp_path / "mic" / "1.wav", age_s=3_601)
    young = file(tmp_path / "mic" / "2.wav", age_s=3_599)
    others = [
        file(tmp_path / "mic" / "talk.wav", age_s=9_000),
        file(tmp_path / "1.wav", age_s=9_000),
    ]
    assert retention(tmp_path).look() == {old}
    assert not old.exists()
    assert all(path.exists() for path in (young, *others))


def test_oldest_of_all_folders_go_first_and_no_more_than_must(tmp_path: Path) -> None:
    oldest, next_oldest, *newer = [
        file(tmp_path / f"mic-{number % 3}" / f"{number}.wav", age_s=60 - number, n_bytes=200)
        for number in range(5)
    ]
    kept = retention(tmp_path)
    assert kept.look() == set()
    assert kept.make_room(100) == {oldest}
    assert kept.make_room(100) == set()
    # What room was made for is not there yet: the folder is looked at anew, and holds 800.
    assert kept.make_room(201) == {next_oldest}
    assert all(path.exists() for path in newer)


def test_file_that_somebody_else_deletes_during_the_look_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "mic").mkdir()
    (tmp_path / "mic" / "1.wav").symlink_to(tmp_path / "gone")  # listed, and not there
    old = file(tmp_path / "mic" / "2.wav", age_s=3_601)
    assert retention(tmp_path).look() == {old}


def test_what_cannot_be_deleted_is_said_once_and_does_not_keep_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = tmp_path / "mic" / "1.wav"
    stuck.mkdir(parents=True)  # a folder is not deleted as a file is
    os.utime(stuck, (NOON - 9_000, NOON - 9_000))
    old = file(tmp_path / "mic" / "2.wav", age_s=3_601)
    kept = retention(tmp_path, max_bytes=1e6)
    assert kept.look() == {old}
    assert kept.look() == set()
    (said,) = caplog.messages
    assert f"{stuck} cannot be deleted" in said


def test_room_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    old = file(tmp_path / "mic" / "1.wav")
    with pytest.raises(OSError, match="nothing more can be deleted"):
        retention(tmp_path, max_bytes=10).make_room(11)
    assert not old.exists()
