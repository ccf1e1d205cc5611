"""A Whisper of one layer hears the world of three words, and the acoustic model learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from config.loader import load
from tests.training.conftest import tiny_whisper
from training.cli import main
from training.errors import TrainingError
from training.recogniser import phone_reader
from training.recogniser.acoustic_model import N_OUTPUTS
from training.recogniser.batches import Batches, Degradation, Heard, Opinion, opinion_now
from training.recogniser.features import Features, Spoken, log_mel, n_outputs, write_features
from training.recogniser.phone_teacher import PhoneTeacher
from training.recogniser.settings import RecogniserSettings, TeacherSettings, TrainingSettings
from training.recogniser.trainer import checkpoint_path

pytestmark = pytest.mark.timeout(300)

WIDTH = 16
TEACHER = TeacherSettings(layer=1, half_precision=False)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper that hears three seconds, as transformers saves it."""
    return tiny_whisper(tmp_path_factory.mktemp("whisper"), layers=1, positions=150)


@pytest.fixture(scope="module")
def teacher(whisper: Path) -> PhoneTeacher:
    return PhoneTeacher(whisper, TEACHER)


@pytest.fixture(scope="module")
def model(
    tiny_corpora: Path, tiny_settings: Path, whisper: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a recipe that was followed with a teacher: ``cache``, ``run`` and the model ``tiny``."""
    folder = tmp_path_factory.mktemp("taught")
    build(folder, tiny_corpora, taught(tiny_settings, folder), whisper)
    return folder


def taught(settings: Path, folder: Path) -> Path:
    """The tiny settings, and a teacher's: few epochs, for it is not the recogniser that is tested."""
    text = settings.read_text("utf-8").replace("epochs = 8", "epochs = 2")
    own = "[teacher]\nlayer = 1\nwidth = 16\nepochs = 2\nhalf_precision = false\nweights = [0.0, 5.0]\n"
    path = folder / "taught.toml"
    path.write_text(text + own, "utf-8")
    return path


def build(folder: Path, corpora: Path, settings: Path, whisper: Path) -> None:
    arguments = ["--root", corpora, "--config", settings, "--cache", folder / "cache"]
    places = ["--run", folder / "run", "--out", folder / "tiny", "--teacher", whisper]
    assert main(["recogniser", "build", *map(str, arguments + places)]) == 0


def test_the_teacher_hears_once_for_each_output_of_the_acoustic_model(
    teacher: PhoneTeacher,
) -> None:
    rng = np.random.default_rng(0)
    for n_samples in (400, 879, 880, 881, 16_000):
        samples = rng.standard_normal(n_samples).astype(np.float32) * 0.1
        assert teacher.states(samples).shape == (n_outputs(len(log_mel(samples))), WIDTH)


def test_the_teacher_hears_a_click_where_it_is(teacher: PhoneTeacher) -> None:
    quiet = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 1e-3
    clicked = quiet.copy()
    clicked[15_900:16_100] += 0.9
    changed = np.abs(teacher.states(clicked) - teacher.states(quiet)).sum(axis=1)
    loudest = np.abs(log_mel(clicked) - log_mel(quiet)).sum(axis=1)
    assert abs(3 * int(changed.argmax()) - int(loudest.argmax())) <= 3


def test_another_teacher_has_another_digest(teacher: PhoneTeacher, whisper: Path) -> None:
    again = PhoneTeacher(whisper, TEACHER)
    other = PhoneTeacher(whisper, TeacherSettings(layer=0, half_precision=False))
    assert again.digest == teacher.digest != other.digest


def test_a_teacher_without_that_layer_is_refused(
    whisper: Path, tiny_corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--root", tiny_corpora, "--teacher", whisper]
    assert main(["recogniser", "build", *map(str, arguments)]) != 0
    assert "layer 6" in capsys.readouterr().err


def test_opinions_are_moved_with_the_speech_and_unknown_around_it() -> None:
    rising = np.arange(50, dtype=np.float16)[:, None].repeat(N_OUTPUTS, axis=1)
    slowed = Heard(np.zeros((360, 40), np.float32), range(30, 330))
    alone = Heard(np.zeros((120, 40), np.float32), range(120))
    opinion = opinion_now([rising, rising], [slowed, alone])
    assert opinion.scores.shape == (2, 120, N_OUTPUTS)
    assert opinion.known[0].nonzero()[:, 0].tolist() == list(range(10, 110))
    assert opinion.known[1].nonzero()[:, 0].tolist() == list(range(40))
    assert opinion.scores[0, 10, 0] == 0.0
    assert opinion.scores[0, 60, 0] == pytest.approx(49 * 150 / 299, abs=1e-3)
    assert opinion.scores[0, 109, 0] == pytest.approx(49.0, abs=0.5)


def test_a_batch_has_the_opinion_of_each_of_its_utterances(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    said = [Spoken((word,), rng.normal(0, 1, (90, 40)).astype(np.float32)) for word in "abc"]
    write_features(tmp_path / "said", said)
    write_features(tmp_path / "noise", said)
    features, noise = (Features([tmp_path / name]) for name in ("said", "noise"))
    theirs = [np.full((30, N_OUTPUTS), n, np.float16) for n in range(3)]
    normal = said[0].frames.mean(axis=0), said[0].frames.std(axis=0)
    batches = Batches(
        features, Degradation(noise, 0.0, rng), normal, 9, TrainingSettings(), rng, theirs
    )
    [batch] = batches
    assert batch.opinion is not None
    assert batch.opinion.known.sum() > 60
    rows = zip(batch.words, batch.opinion.scores, batch.opinion.known.bool(), strict=True)
    for words, scores, known in rows:
        assert (scores[known] == "abc".index(words[0])).all()


def test_the_distance_to_an_opinion_counts_neither_what_is_common_nor_what_is_unknown() -> None:
    scores = torch.randn(2, 5, N_OUTPUTS, generator=torch.manual_seed(0))
    known = torch.ones(2, 5)
    assert Opinion(scores + 3.0, known).distance(scores).item() == pytest.approx(0.0, abs=1e-6)
    other = scores.clone()
    other[1, 4] = 0.0
    assert Opinion(other, known).distance(scores) > 0
    known[1, 4] = 0.0
    assert Opinion(other, known).distance(scores).item() == pytest.approx(0.0, abs=1e-6)


def test_the_reader_is_learnt_once_and_a_finished_run_is_exported_again(
    model: Path, tiny_corpora: Path, tiny_settings: Path, whisper: Path
) -> None:
    kept = [*(model / "cache").rglob("*"), *(model / "run").glob("*.safetensors")]
    assert model / "run" / phone_reader.FILE in kept
    before = {path: path.stat().st_mtime_ns for path in kept}
    exported = (model / "tiny" / "am" / "final.mdl").read_bytes()
    build(model, tiny_corpora, taught(tiny_settings, model), whisper)
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert (model / "tiny" / "am" / "final.mdl").read_bytes() == exported


def test_the_teacher_weighs_in_each_epoch_what_the_settings_say(
    model: Path, tiny_corpora: Path, tiny_settings: Path, tmp_path: Path
) -> None:
    settings = taught(tiny_settings, tmp_path)
    arguments = ["--root", tiny_corpora, "--config", settings, "--cache", tmp_path / "cache"]
    places = ["--run", tmp_path / "run", "--out", tmp_path / "tiny"]
    assert main(["recogniser", "build", *map(str, arguments + places)]) == 0
    for epoch, same in ((1, True), (2, False)):
        alone, with_teacher = (
            load_file(checkpoint_path(folder / "run", epoch)) for folder in (tmp_path, model)
        )
        assert torch.equal(alone["scores.weight"], with_teacher["scores.weight"]) is same


def test_a_teacher_without_any_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"teacher\.weights"):
        RecogniserSettings(teacher=TeacherSettings(weights=()))


def test_features_that_no_teacher_heard_say_so(tmp_path: Path) -> None:
    write_features(tmp_path / "said", [Spoken(("a",), np.zeros((9, 40), np.float32))])
    with pytest.raises(TrainingError, match="heard by no teacher"):
        Features([tmp_path / "said"]).states()


def test_the_shipped_settings_have_a_layer_that_whisper_base_has() -> None:
    path = Path(__file__).parents[3] / "config" / "train_recogniser.toml"
    assert load(path, RecogniserSettings).teacher.layer <= 6
