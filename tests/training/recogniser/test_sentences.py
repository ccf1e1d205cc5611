"""Written texts as they are said, recordings' transcripts, and who is kept for which side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from training.errors import CorpusError
from training.recogniser.sentences import sentences, vocabulary, word_counts
from training.recogniser.speech import Recording, read_recordings, split_of, transcript


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Oh my God, he\u2019s lost it. He's LOST it!", ["oh my god he's lost it", "he's lost it"]),
        ("I ' m fine , thanks .", ["i'm fine thanks"]),
        ("im sure you didnt", ["i'm sure you didn't"]),
        ("Call 911 now. Please!", ["please"]),
        ("see www.example.org; ok?", ["ok"]),
        ("[NAME] is late. So what", ["so what"]),
        ("ich hei\u00dfe Max", []),
    ],
)
def test_sentences_are_what_people_say(text: str, expected: list[str]) -> None:
    assert [" ".join(words) for words in sentences(text)] == expected


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("AS YOU KNOW", True),
        ("Author of the danger trail, Philip Steels, etc.", True),
        ("a well-known man", True),
        ("the year 1465 was", False),
        ("One. Two 2. Three.", False),
    ],
)
def test_a_transcript_is_used_only_where_all_of_it_is_known(text: str, whole: bool) -> None:
    assert bool(transcript(text)) is whole


def test_the_vocabulary_takes_the_most_frequent_words_by_weight() -> None:
    corpora = {"spoken": [("hello", "you")], "typed": [("lol", "lol", "you")]}
    counts = word_counts(corpora, {"spoken": 4.0})
    assert counts == Counter({"hello": 4.0, "you": 5.0, "lol": 2.0})
    assert vocabulary(counts, 2) == ["hello", "you"]


def recording(speaker: str, words: str, corpus: str = "books") -> Recording:
    return Recording(Path("a.wav"), tuple(words.split()), speaker, corpus)


def test_speakers_and_prompts_are_on_one_side_only() -> None:
    def side(one: Recording) -> str:
        return split_of(one, ["v"], ["t"], ["single"])

    assert [side(recording(name, "some words")) for name in "vta"] == ["valid", "test", "train"]
    prompts = [recording("s", f"prompt number {n}", "single") for n in range(400)]
    sides = [side(prompt) for prompt in prompts]
    assert sides == [side(prompt) for prompt in prompts]
    assert {name: 10 < sides.count(name) < 35 for name in ("valid", "test")} == {
        "valid": True,
        "test": True,
    }


def test_a_manifest_that_names_audio_that_is_not_there_is_refused_with_its_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "manifest.csv").write_text("path,speaker,text\nno.wav,s,hello\n", "utf-8")
    with pytest.raises(CorpusError, match=r"manifest.csv:2: no.wav is not there"):
        read_recordings(tmp_path)
