"""MELD (Poria et al., 2019) as released: ``MELD.Raw`` with three archives of video.

::

    train_sent_emo.csv  dev_sent_emo.csv  test_sent_emo.csv      anywhere below the root
    train.tar.gz  or  train_splits/dia0_utt0.mp4
    dev.tar.gz    or  dev_splits_complete/...
    test.tar.gz   or  output_repeated_splits_test/...

The sound is taken out of the videos by ffmpeg, once, into the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tqdm import tqdm

from stser_core.labels import Emotion
from training.corpora.census import check_census
from training.corpora.csv_manifest import read_rows
from training.errors import CorpusError
from training.utterance import Utterance

SPLITS: Final = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
"""Folder of the videos by split."""

UNUSABLE: Final = {("train", "dia125_utt3"), ("dev", "dia110_utt7")}
"""Videos that the release itself has broken or not at all: these rows have words only."""

CENSUS: Final = {
    Emotion.ANGRY: 1_607,
    Emotion.HAPPY: 2_308,
    Emotion.NEUTRAL: 6_436,
    Emotion.SAD: 1_002,
}
SPLIT_CENSUS: Final = {"train": 8_245, "dev": 897, "test": 2_211}

SAMPLE_RATE_HZ: Final = 16_000

_LABELS: Final = {
    "anger": Emotion.ANGRY,
    "joy": Emotion.HAPPY,
    "neutral": Emotion.NEUTRAL,
    "sadness": Emotion.SAD,
}
_COLUMNS: Final = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
# Code page 1252 that became control characters on its way to UTF-8.
_PUNCTUATION: Final = {
    0x85: "...",
    0x91: "'",
    0x92: "'",
    0x93: '"',
    0x94: '"',
    0x96: "-",
    0x97: "-",
}


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of a CSV file, of the four classes."""

    split: str
    video: str
    label: Emotion
    speaker: str
    dialogue: str
    text: str


def read_meld(root: Path, cache: Path, *, allow_partial: bool = False) -> list[Utterance]:
    """11,353 utterances of the sitcom, by split, dialogue and place in it.

    Args:
        root: ``MELD.Raw``, with its archives as they are or unpacked.
        cache: Folder for unpacked videos and sound, both kept.
        allow_partial: Go on where splits or videos are missing; without a video a row has words
            only.

    Raises:
        CorpusError: A file is missing or cannot be read, the census differs, or ffmpeg is missing.
    """
    folder = cache / "meld"
    lines: list[_Line] = []
    videos: dict[str, Path | None] = {}
    for split in SPLITS:
        videos[split] = _videos(root, split, folder)
        lines += _lines(root, split, folder, allow_partial=allow_partial)
    utterances, missing = [], []
    for line in tqdm(lines, desc="MELD", mininterval=5):
        audio = None
        if (line.split, line.video) not in UNUSABLE:
            audio = _sound(videos[line.split], line, folder, allow_partial=allow_partial)
            if audio is None:
                missing.append(f"{SPLITS[line.split]}/{line.video}.mp4")
        utterances.append(
            Utterance(
                corpus="meld",
                label=line.label,
                speaker=f"meld_{line.speaker}",
                audio=audio,
                text=line.text,
                dialogue=f"{line.split} {line.dialogue}",
                session=line.split,
            )
        )
    if missing and not allow_partial:
        raise CorpusError(
            f"meld: {len(missing)} videos are missing, the first is {missing[0]}. Restore them, or "
            "go on with --allow-partial: their rows then have words only."
        )
    check_census("meld", utterances, CENSUS, sessions=SPLIT_CENSUS, allow_partial=allow_partial)
    return utterances


def _videos(root: Path, split: str, cache: Path) -> Path | None:
    """Folder of a split's videos; an archive is unpacked into the cache first."""
    for place in (root, cache / split):
        found = next((path for path in sorted(place.rglob(SPLITS[split])) if path.is_dir()), None)
        if found is not None:
            return found
    archive = root / f"{split}.tar.gz"
    if not archive.is_file():
        return None
    draft = cache / f".{split}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(draft, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise CorpusError(f"{archive}: cannot be unpacked ({error}). Download it again.") from error
    draft.rename(cache / split)
    return next((p for p in sorted((cache / split).rglob(SPLITS[split])) if p.is_dir()), None)


def _lines(root: Path, split: str, cache: Path, *, allow_partial: bool) -> Iterator[_Line]:
    name = f"{split}_sent_emo.csv"
    places = [path for place in (root, cache / split) for path in sorted(place.rglob(name))]
    if not places:
        if allow_partial:
            return
        raise CorpusError(f"{root / name}: is not there, nor in a folder below. Check --root.")
    for row in read_rows(places[0], _COLUMNS):
        label = _LABELS.get(row["Emotion"])
        if label is not None:
            yield _Line(
                split=split,
                video=f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}",
                label=label,
                speaker=row["Speaker"].strip(),
                dialogue=row["Dialogue_ID"],
                text=row["Utterance"].translate(_PUNCTUATION),
            )


def _sound(videos: Path | None, line: _Line, cache: Path, *, allow_partial: bool) -> Path | None:
    """The sound of a video as a WAV file in the cache; None where there is no video."""
    sound = cache / "sound" / line.split / f"{line.video}.wav"
    if sound.is_file():
        return sound
    video = videos / f"{line.video}.mp4" if videos is not None else None
    if video is None or not video.is_file():
        return None
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise CorpusError(
            "ffmpeg is missing, which takes the sound out of MELD's videos: "
            "sudo apt-get install -y ffmpeg"
        )
    sound.parent.mkdir(parents=True, exist_ok=True)
    draft = sound.with_suffix(".draft.wav")
    command = [ffmpeg, "-nostdin", "-v", "error", "-y", "-i", str(video), "-vn", "-ac", "1"]
    done = subprocess.run(  # noqa: S603  # a fixed command on the user's own file
        [*command, "-ar", str(SAMPLE_RATE_HZ), str(draft)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        draft.unlink(missing_ok=True)
        if allow_partial:
            return None
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CorpusError(f"{video}: ffmpeg finds no sound in it ({reason}).")
    os.replace(draft, sound)
    return sound
