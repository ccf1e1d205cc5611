"""Which recogniser's model is used, where it lies, and how one comes from the network once.

The embedded model makes the monitor work at once and offline; any model of the Vosk project takes
its place by name or folder. Nothing here imports Vosk.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import ssl
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from config.loader import SettingsError, user_path
from monitor.errors import ModelError

logger = logging.getLogger(__name__)

MODELS_URL: Final = "https://alphacephei.com/vosk/models"
"""Where the Vosk project publishes its models, each as ``NAME.zip``."""

EMBEDDED: Final = Path(__file__).parent / "recogniser" / "stser-tiny-en"
"""The model in the package; its folder's name is its name."""

ENVIRONMENT: Final = "STSER_VOSK_MODEL"
"""Environment variable that names a model where no flag or setting does."""

SUGGESTED: Final = "vosk-model-small-en-us-0.15"

EMBEDDED_NOTICE: Final = (
    "The recogniser is the small English model of the package. A full model recognises more: "
    f"--vosk-model {SUGGESTED} fetches one (40 MB) once."
)

CONNECT_TIMEOUT_S: Final = 15
BLOCK_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class VoskModel:
    """A folder that holds a Vosk model."""

    path: Path
    name: str
    """The folder's name, for events."""
    embedded: bool
    notice: str
    """One line for people who run it; empty where there is nothing to say."""


def find_model(choice: str | None = None, *, models_url: str = MODELS_URL) -> VoskModel:
    """The model to use: the choice, else ``STSER_VOSK_MODEL``, the user's Vosk cache, the embedded.

    Args:
        choice: A folder, or a name. A name is looked up in the folders that the vosk package itself
            searches, and fetched into the user's cache where none has it.
        models_url: Where ``NAME.zip`` is fetched from.

    Raises:
        ModelError: The choice is no folder with a model, and nothing of that name can be fetched.
    """
    choice = choice or os.environ.get(ENVIRONMENT)
    if not choice:
        cached = next(_cached_english(), None)
        return _model(cached) if cached is not None else _model(EMBEDDED)
    if choice == EMBEDDED.name:
        return _model(EMBEDDED)
    try:
        folder = user_path(choice, "--vosk-model")
    except SettingsError as error:
        raise ModelError(str(error)) from error
    if folder.is_dir():
        return _model(folder)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", choice):
        raise ModelError(
            f"--vosk-model {choice}: there is no such folder. "
            f"Name one that holds a Vosk model, or a model such as {SUGGESTED}."
        )
    for cache in _caches():
        if (cache / choice).is_dir():
            return _model(cache / choice)
    return _model(_fetch(choice, models_url))


def _model(folder: Path) -> VoskModel:
    """Check what can be checked without loading it.

    Raises:
        ModelError: The folder does not hold a Vosk model.
    """
    # Vosk reads either layout; of the rest it says only that it failed.
    if not (folder / "am" / "final.mdl").is_file() and not (folder / "final.mdl").is_file():
        raise ModelError(
            f"--vosk-model {folder}: no am/final.mdl in it, so it is no Vosk model. Name the "
            f"folder that has am, conf and graph in it, or a model such as {SUGGESTED}."
        )
    embedded = folder == EMBEDDED
    name = folder.resolve().name
    return VoskModel(folder, name, embedded, EMBEDDED_NOTICE if embedded else "")


def _caches() -> list[Path]:
    """Folders in which the vosk package looks for models, in its order; the last is the user's."""
    named = os.environ.get("VOSK_MODEL_PATH")
    caches = [Path(named)] if named else []
    return [*caches, Path("/usr/share/vosk"), Path.home() / ".cache" / "vosk"]


def _cached_english() -> Iterator[Path]:
    """English models that the user has: small first, American first, newest first."""
    for cache in _caches():
        found = [
            path for path in cache.glob("vosk-model*-en-*") if (path / "am" / "final.mdl").is_file()
        ]
        newest_first = sorted(found, key=_version, reverse=True)
        yield from sorted(
            newest_first, key=lambda path: ("-small-" not in path.name, "-en-us-" not in path.name)
        )


def _version(model: Path) -> list[int]:
    """The numbers in a model's name: 0.15 is newer than 0.4."""
    return [int(number) for number in re.findall(r"\d+", model.name)]


def _fetch(name: str, models_url: str) -> Path:
    """Fetch ``NAME.zip`` and unpack it into the user's cache; whole, or not at all.

    Raises:
        ModelError: It cannot be fetched, or is no archive of one model.
    """
    cache = _caches()[-1]
    url = f"{models_url.rstrip('/')}/{name}.zip"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as unfinished:
            archive = Path(unfinished) / "model.zip"
            _download(url, archive)
            _unpack(archive, Path(unfinished), name)
            # Within one file system: other programs see the whole model or none.
            (Path(unfinished) / name).rename(cache / name)
    except HTTPError as error:
        error.close()
        known = "No model has that name" if error.code == 404 else f"The server says {error.code}"
        raise ModelError(
            f"--vosk-model {name}: {known} at {url}. "
            "https://alphacephei.com/vosk/models lists the names."
        ) from error
    except (URLError, HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(
            f"--vosk-model {name}: it is not on this machine, and {url} cannot be fetched "
            f"({reason}). Go online once, name a folder with a model, or leave --vosk-model out."
        ) from error
    except zipfile.BadZipFile as error:
        raise ModelError(
            f"--vosk-model {name}: what {url} gave is no sound archive of it ({error}). Try again."
        ) from error
    except OSError as error:
        raise ModelError(
            f"--vosk-model {name}: it cannot be written to {cache} ({error.strerror or error}). "
            "Make room or make the folder writable."
        ) from error
    return cache / name


def _download(url: str, archive: Path) -> None:
    """Fetch ``url`` into ``archive``, saying on standard error how far it is."""
    logger.info("fetching %s", url)
    with urlopen(url, timeout=CONNECT_TIMEOUT_S) as response, archive.open("wb") as output:  # nosec B310 # noqa: S310 - the setting names the scheme
        total = int(response.headers.get("Content-Length") or 0)
        _copy(response, output, total)
    if total and archive.stat().st_size != total:
        raise zipfile.BadZipFile(f"{archive.stat().st_size} of {total} bytes came")


def _copy(response: IO[bytes], output: IO[bytes], total: int) -> None:
    done, told = 0, -1
    while block := response.read(BLOCK_BYTES):
        output.write(block)
        done += len(block)
        tenth = done * 10 // total if total else -1
        if tenth > told:
            told = tenth
            _show_progress(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB", last=tenth == 10)


def _show_progress(text: str, *, last: bool) -> None:
    """One line that changes on a terminal, a few lines elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r  {text}" + ("\n" if last else ""))
    else:
        sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


def _unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpack an archive whose every member lies in a folder ``name``; each member's CRC is checked.

    Raises:
        zipfile.BadZipFile: A member is damaged, lies elsewhere, or the archive needs more room than
            there is.
    """
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            parts = PurePosixPath(member.filename).parts
            if not parts or parts[0] != name or ".." in parts:
                raise zipfile.BadZipFile(f"{member.filename!r} lies outside {name}/")
        needed = sum(member.file_size for member in members.infolist())
        if needed > shutil.disk_usage(folder).free:
            raise zipfile.BadZipFile(f"{needed / 1e6:.0f} MB do not fit on the disk")
        members.extractall(folder)
    if not (folder / name).is_dir():
        raise zipfile.BadZipFile(f"there is no {name}/ in it")
