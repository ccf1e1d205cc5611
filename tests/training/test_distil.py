"""A teacher of two layers and its student: tuned, cut, fitted and taught in a moment."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from stser_core.checkpoint import read_manifest
from stser_core.ensemble import Stser
from stser_core.text import TextTokenizer
from tests.training.conftest import VOCABULARY, WORDS
from training.cli import main
from training.distil import student
from training.distil.learn import distance
from training.distil.sentences import NO_CLASS, Sentence, SentenceBatches
from training.distil.teacher import Teacher, mean_state
from training.errors import TrainingError
from training.mishearing import Confusions, Mishearing
from training.opinions import read_opinions, write_opinions
from training.settings import StudentSettings, TextTrainingSettings
from training.text_data import TextData, targets
from training.utterance import Utterance

AS_SAID = Mishearing(confused=0.0, drop_word=0.0, swap_words=0.0)
DISTIL = """
[distil]
batch = 8
[distil.teacher]
steps = 4
frozen_layers = 1
validate_every = 2
[distil.student]
teacher_layers = [0, 1]
embedding = 8
least_count = 1
table_steps = 5
steps = 4
validate_every = 2
"""


@pytest.fixture(scope="module")
def teacher_folder(albert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence encoder as transformers saves it."""
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((albert / "tokenizer.json").read_bytes())
    return folder


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text corpus whose rows keep the names that it came with."""
    folder = tmp_path_factory.mktemp("corpora") / "goemotions"
    folder.mkdir()
    for name, copies in (("train", 12), ("dev", 3)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label_original", "label4"])
            for copy in range(copies):
                # Copies differ, because one line says no more than its text.
                rows.writerows(
                    [text.capitalize() + "!" * copy, f"{label}|amazement", label]
                    for label, text in WORDS.items()
                )
            rows.writerow(["What a day", "amazement", ""])
    return folder.parent


@pytest.fixture(scope="module")
def distilled(
    teacher_folder: Path, corpora: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("distil")
    config = out / "settings.toml"
    config.write_text(tiny.read_text("utf-8") + DISTIL, "utf-8")
    assert main(arguments(teacher_folder, corpora, config, out)) == 0
    return out


def arguments(teacher: Path, corpora: Path, config: Path, out: Path) -> list[str]:
    flags = ["--teacher", teacher, "--root", corpora, "--config", config, "--out", out]
    return ["distil", *map(str, flags)]


def test_fit_takes_the_student_and_the_teachers_opinions(
    distilled: Path, root: Path, corpora: Path, tmp_path: Path
) -> None:
    for speech in ("first", "second"):
        (tmp_path / speech).symlink_to(root / speech)
    (tmp_path / "goemotions").symlink_to(corpora / "goemotions")
    flags = ["--config", distilled / "settings.toml", "--root", tmp_path, "--cache", tmp_path / "c"]
    start = ["--albert", distilled / "albert", "--opinions", distilled / "opinions.safetensors"]
    assert main(["fit", *map(str, [*flags, *start, "--out", tmp_path / "new"])]) == 0
    sizes = read_manifest(tmp_path / "new").description.sizes.text
    assert (sizes.hidden, sizes.layers, sizes.groups, sizes.embedding) == (16, 2, 2, 8)
    verdict = Stser.load(tmp_path / "new").classify(None, ["leave", "me", "alone"])
    assert verdict.modalities == ("text",)


def test_a_run_that_was_killed_goes_on_and_what_is_there_is_kept(
    distilled: Path, teacher_folder: Path, corpora: Path, tmp_path: Path
) -> None:
    opinions = (distilled / "opinions.safetensors").read_bytes()
    kept = (distilled / "teacher" / "teacher.safetensors").stat().st_mtime_ns
    (distilled / "opinions.safetensors").unlink()
    config = distilled / "settings.toml"
    assert main(arguments(teacher_folder, corpora, config, distilled)) == 0
    assert (distilled / "opinions.safetensors").read_bytes() == opinions
    assert (distilled / "teacher" / "teacher.safetensors").stat().st_mtime_ns == kept
    out = tmp_path / "out"
    shutil.copytree(distilled, out)
    shutil.rmtree(out / "albert")
    assert main(arguments(teacher_folder, corpora, config, out)) == 0
    for name in ("model.safetensors", "tokenizer.json"):
        assert (out / "albert" / name).read_bytes() == (distilled / "albert" / name).read_bytes()


def test_a_run_is_gone_on_with_by_its_own_settings_alone(
    distilled: Path,
    teacher_folder: Path,
    corpora: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "other.toml"
    settings = (distilled / "settings.toml").read_text("utf-8")
    config.write_text(settings.replace("embedding = 8\nleast", "embedding = 4\nleast"), "utf-8")
    assert main(arguments(teacher_folder, corpora, config, distilled)) == 2
    assert "distil.student.embedding is 8 there and 4 now" in capsys.readouterr().err
    shutil.copytree(teacher_folder, tmp_path / "teacher")
    with (tmp_path / "teacher" / "config.json").open("a") as file:
        file.write("\n")
    config = distilled / "settings.toml"
    assert main(arguments(tmp_path / "teacher", corpora, config, distilled)) == 2
    assert "run.json: another run began here: teacher is sha256:" in capsys.readouterr().err


def test_a_damaged_teacher_of_a_run_is_named(
    distilled: Path,
    teacher_folder: Path,
    corpora: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    shutil.copytree(distilled, out)
    path = out / "teacher" / "teacher.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    assert main(arguments(teacher_folder, corpora, out / "settings.toml", out)) == 2
    assert f"{path}: not this teacher's weights" in capsys.readouterr().err


def test_a_teacher_that_is_no_bert_is_refused_by_folder(
    albert: Path, corpora: Path, distilled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(albert, corpora, distilled / "settings.toml", tmp_path)) == 2
    assert "must be a BERT" in capsys.readouterr().err


@torch.inference_mode()
def test_a_student_of_all_layers_over_the_same_embeddings_gives_the_teachers_states(
    teacher_folder: Path,
) -> None:
    teacher = BertModel.from_pretrained(teacher_folder, add_pooling_layer=False).eval()
    settings = StudentSettings(teacher_layers=(0, 1), embedding=16)
    ours = student.untaught(teacher, range(len(VOCABULARY)), settings).eval()
    ids = torch.tensor([[2, 5, 9, 7, 3]])
    goal = teacher(input_ids=ids).last_hidden_state
    ours.encoder.embedding_hidden_mapping_in.weight.copy_(torch.eye(16))
    ours.encoder.embedding_hidden_mapping_in.bias.zero_()
    ours.embeddings.load_state_dict(teacher.embeddings.state_dict())
    torch.testing.assert_close(ours(input_ids=ids).last_hidden_state, goal, atol=2e-3, rtol=0)


def test_a_smaller_tokenizer_numbers_the_kept_pieces_and_spells_the_others(albert: Path) -> None:
    description = json.loads((albert / "tokenizer.json").read_text("utf-8"))
    vocabulary = description["model"]["vocab"]
    vocabulary |= {"l": len(vocabulary), "##o": len(vocabulary) + 1}
    counts = np.zeros(len(vocabulary), np.int64)
    counts[vocabulary["leave"]] = 9
    kept = student.kept_pieces(description, counts, least=5)
    own = TextTokenizer.of(json.dumps(student.smaller_tokenizer(description, kept)), 16)
    names = {at: piece for piece, at in vocabulary.items()}
    pieces = [names[kept[at]] for at in own.encode(["leave", "loo", "lovely"]).ids]
    # "lovely" cannot be spelt with the letters that are there.
    assert pieces == ["[CLS]", "leave", "l", "##o", "##o", "[UNK]", "[SEP]"]


def test_the_table_comes_close_to_the_teachers(teacher_folder: Path) -> None:
    torch.manual_seed(0)
    teacher = BertModel.from_pretrained(teacher_folder, add_pooling_layer=False).eval()
    settings = StudentSettings(teacher_layers=(0,), embedding=16, table_steps=500)
    kept = range(len(VOCABULARY))
    ours = student.untaught(teacher, kept, settings)
    counts = np.ones(len(kept), np.int64)
    left = student.fit_table(ours, teacher, kept, counts, settings, np.random.default_rng(0))
    assert left < 0.2


def test_a_student_that_gives_the_teachers_states_is_at_no_distance(teacher_folder: Path) -> None:
    torch.manual_seed(0)
    teacher = Teacher.of_folder(teacher_folder, names=3).eval()
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    states = torch.randn(2, 3, 16)
    assert distance(states, states, mask, teacher, 1.0).item() == pytest.approx(0, abs=1e-6)
    other = states.clone()
    other[0, 2] += 9  # padding
    assert distance(other, states, mask, teacher, 1.0).item() == pytest.approx(0, abs=1e-6)
    other[0, 1] += 9
    assert distance(other, states, mask, teacher, 1.0).item() > 1
    torch.testing.assert_close(mean_state(states, mask)[0], states[0, :2].mean(dim=0))


def test_corpora_come_by_their_shares_and_classes_equally(albert: Path) -> None:
    tokenizer = TextTokenizer.load(albert / "tokenizer.json", 16)
    rare = [Sentence("big", ("leave",), 0, ("anger",))]
    common = [Sentence("big", ("day",), 2, ("neutral",))] * 50
    none = [Sentence("big", ("what",), NO_CLASS, ("fear", "surprise"))] * 3
    small = [Sentence("small", ("you",), 1, ("joy",))]
    batches = SentenceBatches(
        rare + common + none + small,
        tokenizer,
        {"big": 0.75, "small": 0.25, "absent": 1.0},
        batch=40,
        no_class=0.2,
        mishearing=AS_SAID,
        confusions=Confusions.none(),
        rng=np.random.default_rng(0),
    )
    source = iter(batches)
    drawn = [next(source) for _ in range(16)]
    labels = torch.cat([batch.labels for batch in drawn]).numpy()
    shares = {label: float((labels == label).mean()) for label in (NO_CLASS, 0, 1, 2)}
    assert shares == pytest.approx({NO_CLASS: 0.15, 0: 0.3, 1: 0.25, 2: 0.3}, abs=0.06)
    emotions = torch.cat([batch.emotions for batch in drawn])
    torch.testing.assert_close(emotions.sum(dim=1), torch.ones(len(labels)))
    fear = emotions[labels == NO_CLASS][:, batches.names["fear"]]
    assert (fear == 0.5).all()


def test_opinions_of_other_sentences_are_refused(albert: Path, tmp_path: Path) -> None:
    tokenizer = TextTokenizer.load(albert / "tokenizer.json", 16)
    said = [Utterance(corpus="c", label=label, text=text) for label, text in WORDS.items()]  # type: ignore[arg-type]
    data, fewer = TextData(said, tokenizer), TextData(said[1:], tokenizer)
    logits = np.array([[0.0, 0.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]], np.float32)
    write_opinions(tmp_path / "opinions", data, [3, 0], logits)
    believed = read_opinions(tmp_path / "opinions", data)
    np.testing.assert_allclose(believed[3], 0.25)
    assert believed[0].argmax() == 0
    assert np.isnan(believed[1:3]).all()
    with pytest.raises(TrainingError, match="opinions of other sentences"):
        read_opinions(tmp_path / "opinions", fewer)
    with pytest.raises(TrainingError, match="no opinions can be read"):
        read_opinions(tmp_path / "nowhere", data)


def test_a_target_mixes_label_and_opinion_where_there_is_one() -> None:
    settings = TextTrainingSettings(label_smoothing=0.0, opinion_share=0.25)
    opinions = np.array([[0.0, 1.0, 0.0, 0.0], [np.nan] * 4], np.float32)
    mixed = targets(np.array([0, 2]), opinions, settings)
    np.testing.assert_allclose(mixed, [[0.75, 0.25, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
