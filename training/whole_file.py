"""Files that are there whole or not at all, whenever the program is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A draft to write, which takes the place of ``path`` where the block ends without an error.

    Folders above are made. The draft's name ends as that of the file, for writers that go by it, and is each
    process' own.
    """
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
