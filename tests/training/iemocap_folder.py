"""A small folder in IEMOCAP's exact format: its files, its columns, its remarks, its oddities."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import soundfile

from stser_core.labels import EMOTIONS
from tests.training.conftest import WORDS, tone

NAMES = {"angry": "ang", "happy": "hap", "neutral": "neu", "sad": "sad"}


def write_dialogue(
    session: Path, dialogue: str, turns: Iterable[tuple[str, str, str]], *, audio: bool = True
) -> None:
    """One dialogue of turns: utterance after the dialogue's name, IEMOCAP's emotion, words.

    The wav files are tones of 0.5 s, or empty files where ``audio`` is not set.
    """
    ratings = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    said = []
    wav = session / "sentences" / "wav" / dialogue
    wav.mkdir(parents=True, exist_ok=True)
    for index, (turn, emotion, words) in enumerate(turns):
        name, begin, end = f"{dialogue}_{turn}", 6.2901 + index, 8.2357 + index
        ratings += [
            f"[{begin:.4f} - {end:.4f}]\t{name}\t{emotion}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
        said += [f"{name} [{begin:08.4f}-{end:08.4f}]: {words}"]
        if audio:
            four = "hap" if emotion == "exc" else emotion
            sound = [NAMES[e] for e in EMOTIONS].index(four) if four in NAMES.values() else 0
            speaker = 2 * int(session.name[-1]) + (turn[0] == "F")
            soundfile.write(wav / f"{name}.wav", tone(speaker, sound, index), 16_000)
        else:
            (wav / f"{name}.wav").touch()
    said += [f"{dialogue}_MXX0 [100.0000-101.0000]: [LAUGHTER]", "M: [BREATHING]"]
    for folder, lines in (("EmoEvaluation", ratings), ("transcriptions", said)):
        path = session / "dialog" / folder / f"{dialogue}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", "utf-8")
        (path.parent / f"._{dialogue}.txt").write_bytes(b"\x00\x05\x16\x07\xff")
    (session / "dialog" / "EmoEvaluation" / "Categorical").mkdir(exist_ok=True)


def write_small(root: Path, n_dialogues: int = 3) -> Path:
    """Five sessions of a few dialogues, both speakers in each, every class in each."""
    for number in range(1, 6):
        for index in range(n_dialogues):
            kind = f"impro0{index + 1}" if index % 2 == 0 else f"script0{index + 1}_1"
            turns = [
                (f"{'FM'[i % 2]}{i:03}", "exc" if (i, index) == (1, 1) else NAMES[emotion], words)
                for i, (emotion, words) in enumerate(WORDS.items())
            ]
            turns += [
                ("F004", "xxx", "Well."),
                ("M005", "fru", "Oh."),
                ("M006", "ang", "[GARBAGE]"),
            ]
            write_dialogue(
                root / f"Session{number}", f"Ses0{number}{'FM'[index % 2]}_{kind}", turns
            )
    return root


if __name__ == "__main__":  # python -m tests.training.iemocap_folder FOLDER: to try the protocol
    write_small(Path(sys.argv[1]))
