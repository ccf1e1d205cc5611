"""The house rules that the file list promises: who may import whom, and one home for each library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "config": set[str](),
    "stser_core": {"config"},
    "training": {"config", "stser_core"},
    "monitor": {"config", "stser_core"},
}
ONLY_HOME = {
    "sounddevice": {"monitor/portaudio.py"},
    # Twice, because training hears corpora as the monitor hears people, and neither imports the other.
    "vosk": {"monitor/vosk_engine.py", "training/transcripts.py"},
    # ... and the client, which is for other programs
    "websockets": {
        *("monitor/publish/websocket.py", "monitor/publish/connection.py"),
        "monitor/publish/admission.py",
        *("monitor/publish/events_endpoint.py", "monitor/publish/audio_endpoint.py"),
    },
    "aiomqtt": {"monitor/publish/mqtt.py", "monitor/publish/mqtt_client.py"},
    "rich": {"monitor/publish/terminal.py"},
    "onnxruntime": {"stser_core/engine.py"},
    "tokenizers": {"stser_core/text.py"},
    "matplotlib": {"training/figures.py"},
    "accelerate": {"training/compute.py"},
    "kaldi_native_fbank": {"training/recogniser/features.py"},
    "pocketsphinx": {"training/recogniser/lexicon.py"},
}
STANDS_ALONE = "monitor/client.py"
TORCH_FREE = {"config", "monitor"}
TRAINING_ONLY = {
    "torch",
    "transformers",
    "librosa",
    "sklearn",
    "opensmile",
    "onnx",
    "matplotlib",
    "accelerate",
}
FILES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, at any depth of it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_inwards_and_each_library_has_one_home(path: Path) -> None:
    home = path.relative_to(ROOT)
    package, imports = home.parts[0], imported(path)
    assert imports & MAY_IMPORT.keys() <= MAY_IMPORT[package] | {package}
    if home.as_posix() == STANDS_ALONE:
        assert imports - set(sys.stdlib_module_names) == {"websockets"}
        return
    strangers = {
        name for name in imports & ONLY_HOME.keys() if home.as_posix() not in ONLY_HOME[name]
    }
    assert not strangers, f"{home} imports {strangers}, whose home is elsewhere"
    if package in {"stser_core", "config"}:
        assert not imports & {"asyncio", "threading", "socket"}, "the core is synchronous"
    if package in TORCH_FREE:
        assert not imports & TRAINING_ONLY, f"{home} would pull training packages into the run time"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_hides_its_subject_behind_a_catch_all_name(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "misc", "common", "manager"}


def test_nothing_in_the_repository_unpickles() -> None:
    for path in FILES:
        assert not imported(path) & {"pickle", "shelve", "marshal", "joblib"}, path


@pytest.mark.parametrize("package", ["stser_core", "training", "monitor", "monitor/publish"])
def test_the_file_list_of_the_architecture_page_has_every_module(package: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(page.replace(",", " ").replace(";", " ").split())
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py", "__main__.py"}
    assert not modules - named
