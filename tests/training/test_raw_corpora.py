"""Corpora in the layout of their release: what is read, and the census that must hold."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stser_core.labels import Emotion
from training.corpora import READERS, read_corpus
from training.corpora.meld import read_meld
from training.errors import CorpusError
from training.front_end import load_audio


def touch(root: Path, paths: Iterable[str]) -> None:
    """Empty files; some ten thousand of them, so nothing is done twice."""
    made: set[str] = set()
    for path in paths:
        full = f"{root}/{path}"
        folder = os.path.dirname(full)
        if folder not in made:
            os.makedirs(folder, exist_ok=True)
            made.add(folder)
        os.close(os.open(full, os.O_CREAT | os.O_WRONLY))


def crema_d(root: Path) -> None:
    """7,442 clips: the 91 actors' twelve sentences, one of them at three levels."""
    sentences = ["TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI"]
    clips = [
        f"{actor}_{sentence}_{emotion}_XX"
        for actor in range(1001, 1092)
        for sentence in sentences
        for emotion in ("ANG", "DIS", "FEA", "HAP", "SAD", "NEU")
    ]
    clips += [
        f"{actor}_IEO_{emotion}_{level}"
        for actor in range(1001, 1092)
        for emotion in ("ANG", "DIS", "FEA", "HAP", "SAD")
        for level in ("LO", "MD", "HI")
    ]
    clips += [f"{actor}_IEO_NEU_XX" for actor in range(1001, 1092)]
    # The real corpus lacks a few: three of each acted emotion, five neutral ones.
    for emotion, n in {"ANG": 3, "DIS": 3, "FEA": 3, "HAP": 3, "SAD": 3, "NEU": 5}.items():
        for actor in range(1001, 1001 + n):
            clips.remove(f"{actor}_TSI_{emotion}_XX")
    assert len(clips) == 7_442
    touch(root, (f"AudioWAV/{clip}.wav" for clip in clips))
    demographics = "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
    (root / "VideoDemographics.csv").write_text(demographics, "utf-8")


def ravdess(root: Path) -> None:
    """1,440 files of speech, two of song, and the second copy that some downloads hold."""
    names = [
        f"Actor_{actor:02}/03-01-{emotion:02}-{level:02}-{said:02}-{take:02}-{actor:02}.wav"
        for actor in range(1, 25)
        for emotion in range(1, 9)
        for level in ((1,) if emotion == 1 else (1, 2))
        for said in (1, 2)
        for take in (1, 2)
    ]
    assert len(names) == 1_440
    touch(root, names)
    touch(root / "audio_speech_actors_01-24", names[:60])
    touch(root, ["Actor_01/03-02-05-01-01-01-01.wav", "Actor_02/03-02-05-01-01-01-02.wav"])


def tess(root: Path) -> None:
    """2,800 files; one misspelt, as it really is."""
    for actress in ("OAF", "YAF"):
        for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad"):
            words = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(199)]
            names = [f"{actress}_{word}_{emotion}.wav" for word in words]
            odd = actress == "OAF" and emotion == "neutral"
            names.append(f"{'OA' if odd else actress}_bite_{emotion}.wav")
            touch(root / f"{actress}_{emotion}", names)


def savee(root: Path) -> None:
    for speaker in ("DC", "JE", "JK", "KL"):
        for emotion, n in {"a": 15, "d": 15, "f": 15, "h": 15, "n": 30, "sa": 15, "su": 15}.items():
            touch(root / "AudioData" / speaker, (f"{emotion}{i + 1:02}.wav" for i in range(n)))


def emo_db(root: Path) -> None:
    for letter, n in {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}.items():
        names = [
            f"{speaker}{sentence}{letter}{take}.wav"
            for take in "abc"
            for speaker in ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
            for sentence in ("a01", "a02", "a04", "a05", "a07")
        ]
        touch(root / "wav", names[:n])


def nemo(root: Path) -> None:
    counts = {"anger": 749, "fear": 736, "happiness": 749, "neutral": 809, "sadness": 769}
    counts["surprised"] = 669
    lines = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for emotion, n in counts.items():
        names = [f"MP0_{emotion}_{i}.wav" for i in range(n)]
        touch(root / "samples", names)
        said = '"R\u00f3d smoka\u201d to serial.'
        lines += [f"{name}\t{emotion}\t{said}\tr\u00f3d\t        MP0\tmale\t24" for name in names]
    (root / "data.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def esd(root: Path) -> None:
    """English speakers in full, in the older layout for one; two Mandarin files."""
    for number in range(11, 21):
        speaker = f"{number:04}"
        for block, emotion in enumerate(("Neutral", "Angry", "Happy", "Sad", "Surprise")):
            n = 1 if emotion == "Surprise" else 350  # one is enough to see that it is left out
            names = [f"{speaker}_{block * 350 + i + 1:06}.wav" for i in range(n)]
            folder = root / speaker / emotion
            parts = {"train": names[:300], "evaluation": names[300:320], "test": names[320:]}
            for part, some in parts.items() if number == 11 else (("", names),):
                touch(folder / part, some)
    touch(root / "0001/Angry", ["0001_000351.wav", "0001_000352.wav"])
    line = "0011_000351\tIt\u2019s time.\tAngry\n"
    (root / "0011/0011.txt").write_bytes(line.encode("utf-8"))
    (root / "0012/0012.txt").write_bytes(line.replace("0011", "0012").encode("utf-16"))
    (root / "0016/0016.txt").write_bytes(line.replace("0011", "0016").encode("cp1252"))


WRITERS: dict[str, Callable[[Path], None]] = {
    "crema-d": crema_d,
    "ravdess": ravdess,
    "tess": tess,
    "savee": savee,
    "emo-db": emo_db,
    "nemo": nemo,
    "esd": esd,
}
CENSUS = {  # angry, happy, neutral, sad, as their papers and releases count them
    "crema-d": (1271, 1271, 1087, 1270),
    "ravdess": (192, 192, 96, 192),
    "tess": (400, 400, 400, 400),
    "savee": (60, 60, 120, 60),
    "emo-db": (127, 71, 79, 62),
    "nemo": (749, 749, 809, 769),
    "esd": (3500, 3500, 3500, 3500),
}
SPEAKERS = {"crema-d": 91, "ravdess": 24, "tess": 2, "savee": 4, "emo-db": 10, "nemo": 1, "esd": 10}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a corpus, written when it is first asked for."""
    root = tmp_path_factory.mktemp("raw")

    @cache
    def write(name: str) -> Path:
        WRITERS[name](root / name)
        return root / name

    return write


@pytest.mark.parametrize("name", WRITERS)
def test_a_whole_corpus_has_its_published_census_and_speakers(
    written: Callable[[str], Path], name: str
) -> None:
    utterances = READERS[name](written(name))
    counts = Counter(u.label for u in utterances)
    assert tuple(counts[e] for e in Emotion) == CENSUS[name]
    assert len({u.speaker for u in utterances}) == SPEAKERS[name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_corpus_that_lacks_one_file_is_refused_with_its_counts_unless_allowed(
    written: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    gone = READERS[name](written(name))[0]
    assert gone.audio is not None
    aside = tmp_path / "aside.wav"
    folder = gone.audio.parent.name
    copies = list(written(name).rglob(f"{folder}/{gone.audio.name}"))
    for copy in copies:
        shutil.move(copy, aside)
    try:
        want = CENSUS[name][list(Emotion).index(gone.label)]
        with pytest.raises(CorpusError, match=f"{gone.label} {want - 1} of {want}") as refused:
            READERS[name](written(name))
        assert f"{sum(CENSUS[name]) - 1:,} utterances instead of {sum(CENSUS[name]):,}" in str(
            refused.value
        )
        some = READERS[name](written(name), allow_partial=True)
        assert len(some) == sum(CENSUS[name]) - 1
    finally:
        for copy in copies:
            shutil.copy(aside, copy)


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_is_not_the_corpus_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"Check --root"):
        READERS[name](tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "file", "speaker", "gender", "label", "text"),
    [
        ("crema-d", "1001_DFA_ANG_XX", "crema_d_1001", "male", "angry", "Don't forget a jacket."),
        (
            "ravdess",
            "03-01-04-02-02-01-12",
            "ravdess_12",
            "female",
            "sad",
            "Dogs are sitting by the door.",
        ),
        ("tess", "OA_bite_neutral", "tess_OAF", "female", "neutral", "Say the word bite."),
        ("savee", "sa07", "savee_DC", "male", "sad", None),
        ("emo-db", "08a02Fa", "emodb_08", "female", "happy", "Das will sie am Mittwoch abgeben."),
        ("nemo", "MP0_sadness_3", "nemo_MP0", "male", "sad", '"Ród smoka” to serial.'),
        ("esd", "0011_000351", "esd_0011", "male", "angry", "It\u2019s time."),
        ("esd", "0012_000351", "esd_0012", "", "angry", "It\u2019s time."),
        ("esd", "0016_000351", "esd_0016", "female", "angry", "It\u2019s time."),
    ],
)
def test_a_file_gives_speaker_gender_emotion_and_words(
    written: Callable[[str], Path],
    name: str,
    file: str,
    speaker: str,
    gender: str,
    label: str,
    text: str | None,
) -> None:
    of_name = [u for u in READERS[name](written(name)) if u.audio and u.audio.stem == file]
    found = of_name[0]
    assert (found.speaker, found.gender, found.label) == (speaker, gender, label)
    assert found.text == text


def test_audio_that_git_lfs_did_not_fetch_is_said_to_be_so(tmp_path: Path) -> None:
    touch(tmp_path, ["AudioWAV/1001_DFA_ANG_XX.wav"])
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav").write_bytes(pointer)
    with pytest.raises(CorpusError, match="git lfs pull"):
        READERS["crema-d"](tmp_path)


# MELD: video, archives, three splits.

FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
REAL = {  # anger, joy, neutral, sadness, surprise
    "train": (1109, 1743, 4710, 683, 1205),
    "dev": (153, 163, 470, 111, 150),
    "test": (345, 402, 1256, 208, 281),
}


def meld_csv(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["Sr No.", "Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"]
        )
        writer.writerows(rows)


def video(path: Path, seconds: float) -> None:
    """A tone of 440 Hz in stereo at 44.1 kHz under a black picture."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: apt-get install ffmpeg")
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = f"sine=frequency=440:sample_rate=44100:duration={seconds}"
    picture = f"color=black:size=32x32:rate=5:duration={seconds}"
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", *inputs, "-ac", "2", "-c:a", "aac", str(path)],
        check=True,
    )


def test_the_census_of_meld_holds_over_its_three_splits(tmp_path: Path) -> None:
    kept = tmp_path / "cache"
    for split, counts in REAL.items():
        names = ("anger", "joy", "neutral", "sadness", "surprise")
        emotions = [e for e, n in zip(names, counts, strict=True) for _ in range(n)]
        rows = [
            [str(i), "Hi.", "Ross", e, str(i // 10), str(i % 10)] for i, e in enumerate(emotions)
        ]
        meld_csv(tmp_path / "MELD.Raw" / f"{split}_sent_emo.csv", rows)
        sounds = (f"dia{i // 10}_utt{i % 10}.wav" for i in range(len(rows)))
        touch(kept / "meld/sound" / split, sounds)  # as a run before took it out of the videos
    utterances = read_meld(tmp_path / "MELD.Raw", kept)
    assert len(utterances) == 11_353
    counts = Counter(u.label for u in utterances)
    assert [counts[e] for e in Emotion] == [1_607, 2_308, 6_436, 1_002]
    without = [(u.session, u.dialogue) for u in utterances if u.audio is None]
    assert without == [("train", "train 125")]  # dev has no dialogue 110 in this likeness
    sound = next((kept / "meld/sound/dev").iterdir())
    sound.unlink()
    with pytest.raises(CorpusError, match=r"1 videos are missing.*dev_splits_complete/dia"):
        read_meld(tmp_path / "MELD.Raw", kept)


def test_sound_comes_out_of_the_videos_and_archives_of_meld_at_16_khz_in_mono(
    tmp_path: Path,
) -> None:
    root, kept = tmp_path / "MELD.Raw", tmp_path / "cache"
    rows = [["1", "That\x92s it!", " Joey", "anger", "0", "0"]]
    meld_csv(root / "train/train_sent_emo.csv", rows)
    meld_csv(root / "dev_sent_emo.csv", rows)
    video(root / "train" / FOLDERS["train"] / "dia0_utt0.mp4", 0.5)
    video(tmp_path / "dia0_utt0.mp4", 0.8)
    with tarfile.open(root / "dev.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "dia0_utt0.mp4", f"{FOLDERS['dev']}/dia0_utt0.mp4")
    utterances = read_corpus("meld", root, kept, allow_partial=True)
    assert [u.session for u in utterances] == ["train", "dev"]
    assert (utterances[0].speaker, utterances[0].text) == ("meld_Joey", "That's it!")
    for utterance, seconds in zip(utterances, (0.5, 0.8), strict=True):
        assert utterance.audio is not None
        assert soundfile.info(utterance.audio).samplerate == 16_000
        assert soundfile.info(utterance.audio).channels == 1
        samples = load_audio(utterance.audio, 16_000)
        assert len(samples) / 16_000 == pytest.approx(seconds, abs=0.1)
        spectrum = np.abs(np.fft.rfft(samples))
        assert np.argmax(spectrum) * 16_000 / len(samples) == pytest.approx(440, abs=5)


def test_a_video_without_sound_and_a_torn_archive_are_named(tmp_path: Path) -> None:
    root, kept = tmp_path / "MELD.Raw", tmp_path / "cache"
    for split in FOLDERS:
        meld_csv(root / f"{split}_sent_emo.csv", [["1", "Hi.", "Joey", "joy", "0", "0"]])
    touch(root / FOLDERS["train"], ["dia0_utt0.mp4"])
    with pytest.raises(CorpusError, match=r"dia0_utt0\.mp4: ffmpeg finds no sound"):
        read_meld(root, kept)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.add(__file__, f"{FOLDERS['dev']}/dia0_utt0.mp4")
    (root / "dev.tar.gz").write_bytes(content.getvalue()[:-200])
    with pytest.raises(CorpusError, match=r"dev\.tar\.gz: cannot be unpacked"):
        read_meld(root, kept, allow_partial=True)
    assert not (kept / "meld/dev").exists()
