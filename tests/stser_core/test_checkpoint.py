from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stser_core.checkpoint import FILES, MANIFEST, Manifest, read_manifest
from stser_core.errors import CheckpointError
from stser_core.features import LogMelSettings


def edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / MANIFEST
    tree = json.loads(path.read_text("utf-8"))
    change(tree)
    path.write_text(json.dumps(tree), "utf-8")


def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    again = read_manifest(manifest.directory)
    assert again == manifest
    assert (again.model_id.name, again.model_id.version) == ("random", "0.0.1")
    assert again.model_id.digest.startswith("sha256:")
    assert again.description.temperatures.speech == 1.5
    assert again.notes == {"corpora": ["none"]}


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
def test_a_missing_file_is_refused_by_name(checkpoint_copy: Path, name: str) -> None:
    (checkpoint_copy / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: cannot be read"):
        read_manifest(checkpoint_copy)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_is_refused_by_file_name(checkpoint_copy: Path, name: str) -> None:
    content = bytearray((checkpoint_copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint_copy / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: damaged"):
        read_manifest(checkpoint_copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tree: tree["labels"].reverse(), r"labels \(sad, neutral, happy, angry\)"),
        (lambda tree: tree.update(format=2), r"format \(2\) must be 3"),
        (lambda tree: tree.pop("format"), r"format \(None\) must be 3"),
        (lambda tree: tree.update(surprise=1), "surprise is not a setting"),
        (lambda tree: tree["log_mel"].update(colour=1), r"log_mel\.colour is not a setting"),
        (lambda tree: tree["log_mel"].pop("n_fft"), r"log_mel\.n_fft missing"),
        (lambda tree: tree["sizes"]["text"].pop("layers"), r"sizes\.text\.layers missing"),
        (lambda tree: tree["sizes"]["speech"].pop("centred"), r"sizes\.speech\.centred missing"),
        (lambda tree: tree.pop("novelty"), "novelty missing"),
        (lambda tree: tree.pop("adaptation"), "adaptation"),
        (lambda tree: tree["log_mel"].update(n_mels=40), r"log_mel\.n_mels \(40\)"),
        (lambda tree: tree["log_mel"].update(n_fft="512"), r"log_mel\.n_fft \('512'\)"),
        (lambda tree: tree["prior"]["mean"].pop(), r"prior\.mean \(63\)"),
        (lambda tree: tree["temperatures"].update(text=0.0), r"temperatures\.text \(0\)"),
        (lambda tree: tree["files"].pop("text.onnx"), "files must name exactly"),
        (lambda tree: tree["files"].update({"../x": "sha256:0"}), "files must name exactly"),
        (lambda tree: tree.update(notes=3), "notes"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_by_name_and_reason(
    checkpoint_copy: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    edit(checkpoint_copy, change)
    with pytest.raises(CheckpointError, match=rf"{MANIFEST}: .*{reason}"):
        read_manifest(checkpoint_copy)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"[" * 60_000, b'{"a": NaN}', b'{"a": 1e999}'],
)
def test_a_manifest_that_is_not_one_is_refused(checkpoint_copy: Path, content: bytes) -> None:
    (checkpoint_copy / MANIFEST).write_bytes(content)
    with pytest.raises(CheckpointError, match=MANIFEST):
        read_manifest(checkpoint_copy)


def test_a_caller_with_another_front_end_is_refused_by_the_settings_that_differ(
    manifest: Manifest,
) -> None:
    own = manifest.description.log_mel
    assert read_manifest(manifest.directory, log_mel=own) == manifest
    other = dataclasses.replace(own, hop_length=200)
    with pytest.raises(CheckpointError, match=r"log_mel\.hop_length is 160 there and 200 here"):
        read_manifest(manifest.directory, log_mel=other)
    assert own == LogMelSettings()


def test_the_digest_names_calibration_and_prior_too(checkpoint_copy: Path) -> None:
    before = read_manifest(checkpoint_copy).digest
    edit(checkpoint_copy, lambda tree: tree["temperatures"].update(text=0.9))
    assert read_manifest(checkpoint_copy).digest != before
