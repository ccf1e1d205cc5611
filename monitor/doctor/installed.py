"""What is installed: programs, the model, the recogniser."""

from __future__ import annotations

import hashlib
from pathlib import Path

from monitor.asr import find_model
from monitor.assembly import versions
from monitor.doctor.finding import Finding, Status, problem
from monitor.errors import ModelError
from monitor.settings import MonitorSettings
from stser_core.checkpoint import read_manifest
from stser_core.ensemble import DEFAULT_CHECKPOINT
from stser_core.errors import CheckpointError


def programs() -> Finding:
    """Versions of the monitor and of what it runs on."""
    found = versions()
    text = ", ".join(f"{name} {number}" for name, number in found.items())
    return Finding("programs", Status.OK, text, figures=dict(found))


def model(settings: MonitorSettings) -> Finding:
    """The checkpoint, every file of it checked against its manifest."""
    folder = settings.ensemble.checkpoint or DEFAULT_CHECKPOINT
    try:
        found = read_manifest(folder).model_id
    except CheckpointError as error:
        return problem("model", error, "Install the package again, or name a checkpoint: --model.")
    return Finding(
        "model",
        Status.OK,
        f"{found.name} {found.version}, every file as its manifest says, {found.digest}",
        figures={"name": found.name, "version": found.version, "digest": found.digest},
    )


def recogniser(settings: MonitorSettings) -> Finding:
    """The folder that Vosk would load."""
    if not settings.asr.enabled:
        return Finding(
            "recogniser",
            Status.NOTE,
            "Off: the voice alone is judged.",
            "Leave --no-asr out, or set asr.enabled = true, for the words to count.",
        )
    try:
        found = find_model(settings.asr.model or None, models_url=settings.asr.models_url)
    except ModelError as error:
        return problem("recogniser", error, "Leave --vosk-model out for the embedded one.")
    digest = _folder_digest(found.path)
    figures = {"name": found.name, "digest": digest, "embedded": found.embedded}
    status = Status.NOTE if found.embedded else Status.OK
    return Finding("recogniser", status, f"{found.name}, {digest}", found.notice, figures=figures)


def _folder_digest(folder: Path) -> str:
    """``sha256:...`` over the names and contents of all files, by name."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return "sha256:" + digest.hexdigest()
