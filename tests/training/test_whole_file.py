"""A file is the new one or the older one, and never a part."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.whole_file import write_whole, written_whole


def test_a_file_takes_its_place_when_it_is_written_and_folders_above_are_made(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new" / "folder" / "figures.json"
    with written_whole(path) as draft:
        draft.write_text("1", "utf-8")
        assert not path.exists()
    write_whole(path, "2")
    assert path.read_text("utf-8") == "2"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_one_and_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(tmp_path / "file")
    write_whole(link, "1")
    assert link.is_symlink()
    assert (tmp_path / "file").read_text("utf-8") == "1"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "2")
    assert os.read(reader, 9) == b"2"
    os.close(reader)


def test_what_a_link_of_the_kernel_leads_to_is_written_as_it_is() -> None:
    reader, writer = os.pipe()
    write_whole(Path(f"/dev/fd/{writer}"), "1")
    assert os.read(reader, 9) == b"1"
    os.close(reader)
    os.close(writer)


def test_a_write_that_fails_leaves_the_older_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_whole(path, "older")

    def written() -> None:
        with written_whole(path) as draft:
            draft.write_text("half of the ne", "utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written()
    assert path.read_text("utf-8") == "older"
    assert list(tmp_path.iterdir()) == [path]
