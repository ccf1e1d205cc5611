"""IEMOCAP's layout: what is read, and the census that must hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from stser_core.labels import Emotion
from tests.training.iemocap_folder import write_dialogue, write_small
from training.corpora.iemocap import read_iemocap
from training.errors import CorpusError

# By session: anger, happiness, excitement, neutral, sadness (Busso et al., 2008, and every paper
# that uses the four classes).
REAL = {
    1: (229, 135, 143, 384, 194),
    2: (137, 117, 210, 362, 197),
    3: (240, 135, 151, 320, 305),
    4: (327, 65, 238, 258, 143),
    5: (170, 143, 299, 384, 245),
}


def write_census(root: Path) -> Path:
    """As many utterances as the real corpus has, without sound."""
    for number, counts in REAL.items():
        names = [
            name
            for name, count in zip(("ang", "hap", "exc", "neu", "sad"), counts, strict=True)
            for _ in range(count)
        ]
        turns = [(f"{'FM'[i % 2]}{i:03}", name, "words") for i, name in enumerate(names)]
        write_dialogue(
            root / f"Session{number}",
            f"Ses0{number}F_impro01",
            [*turns, ("F999", "fea", "no")],
            audio=False,
        )
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_census(tmp_path_factory.mktemp("whole") / "IEMOCAP_full_release").parent


def test_the_census_is_that_of_the_paper(whole: Path) -> None:
    utterances = read_iemocap(whole)
    assert len(utterances) == 5_531
    assert Counter(u.label for u in utterances) == {
        Emotion.ANGRY: 1103,
        Emotion.HAPPY: 1636,
        Emotion.NEUTRAL: 1708,
        Emotion.SAD: 1084,
    }


def test_one_utterance_less_is_refused_with_the_counts_of_each_class_and_session(
    tmp_path: Path,
) -> None:
    root = write_census(tmp_path)
    gone = root / "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_F000.wav"
    gone.unlink()
    with pytest.raises(CorpusError) as refused:
        read_iemocap(root)
    message = str(refused.value)
    assert "5,530 utterances instead of 5,531" in message
    assert (
        "angry 1102 of 1103, happy 1636 of 1636, neutral 1708 of 1708, sad 1084 of 1084" in message
    )
    assert "Session2 1023 of 1023, Session3 1150 of 1151, Session4 1031 of 1031" in message
    assert "Ses03F_impro01_F000.wav" in message
    assert "--allow-partial" in message
    assert len(read_iemocap(root, allow_partial=True)) == 5_530


def test_the_right_number_in_the_wrong_session_is_refused(tmp_path: Path) -> None:
    root = write_census(tmp_path)
    write_dialogue(root / "Session1", "Ses01F_impro02", [("F000", "ang", "w")], audio=False)
    (root / "Session4/sentences/wav/Ses04F_impro01/Ses04F_impro01_F000.wav").unlink()
    with pytest.raises(CorpusError, match=r"Session1 1086 of 1085"):
        read_iemocap(root)


def test_an_utterance_has_its_voice_words_dialogue_and_session(tmp_path: Path) -> None:
    root = write_small(tmp_path)
    utterances = read_iemocap(root, allow_partial=True)
    assert len(utterances) == 5 * 3 * 5  # of seven turns two are of other classes
    second = utterances[1]
    assert second.speaker == "iemocap_Ses01M"
    assert (second.gender, second.session) == ("male", "Session1")
    assert second.dialogue == "Ses01F_impro01"
    assert second.text == "what a lovely day"
    assert second.audio == root / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M001.wav"
    assert {u.speaker for u in utterances} == {
        f"iemocap_Ses0{s}{g}" for s in range(1, 6) for g in "FM"
    }


def test_excitement_counts_as_happiness_and_frustration_is_left_out(tmp_path: Path) -> None:
    turns = [
        ("F000", "exc", "yes"),
        ("F001", "hap", "ha"),
        ("F002", "fru", "no"),
        ("F003", "xxx", ""),
    ]
    write_dialogue(tmp_path / "Session1", "Ses01F_impro01", turns)
    labels = [u.label for u in read_iemocap(tmp_path, allow_partial=True)]
    assert labels == [Emotion.HAPPY, Emotion.HAPPY]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[6.2901 - 8.2357] Ses01F_impro01_F000 neu", r"impro01\.txt:1: not a rating"),
        ("[6.2 - 8.2]\tSes02F_impro01_F000\tneu\t[2.5, 2.5, 2.5]", r"not a rating of Session1"),
        ("[6.2 - 8.2]\tSes01F_impro01_F007\tneu\t[2.5, 2.5, 2.5]", "F007 has no transcription"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_dialogue(tmp_path / "Session1", "Ses01F_impro01", [("F000", "neu", "w")], audio=False)
    path = tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    path.write_text(line + "\n", "utf-8")
    with pytest.raises(CorpusError, match=message):
        read_iemocap(tmp_path, allow_partial=True)


def test_a_folder_that_is_not_the_corpus_is_refused_even_as_a_part(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"0 utterances instead of 5,531.*Check --root"):
        read_iemocap(tmp_path, allow_partial=True)
