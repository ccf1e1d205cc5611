"""The paper's protocol in processes of its own: two that share the work, one that is killed."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.training.iemocap_folder import write_small

pytestmark = pytest.mark.timeout(300)  # each run imports PyTorch anew

TINY = """
albert_rate = 3e-3
learning_rate = 1e-2
batch = 8
epochs = 3
patience = 3
classifier_dropout = 0.0
{more}
[speech]
channels = 4
hidden = 8
heads = 4
"""
LAUNCH = [
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
    *("--module", "training"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_small(tmp_path_factory.mktemp("iemocap"), n_dialogues=2)
    for session in ("Session4", "Session5"):
        shutil.rmtree(root / session)
    return root


def command(
    corpus: Path, albert: Path, out: Path, *more: str, settings: str = "", module: Sequence[str]
) -> list[str]:
    config = out.parent / f"{out.name}.toml"
    config.write_text(TINY.format(more=settings), "utf-8")
    flags = ["--root", corpus, "--config", config, "--text-encoder", albert, "--out", out]
    kept = ["--cache", out.parent / "cache", "--allow-partial", *more]
    arguments = ["crossval", "--corpus", "iemocap", *map(str, flags), *map(str, kept)]
    return [sys.executable, "-m", *module, *arguments]


def run(command: list[str]) -> str:
    """Standard error of a run that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def alone(corpus: Path, albert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process that nobody disturbed."""
    out = tmp_path_factory.mktemp("alone") / "results"
    run(command(corpus, albert, out, module=["training"]))
    return out


def assert_same(results: Path, expected: Path) -> None:
    assert {p.name for p in results.iterdir()} == {p.name for p in expected.iterdir()}
    for path in expected.iterdir():
        assert (results / path.name).read_bytes() == path.read_bytes(), path.name


def curves(results: Path, branch: str) -> list[float]:
    """Losses of a branch, all folds after each other."""
    with (results / "curves.csv").open(newline="", encoding="utf-8") as file:
        return [float(r["training_loss"]) for r in csv.DictReader(file) if r["branch"] == branch]


def test_two_processes_that_share_the_folds_write_the_results_of_one(
    alone: Path, corpus: Path, albert: Path, tmp_path: Path
) -> None:
    logged = run(command(corpus, albert, tmp_path / "results", module=LAUNCH))
    assert_same(tmp_path / "results", alone)
    # Each fold was trained once, by one of the two.
    assert sorted(re.findall(r"fold (\d) of 3: done", logged)) == ["1", "2", "3"]


def test_two_processes_that_share_each_batch_take_the_steps_of_one(
    corpus: Path, albert: Path, tmp_path: Path
) -> None:
    # Batch normalisation and dropout of the ALBERT are left out of the comparison: each process
    # normalises its own rows, and drops by its own draw.
    frozen = "tune_albert = false"
    results = [tmp_path / "one", tmp_path / "two"]
    run(command(corpus, albert, results[0], settings=frozen, module=["training"]))
    run(
        command(corpus, albert, results[1], "--parallel", "batches", settings=frozen, module=LAUNCH)
    )
    one, two = (curves(out, "text") for out in results)
    assert one == pytest.approx(two, abs=1e-5)
    speech = [curves(out, "speech") for out in results]
    assert speech[0] != speech[1]
    assert speech[0] == pytest.approx(speech[1], abs=0.7)


def test_a_run_killed_in_the_middle_of_a_fold_goes_on_there_to_the_identical_result(
    alone: Path, corpus: Path, albert: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    started = command(corpus, albert, out, "--save-every", "0", module=["training"])
    with subprocess.Popen(started, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        seen = ""
        # The second epoch of the second fold's text branch: the first is in the file by then.
        while len(re.findall(r"text:[^\r\n]*loss=", seen.partition("1 of 3: done")[2])) < 2:
            read = process.stderr.read(1)
            assert read, seen
            seen += read
        process.kill()
    assert (out / "fold-1.json").is_file()
    assert (out / "fold-2.safetensors").is_file()
    assert not (out / "fold-2.json").exists()
    logged = run(started)
    # Once, in the middle of a branch, unless the kill came late.
    assert re.findall(r"going on after epoch \d of (\w+)", logged) in (["text"], ["bimodal"])
    assert_same(out, alone)
