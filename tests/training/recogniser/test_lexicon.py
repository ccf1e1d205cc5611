"""Words to phones."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import TrainingError
from training.recogniser.lexicon import PHONES, pronunciations, read_dictionary


def said(pronunciation: tuple[int, ...]) -> str:
    return " ".join(PHONES[phone] for phone in pronunciation)


def test_words_of_cmudict_have_its_pronunciations_the_usual_one_first() -> None:
    words = pronunciations(["alone", "the"])
    assert [said(p) for p in words["alone"]] == ["AH L OW N"]
    assert {"DH AH", "DH IY"} <= {said(p) for p in words["the"]}


def test_a_word_that_cmudict_lacks_is_said_by_letter_to_sound_rules() -> None:
    [pronunciation] = pronunciations(["brexit"])["brexit"]
    assert said(pronunciation) == "B R EH K S IH T"


def test_a_word_that_cannot_be_said_is_named() -> None:
    with pytest.raises(TrainingError, match="'\\.\\.\\.'"):
        pronunciations(["..."])


def test_further_pronunciations_of_a_dictionary_belong_to_the_same_word(tmp_path: Path) -> None:
    path = tmp_path / "words.dict"
    path.write_text("read R EH D\nread(2) R IY D\nread(3) R IY D\n", "utf-8")
    assert [said(p) for p in read_dictionary(path)["read"]] == ["R EH D", "R IY D"]


def test_an_unknown_phone_is_refused_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "words.dict"
    path.write_text("one W AH N\ntwo T QQ\n", "utf-8")
    with pytest.raises(TrainingError, match=r"words.dict:2: QQ"):
        read_dictionary(path)
