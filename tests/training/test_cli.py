"""``stser-train`` from corpora to a checkpoint that judges, and to folds that go on after a kill."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stser_core.checkpoint import read_manifest
from stser_core.ensemble import Stser
from stser_core.features import log_mel
from stser_core.labels import EMOTIONS
from tests.training.conftest import tone
from training.cli import main


@pytest.fixture(scope="module")
def checkpoint(
    root: Path, albert: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("fit") / "checkpoint"
    arguments = ["--config", tiny, "--root", root, "--cache", out.parent / "cache", "--out", out]
    start = ["--albert", albert]
    assert main(["fit", *map(str, arguments + start)]) == 0
    return out


def test_fit_writes_a_checkpoint_that_judges_voice_and_words(checkpoint: Path) -> None:
    stser = Stser.load(checkpoint)
    heard = log_mel(tone(0, 0, 0), stser.log_mel_settings)
    verdict = stser.classify(heard, ["leave", "me", "alone"])
    assert verdict.modalities == ("speech", "text")
    assert all(verdict.classifiers.values())


def test_fit_replaces_a_checkpoint_and_nothing_else(
    checkpoint: Path, root: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fitted(out: Path) -> int:
        arguments = ["--config", tiny, "--root", root, "--cache", tmp_path / "cache", "--out", out]
        taken = ["--text-from", checkpoint, "--speech-from", checkpoint]
        return main(["fit", *map(str, arguments + taken)])

    results = tmp_path / "results" / "crossval.json"
    results.parent.mkdir()
    results.write_text("{}", "utf-8")
    for out, reason in (
        (results.parent, f"{results.parent}: holds something that is no checkpoint."),
        (results, f"{results}: a file, where a folder is needed."),
        (results / "new", f"{results}: a file, where a folder is needed."),
    ):
        assert fitted(out) == 2
        assert reason in capsys.readouterr().err
        assert results.read_text("utf-8") == "{}"
    assert not (tmp_path / "cache").exists(), "it was refused before anything was computed"
    (tmp_path / "new").mkdir()
    assert fitted(tmp_path / "new") == 0
    assert fitted(tmp_path / "new") == 0


def test_the_manifest_says_how_the_bimodal_branch_was_paired(checkpoint: Path) -> None:
    notes = Stser.load(checkpoint).notes
    assert "matched by label" in str(notes["pairing"])
    assert notes["text_test"] == {
        "goemotions": {**notes["text_test"]["goemotions"], "sentences": 12}
    }  # type: ignore[index]
    assert len(notes["validation_speakers"]) == 2  # type: ignore[arg-type]


def test_a_trained_text_branch_can_be_taken_as_it_is(
    checkpoint: Path, root: Path, albert: Path, tiny: Path, tmp_path: Path
) -> None:
    arguments = ["--config", tiny, "--root", root, "--cache", tmp_path, "--out", tmp_path / "new"]
    start = ["--text-from", checkpoint]
    assert main(["fit", *map(str, arguments + start)]) == 0
    words = ["i", "miss", "you"]
    logits = [
        Stser.load(p)._engine.text(np.array([[2, 5, 6, 3]]), np.ones((1, 4), np.int64)).logits
        for p in (checkpoint, tmp_path / "new")
    ]
    np.testing.assert_allclose(*logits, atol=1e-5)
    assert Stser.load(tmp_path / "new").classify(None, words).modalities == ("text",)


def test_folds_that_are_done_are_not_done_again_and_the_result_is_the_same(
    checkpoint: Path, root: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "folds"
    arguments = ["--config", tiny, "--root", root, "--cache", tmp_path / "cache", "--out", out]
    command = ["crossval", *map(str, arguments), "--checkpoint", str(checkpoint)]
    assert main(command) == 0
    result = (out / "crossval.json").read_text("utf-8")
    kept = (out / "speech-1.npz").stat().st_mtime_ns
    (out / "speech-2.npz").unlink()
    (out / "pairs-speech-3.npz").unlink()
    assert main(command) == 0
    assert (out / "speech-1.npz").stat().st_mtime_ns == kept
    assert (out / "crossval.json").read_text("utf-8") == result
    with np.load(out / "speech-1.npz") as scores:
        # One speaker of each corpus is tested, with two utterances of each emotion.
        assert scores["test"].shape == (5, 2 * 2 * len(EMOTIONS), len(EMOTIONS))


def test_robustness_asks_held_out_speakers_in_every_condition(
    checkpoint: Path, root: Path, tiny: Path, tmp_path: Path
) -> None:
    arguments = ["--config", tiny, "--root", root, "--cache", tmp_path, "--out", tmp_path / "out"]
    command = ["robustness", *map(str, arguments), "--checkpoint", str(checkpoint)]
    assert main(command) == 0
    found = json.loads((tmp_path / "out" / "robustness.json").read_text("utf-8"))
    assert found["judged"] == "stser-open 0.0.1"
    figures = found["conditions"]
    assert next(iter(figures)) == "clean"
    assert {"noise, 10 dB SNR", "telephone, G.711", "Opus, 7 kb/s"} < set(figures)
    # One validation speaker of each corpus, with two utterances of each emotion.
    assert {found["utterances"] for found in figures.values()} == {2 * 2 * len(EMOTIONS)}
    assert main([*command, "--each", "2"]) == 0
    found = json.loads((tmp_path / "out" / "robustness.json").read_text("utf-8"))
    assert found["conditions"]["clean"]["utterances"] == 2 * len(EMOTIONS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["robustness", "--each"],
        ["confusions", "--out=x", "--each"],
        ["words", "--out=x", "--sentences"],
    ],
)
def test_one_of_no_utterances_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "0", "--root=nowhere"])
    assert f"argument {arguments[-1]}: 0 must be positive" in capsys.readouterr().err


def test_a_checkpoint_is_judged_on_the_speakers_that_its_training_set_apart(
    checkpoint: Path, root: Path, tiny: Path, tmp_path: Path
) -> None:
    arguments = ["--config", tiny, "--root", root, "--cache", tmp_path, "--out", tmp_path / "out"]
    assert main(["held-out", *map(str, arguments), "--checkpoint", str(checkpoint)]) == 0
    figures = json.loads((tmp_path / "out" / "held-out.json").read_text("utf-8"))
    for corpus in ("first", "second"):
        assert figures["speech"][f"{corpus}, 10 heard"]["utterances"] == 2 * len(EMOTIONS)
    assert set(figures["pairs"]) == {"speech", "text", "bimodal", "STSER", "bounds"}
    assert figures["judged"] == "stser-open 0.0.1"


def test_a_fitted_checkpoint_knows_noise_from_its_training_speech(checkpoint: Path) -> None:
    stser = Stser.load(checkpoint)
    noise = 0.1 * np.random.default_rng(1).standard_normal(16_000)
    frames = log_mel(noise.astype(np.float32), stser.log_mel_settings)
    assert stser.classify(frames, None).novel
    assert not stser.classify(log_mel(tone(0, 0, 0), stser.log_mel_settings), None).novel


def test_a_trained_speech_branch_can_be_taken_as_it_is(
    checkpoint: Path, root: Path, tiny: Path, tmp_path: Path
) -> None:
    arguments = ["--config", tiny, "--root", root, "--cache", tmp_path, "--out", tmp_path / "new"]
    taken = ["--text-from", str(checkpoint), "--speech-from", str(checkpoint)]
    assert main(["fit", *map(str, arguments), *taken]) == 0
    heard = log_mel(tone(0, 0, 0), Stser.load(checkpoint).log_mel_settings)[None]
    voice = np.zeros((1, 16), np.float32)
    logits = [
        Stser.load(p)._engine.speech(heard, np.array([heard.shape[1]]), voice).logits
        for p in (checkpoint, tmp_path / "new")
    ]
    np.testing.assert_allclose(*logits, atol=1e-5)


@pytest.mark.parametrize(
    "command", [["held-out"], ["robustness"], ["fit", "--text-from", "{}", "--speech-from", "{}"]]
)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("version =", "seed = 3\nversion ="), "its training set other speakers apart"),
        (("[speech]", "[adaptation]\nshape_frames = 7.0\n[speech]"), "another adaptation"),
        (("[speech]", "[log_mel]\nf_min_hz = 300.0\n[speech]"), "another front end"),
    ],
)
def test_a_checkpoint_is_not_judged_or_gone_on_with_by_settings_of_another_training(
    command: list[str],
    changed: tuple[str, str],
    message: str,
    checkpoint: Path,
    root: Path,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "other.toml"
    config.write_text(tiny.read_text("utf-8").replace(*changed, 1), "utf-8")
    arguments = ["--config", config, "--root", root, "--cache", tmp_path, "--out", tmp_path / "out"]
    named = [part.format(checkpoint) for part in command]
    if command[0] != "fit":
        named += ["--checkpoint", str(checkpoint)]
    assert main([*named, *map(str, arguments)]) == 2
    assert f"{checkpoint}" in (error := capsys.readouterr().err)
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def left_out(
    checkpoint: Path, root: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of the results of ``stser-train left-out``."""
    out = tmp_path_factory.mktemp("left-out")
    flags = ["--config", tiny, "--root", root, "--cache", out, "--checkpoint", checkpoint]
    assert main(["left-out", *map(str, flags), "--out", str(out)]) == 0
    return out


def test_a_corpus_that_is_left_out_is_tested_and_never_trained_on(left_out: Path) -> None:
    figures = json.loads((left_out / "left-out.json").read_text("utf-8"))["speech"]
    heard = [f"{n} heard" for n in (0, 1, 3, 10, 30)]
    names = {f"{corpus}, {n}" for corpus in ("first", "second") for n in heard}
    assert names <= set(figures)
    assert figures["first, 3 heard"]["utterances"] == 3 * 2 * len(EMOTIONS)
    both = [figures[f"first, 3 heard, {gender}"]["utterances"] for gender in ("female", "male")]
    assert sum(both) == 3 * 2 * len(EMOTIONS)
    with np.load(left_out / "without-first.npz") as scores:
        assert scores["test"].shape[1] == 3 * 2 * len(EMOTIONS)  # all that three speakers said


@pytest.mark.parametrize("command", ["left-out", "crossval"])
def test_a_run_is_gone_on_with_by_its_own_settings_corpora_and_teacher_alone(
    command: str,
    checkpoint: Path,
    left_out: Path,
    root: Path,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def told(corpora: Path, config: Path, *more: Path | str) -> str:
        flags = ["--root", corpora, "--config", config, "--checkpoint", checkpoint, *more]
        assert (
            main([command, *map(str, flags), "--cache", str(tmp_path), "--out", str(left_out)]) == 2
        )
        return capsys.readouterr().err.splitlines()[-1]

    result = (left_out / "left-out.json").read_bytes()
    other = tmp_path / "other.toml"
    other.write_text("seed = 7\n" + tiny.read_text("utf-8"), "utf-8")
    message = (
        "another run began here: settings.seed is 1 there and 7 now. Give --out another folder"
    )
    assert message in told(root, other)
    assert "teacher.smodel is None there" in told(root, tiny, "--smodel", tiny)
    for name in ("second", "goemotions", "esc10"):
        (tmp_path / name).symlink_to(root / name)
    shutil.copytree(root / "first", tmp_path / "first")
    changed = tmp_path / "first" / "audio" / "0-sad-0.wav"
    shutil.copyfile(tmp_path / "first" / "audio" / "0-sad-1.wav", changed)
    assert "corpus.hash is sha256:" in told(tmp_path, tiny)
    assert (left_out / "left-out.json").read_bytes() == result


def test_how_a_text_branch_would_be_trained_decides_nothing_of_folds_that_take_one(
    checkpoint: Path, left_out: Path, root: Path, tiny: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        tiny.read_text("utf-8").replace("classifier_steps = 4", "classifier_steps = 5"), "utf-8"
    )
    flags = ["--config", other, "--root", root, "--cache", left_out, "--checkpoint", checkpoint]
    result = (left_out / "left-out.json").read_bytes()
    for out in (left_out, tmp_path / "anew"):
        assert main(["left-out", *map(str, flags), "--out", str(out)]) == 0
        assert (out / "left-out.json").read_bytes() == result


def test_models_of_folds_are_asked_about_the_speakers_of_their_own_folds_alone(
    checkpoint: Path,
    root: Path,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache, folds, other = tmp_path / "cache", tmp_path / "folds", tmp_path / "other.toml"
    other.write_text("seed = 7\n" + tiny.read_text("utf-8"), "utf-8")

    def asked(config: Path) -> int:
        flags = ["--config", config, "--root", root, "--cache", cache, "--crossval", folds]
        return main(["robustness", *map(str, flags), "--out", str(tmp_path / "out")])

    assert asked(tiny) == 2
    assert f"Run stser-train crossval --out {folds} first." in capsys.readouterr().err
    flags = ["--config", tiny, "--root", root, "--cache", cache, "--checkpoint", checkpoint]
    assert main(["crossval", *map(str, flags), "--out", str(folds)]) == 0
    assert asked(tiny) == 0
    assert asked(other) == 2
    assert "settings.seed is 1 there and 7 now. Name its settings" in capsys.readouterr().err
    (folds / "run.json").write_text("{", "utf-8")
    assert asked(tiny) == 2
    assert "run.json: no record of a run can be read" in capsys.readouterr().err


def test_pairs_are_judged_anew_where_the_text_branch_is_another(
    checkpoint: Path, left_out: Path, root: Path, tiny: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(left_out, out)
    shutil.copytree(checkpoint, other)
    manifest = json.loads((other / "manifest.json").read_text("utf-8"))
    (other / "manifest.json").write_text(json.dumps(manifest | {"version": "0.0.2"}), "utf-8")
    names = ("without-first.npz", "pairs-without-first.npz")
    before = [(out / name).stat().st_mtime_ns for name in names]
    flags = ["--config", tiny, "--root", root, "--cache", left_out, "--out", out]
    for judge, anew in ((checkpoint, False), (other, True)):
        assert main(["left-out", *map(str, flags), "--checkpoint", str(judge)]) == 0
        after = [(out / name).stat().st_mtime_ns for name in names]
        assert after[0] == before[0]
        assert (after[1] != before[1]) == anew


@pytest.mark.parametrize(
    ("damaged", "redone"),
    [
        ("without-first.npz", None),
        ("pairs-without-first.npz", None),
        ("without-first.safetensors", "pairs-without-first.npz"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    damaged: str,
    redone: str | None,
    checkpoint: Path,
    left_out: Path,
    root: Path,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    shutil.copytree(left_out, out)
    (out / damaged).write_bytes((out / damaged).read_bytes()[:200])
    if redone is not None:
        (out / redone).unlink()
    flags = ["--config", tiny, "--root", root, "--cache", left_out, "--out", out]
    assert main(["left-out", *map(str, flags), "--checkpoint", str(checkpoint)]) == 2
    assert f"{out / damaged}: cannot be read" in capsys.readouterr().err


def test_fit_takes_the_temperatures_of_corpora_that_were_left_out(
    checkpoint: Path,
    left_out: Path,
    root: Path,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--config", tiny, "--root", root, "--cache", left_out, "--out", tmp_path / "new"]
    taken = ["--text-from", checkpoint, "--speech-from", checkpoint, "--strangers"]
    command = ["fit", *map(str, [*arguments, *taken])]
    assert main([*command, str(left_out / "left-out.json")]) == 0
    found = json.loads((left_out / "left-out.json").read_text("utf-8"))["temperatures"]
    fitted = read_manifest(tmp_path / "new").description.temperatures
    assert (fitted.speech, fitted.bimodal) == (found["speech"], found["bimodal"])
    assert fitted.text == read_manifest(checkpoint).description.temperatures.text
    assert main([*command, str(tiny)]) == 2
    assert "holds no temperatures" in capsys.readouterr().err


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    """Corpora to damage."""
    return shutil.copytree(root, tmp_path / "corpora")


def kept(path: Path, *wanted: str) -> None:
    """Keep the rows of a CSV file that have one of these words."""
    header, *rows = path.read_text("utf-8").splitlines()
    some = [row for row in rows if any(f",{word}" in row for word in wanted)]
    path.write_text("\n".join([header, *some]) + "\n", "utf-8")


Refused = Callable[..., str]


@pytest.fixture
def refused(own: Path, tiny: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """What a command says that refuses the corpora of ``own`` before it trains anything."""

    def last_line(command: str, config: Path = tiny) -> str:
        out = own.with_name(f"out-{command}")
        arguments = ["--config", config, "--root", own, "--cache", own.parent, "--out", out]
        named = [] if command == "baseline" else ["--checkpoint", checkpoint]
        more = ["--text-from", checkpoint] if command == "fit" else named
        assert main([command, *map(str, [*arguments, *more])]) == 2
        assert not out.exists()
        return capsys.readouterr().err.splitlines()[-1]

    return last_line


def test_fit_refuses_audio_that_is_not_all_numbers_by_file(own: Path, refused: Refused) -> None:
    odd = own / "first" / "audio" / "0-sad-0.wav"
    samples = tone(0, 3, 0)
    samples[4_000] = np.nan
    soundfile.write(odd, samples, 16_000, subtype="FLOAT")
    assert f"{odd}: sample 4000 is no finite number" in refused("fit")


@pytest.mark.parametrize("command", ["fit", "left-out"])
def test_a_corpus_with_too_few_speakers_is_refused_before_training(
    command: str, own: Path, refused: Refused
) -> None:
    kept(own / "second" / "manifest.csv", "s3,")
    assert "second: too few speakers" in refused(command)


@pytest.mark.parametrize("command", ["fit", "crossval", "left-out", "baseline"])
def test_rows_of_another_corpus_than_their_folder_are_refused(
    command: str, own: Path, refused: Refused
) -> None:
    manifest = own / "second" / "manifest.csv"
    manifest.write_text(manifest.read_text("utf-8").replace(",second,", ",mine,"), "utf-8")
    assert f"{manifest}: corpus is 'mine' in a row. It must be 'second'" in refused(command)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fit", "the training speakers of first, second: nothing is happy"),
        ("crossval", "the training speakers of first, second: nothing is happy"),
        ("baseline", "first: the training speakers of a fold have one class"),
    ],
)
def test_speech_of_one_class_is_refused_before_training(
    command: str, message: str, own: Path, refused: Refused
) -> None:
    for corpus in ("first", "second"):
        kept(own / corpus / "manifest.csv", "angry,")
    assert message in refused(command)


@pytest.mark.parametrize(("command", "file"), [("fit", "train.csv"), ("crossval", "dev.csv")])
def test_sentences_without_a_class_are_refused_before_training(
    command: str, file: str, own: Path, refused: Refused
) -> None:
    kept(own / "goemotions" / file, "angry", "sad")
    assert f"goemotions/{file}: nothing is happy" in refused(command)


@pytest.mark.parametrize(
    ("command", "tests", "message"),
    [
        ("crossval", '["mine"]', "text.tests (mine) must have goemotions"),
        ("held-out", '["mine"]', "text.tests (mine) must have goemotions"),
        ("fit", "[]", "validation sentences out of text.tests (): nothing is angry"),
    ],
)
def test_tests_without_the_sentences_that_are_needed_are_refused_before_training(
    command: str, tests: str, message: str, own: Path, tiny: Path, refused: Refused
) -> None:
    (own / "goemotions").rename(own / "mine")
    config = own / "settings.toml"
    text = tiny.read_text("utf-8").replace('tests = ["goemotions"]', f"tests = {tests}")
    config.write_text(text.replace('["goemotions"]', '["mine"]'), "utf-8")
    assert message in refused(command, config)


def test_noise_without_a_split_is_refused(own: Path, refused: Refused) -> None:
    (own / "esc10" / "manifest.csv").write_text("path,fold\na.wav,1\n", "utf-8")
    assert "esc10/manifest.csv: no column split" in refused("fit")


def test_rooms_without_a_label_are_refused(own: Path, refused: Refused) -> None:
    (own / "speechbrain_noise_vad").mkdir()
    (own / "speechbrain_noise_vad" / "manifest.csv").write_text("path\na.wav\n", "utf-8")
    assert "speechbrain_noise_vad/manifest.csv: no column label_orig" in refused("robustness")


@pytest.mark.parametrize(
    ("command", "flags", "where"),
    [
        ("fit --out x --text-from x", "--albert --opinions", "beside --text-from"),
        ("fit --out x --speech-from x", "--smodel --hearing --read", "beside --speech-from"),
        ("crossval", "--text-encoder --save-every", "without --corpus iemocap"),
        ("crossval", "--device=cuda --mixed-precision=fp16", "without --corpus iemocap"),
        ("crossval", "--parallel=batches --transcripts=vosk", "without --corpus iemocap"),
        ("crossval --corpus iemocap", "--smodel --hearing --read", "without --corpus open"),
        ("crossval --corpus iemocap --text-encoder x", "--checkpoint", "beside --text-encoder"),
        ("crossval --corpus iemocap", "--vosk-model", "without --transcripts vosk"),
        ("baseline", "--transcripts=vosk", "without --corpus iemocap"),
        ("robustness --checkpoint x", "--crossval", "beside --checkpoint"),
        ("evaluate", "--config", "in evaluate"),
        (
            "evaluate",
            "--vosk-model --min-transcript-confidence",
            "without --transcripts vosk",
        ),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(
    command: str, flags: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in flags.split():
        name, _, value = flag.partition("=")
        assert main([*command.split(), "--root", "nowhere", name, value or "1"]) == 2
        said = capsys.readouterr().err
        assert said == f"stser-train: {name} changes nothing {where}. Leave it out.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--out", "x", "--root", "nowhere"], "nowhere/"),
        (["fit", "--out", "x", "--root", "nowhere", "--albert", "."], "config.json"),
        (["baseline", "--out", "x", "--config", "nowhere.toml", "--root", "r"], "nowhere.toml"),
        (["crossval", "--out", "x"], "--root is missing"),
        (["evaluate", "--out", ".", "--root", "r"], "--out .: a folder, where a file is needed."),
        (
            ["hear", "--teacher", "t", "--out", ".", "--root", "r"],
            "--out .: a folder, where a file",
        ),
        (["confusions", "--out", "/dev/null/t", "--root", "r"], "/dev/null is no folder. Name"),
        (["crossval", "--out", "/dev/null", "--root", "r"], "/dev/null is no folder. Name"),
        (["recogniser", "build", "--out", "/dev/null", "--root", "r"], "/dev/null is no folder."),
        (["recogniser", "evaluate", "--out", ".", "--root", "r"], "--out .: a folder, where"),
        (
            ["pretrain", "--read", ".", "--out", "o", "--teacher", "t", "--root", "r"],
            "--read .: a folder, where",
        ),
    ],
)
def test_what_cannot_be_used_is_one_clear_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("STSER_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("stser-train: ")
    assert message in error
    assert "\n" not in error


def test_without_the_packages_of_training_one_line_says_what_to_install() -> None:
    start = "import sys; sys.modules['tqdm'] = None; from training.__main__ import main"
    done = subprocess.run(
        [sys.executable, "-c", f"{start}; sys.exit(main())"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == 'stser-train: tqdm is missing: pip install "stser-monitor[train]".\n'
