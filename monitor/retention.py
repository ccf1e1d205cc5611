"""Which files of a folder stay: none too old, and the newest where there would be too much."""

from __future__ import annotations

import errno
import glob
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)


class Retention:
    """Deletes files in the folders of a folder. What it cannot delete is said once, and does not keep it from the rest.

    Args:
        folder: Where the folders are.
        names: Files whose whole names match; others are left alone.
        max_age_s: Since a file was last written.
        max_bytes: Of all files together.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        names: re.Pattern[str],
        *,
        max_age_s: float,
        max_bytes: float,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._names = names
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0
        """Of all files, as of the last look at the folder and what room was made for since."""
        self._undeletable: set[Path] = set()

    def look(self, n_bytes: int = 0) -> set[Path]:
        """Delete what is too old, and the oldest of what would be too much with ``n_bytes`` more.

        Returns:
            What was deleted.
        """
        too_old = self._clock() - self._max_age_s
        files = sorted(self._files(), key=lambda file: (file.written_s, file.path.name))
        self._bytes = n_bytes + sum(file.n_bytes for file in files)
        deleted = set()
        for file in files:
            if file.written_s >= too_old and self._bytes <= self._max_bytes:
                break
            if self._delete(file.path):
                self._bytes -= file.n_bytes
                deleted.add(file.path)
        return deleted

    def make_room(self, n_bytes: int) -> set[Path]:
        """Delete what must go before ``n_bytes`` are written; they count from now on.

        Returns:
            What was deleted.

        Raises:
            OSError: There is no room, even so.
        """
        self._bytes += n_bytes
        if self._bytes <= self._max_bytes:
            return set()
        deleted = self.look(n_bytes)
        if self._bytes > self._max_bytes:
            raise OSError(errno.EDQUOT, "the limit is reached, and nothing more can be deleted")
        return deleted

    def _files(self) -> Iterator[_File]:
        # Path.glob raises where somebody else deletes a folder meanwhile.
        for name in glob.iglob("*/*", root_dir=self._folder):
            path = self._folder / name
            if not self._names.fullmatch(path.name):
                continue
            try:
                found = path.stat()
            except FileNotFoundError:  # somebody else has deleted it
                continue
            except OSError as error:
                self._complain(path, error)
                continue
            yield _File(path, found.st_mtime, found.st_size)

    def _delete(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(path, error)
            return False
        return True

    def _complain(self, path: Path, error: OSError) -> None:
        if path not in self._undeletable:
            self._undeletable.add(path)
            logger.error(
                "%s cannot be deleted when it is due (%s). Delete it yourself, or let this user do so.",
                path,
                error.strerror,
            )


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    written_s: float
    n_bytes: int
