"""What the recogniser hears in a corpus, in place of the corpus' own words."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from monitor.abstention import AbstentionSettings
from monitor.asr import BLOCK_SAMPLES, VoskEngine
from monitor.events import Transcript
from monitor.vosk_model import EMBEDDED
from stser_core.labels import EMOTIONS
from tests.support.speech import spoken, write_wav
from tests.training.conftest import WORDS
from tests.training.iemocap_folder import write_small
from training.cli import main
from training.flags import MIN_TRANSCRIPT_CONFIDENCE
from training.front_end import load_audio, trim
from training.transcripts import Recogniser, confidence, embedded_model, transcribe
from training.utterance import Utterance


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sentence of each emotion, spoken."""
    folder = tmp_path_factory.mktemp("spoken")
    return {e: write_wav(folder / f"{e}.wav", spoken(text)) for e, text in WORDS.items()}


def monitor_hears(audio: Path) -> Transcript:
    engine = VoskEngine(EMBEDDED)
    samples = trim(load_audio(audio, 16_000), 16_000)
    engine.begin(0)
    for start in range(0, len(samples), BLOCK_SAMPLES):
        engine.feed(samples[start : start + BLOCK_SAMPLES])
    return engine.finish(len(samples))


def test_training_hears_with_the_monitors_model_the_words_that_the_monitor_hears(
    recordings: dict[str, Path], tmp_path: Path
) -> None:
    assert embedded_model() == EMBEDDED
    recogniser = Recogniser(embedded_model(), tmp_path)
    for audio in recordings.values():
        ours, theirs = recogniser.hear(audio), monitor_hears(audio)
        assert [word.word for word in ours] == [word.word for word in theirs.words]
        assert len(ours) > 1
        assert confidence(ours) == pytest.approx(theirs.confidence, abs=1e-3)


def test_the_monitors_limit_for_doubtful_transcripts_is_the_default() -> None:
    assert AbstentionSettings().min_transcript_confidence == MIN_TRANSCRIPT_CONFIDENCE


def test_a_recording_is_recognised_once_for_each_model(
    recordings: dict[str, Path], tmp_path: Path
) -> None:
    heard = Recogniser(EMBEDDED, tmp_path).hear(recordings["angry"])
    (memory,) = tmp_path.iterdir()
    content, words = json.loads(memory.read_text("utf-8"))
    line = json.dumps([content, [["remembered", *words[0][1:]]]])
    memory.write_text(f"{line}\n" + line[: len(line) // 2], "utf-8")  # killed in mid-write
    copy = shutil.copy(recordings["angry"], tmp_path / "copy.wav")
    assert Recogniser(EMBEDDED, tmp_path).hear(copy)[0].word == "remembered"

    other = shutil.copytree(EMBEDDED, tmp_path / "other")
    (other / "README").write_text("another model", "utf-8")
    assert Recogniser(other, tmp_path).hear(copy) == heard


def test_a_transcript_below_the_limit_is_left_out_and_a_row_without_audio_keeps_its_words(
    recordings: dict[str, Path], tmp_path: Path
) -> None:
    recogniser = Recogniser(EMBEDDED, tmp_path)
    sure = confidence(recogniser.hear(recordings["sad"]))
    rows = [
        Utterance(corpus="c", label=EMOTIONS[3], audio=recordings["sad"], text="as written"),
        Utterance(corpus="c", label=EMOTIONS[0], text="only words"),
    ]
    heard = transcribe(rows, recogniser, min_confidence=sure)
    assert heard[0].text == " ".join(word.word for word in recogniser.hear(recordings["sad"]))
    assert heard[1].text == "only words"
    assert transcribe(rows, recogniser, min_confidence=np.nextafter(sure, 2))[0].text is None


def write_iemocap(root: Path, recordings: dict[str, Path]) -> None:
    """Sessions whose voices say what gives the emotion away, and whose transcriptions say nothing."""
    write_small(root)
    for path in root.rglob("EmoEvaluation/Ses*.txt"):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("["):
                name, emotion = line.split("\t")[1:3]
                full = {"ang": "angry", "sad": "sad", "neu": "neutral"}.get(emotion, "happy")
                wav = path.parents[2] / "sentences" / "wav" / path.stem / f"{name}.wav"
                shutil.copy(recordings[full], wav)
        words = path.parents[1] / "transcriptions" / path.name
        said = [line.split(":")[0] + ": well" for line in words.read_text("utf-8").splitlines()]
        words.write_text("\n".join(said) + "\n", "utf-8")


def test_the_baseline_on_iemocap_reads_what_the_recogniser_heard(
    recordings: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_iemocap(tmp_path / "iemocap", recordings)
    shared = ["baseline", "--corpus", "iemocap", "--root", str(tmp_path / "iemocap")]
    shared += ["--allow-partial", "--cache", str(tmp_path / "cache")]
    figures = {}
    for words in ("reference", "vosk"):
        out = tmp_path / words
        assert main([*shared, "--transcripts", words, "--out", str(out)]) == 0
        results = json.loads((out / "results.json").read_text("utf-8"))
        figures[words] = results["TF-IDF + logistic regression"]["UA"]["mean"]
        assert capsys.readouterr().out == (out / "tables.md").read_text("utf-8")
    assert figures == {"reference": 25.0, "vosk": 100.0}
    run = json.loads((tmp_path / "vosk" / "run.json").read_text("utf-8"))
    assert run["words"].startswith("stser-tiny-en sha256:")


def test_a_folder_of_ones_own_is_judged_by_the_words_that_were_heard(
    recordings: dict[str, Path], tmp_path: Path
) -> None:
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label4", "text"])
        for emotion, audio in recordings.items():
            shutil.copy(audio, tmp_path)
            rows.writerow([audio.name, emotion, "as written"])
        soundfile.write(tmp_path / "hush.wav", np.zeros(16_000), 16_000)
        rows.writerow(["hush.wav", "sad", "as written"])
    command = ["evaluate", "--root", str(tmp_path), "--out", str(tmp_path / "predictions.csv")]
    command += ["--transcripts", "vosk", "--cache", str(tmp_path / "cache")]
    assert main(command) == 0
    with (tmp_path / "predictions.csv").open(newline="") as file:
        judged = {row["path"]: row for row in csv.DictReader(file)}
    for audio in recordings.values():
        assert judged[audio.name]["text"] == monitor_hears(audio).text
    hush = judged["hush.wav"]
    assert (hush["text"], hush["text_angry"]) == ("", "")
    assert hush["ensemble_angry"] == hush["speech_angry"]


@pytest.mark.parametrize(
    ("folder", "message"), [("nowhere", "no such folder"), ("no-model", "Vosk cannot use")]
)
def test_what_is_no_model_is_refused(
    folder: str,
    message: str,
    recordings: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "no-model").mkdir()
    (tmp_path / "no-model" / "file").touch()
    shutil.copy(recordings["sad"], tmp_path)
    (tmp_path / "manifest.csv").write_text("path,label4\nsad.wav,sad\n", "utf-8")
    command = ["evaluate", "--root", tmp_path, "--out", tmp_path / "o", "--transcripts", "vosk"]
    command += ["--vosk-model", tmp_path / folder, "--cache", tmp_path / "cache"]
    assert main(list(map(str, command))) == 2
    assert message in capsys.readouterr().err


def test_open_corpora_have_no_recordings_of_their_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["crossval", "--transcripts", "vosk", "--root", "r", "--out", str(tmp_path)]
    assert main(command) == 2
    assert "--transcripts changes nothing without --corpus iemocap" in capsys.readouterr().err
