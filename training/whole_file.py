"""Files that are there whole or not at all, whenever the program is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import TrainingError


def check_place(path: Path, *, folder: bool = False, flag: str = "--out") -> None:
    """Stop before the work where its result, a file or a folder of files, cannot be written.

    Raises:
        TrainingError: Something else is in its place, or nothing may be written there.
    """
    place = next(each for each in (path, *path.parents) if each.exists())
    if place.is_dir() and place == path and not folder:
        raise TrainingError(f"{flag} {path}: a folder, where a file is needed. Name another place.")
    if not place.is_dir() and (folder or place != path):
        raise TrainingError(f"{flag} {path}: {place} is no folder. Name another place.")
    if not os.access(place.parent if place.is_file() else place, os.W_OK):
        raise TrainingError(f"{flag} {path}: nothing may be written there. Name another place.")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A draft to write, which takes the place of ``path`` where the block ends without an error.

    Folders above are made. The draft's name ends as that of the file, for writers that go by it, and is each
    process' own. A link stays one, and a pipe or device is written as it is.
    """
    if path.exists() and not path.is_file():  # where /dev/stdout leads is a name of nothing
        yield path
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text in UTF-8."""
    with written_whole(path) as draft:
        draft.write_text(text, "utf-8")
