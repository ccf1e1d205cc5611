"""Which sentences are said to the recogniser, by whom, and what calibration makes of the table."""

from __future__ import annotations

from pathlib import Path

from stser_core.labels import EMOTIONS
from training.fit import misheard_data
from training.misheard_sentences import VOICES_OF, to_say
from training.open_corpora import TextSplit
from training.recogniser.synthesis import VOICES
from training.settings import OpenSettings
from training.text_data import TextData
from training.text_encoder import TextEncoder
from training.utterance import Utterance

SETTINGS = OpenSettings()
ANGRY, HAPPY, *_ = EMOTIONS


def split(albert: Path) -> TextSplit:
    """Many happy sentences, few angry ones; the last four are for validation."""
    texts = [(HAPPY, f"what a lovely day {name}") for name in ("ann", "bob", "cid", "dan", "eve")]
    texts += [(ANGRY, "you know that you are not good"), (ANGRY, "no"), (ANGRY, "call 999 now")]
    texts += [(ANGRY, "you know that it is what you want to do with me") for _ in range(4)]
    said = [Utterance(corpus="goemotions", label=label, text=text) for label, text in texts]
    data = TextData(said, TextEncoder.of_albert(str(albert)).tokenizer())
    return TextSplit(data, tuple(range(8)), tuple(range(8, 12)), {})


def test_classes_are_said_in_turn_and_none_more_often_than_asked(albert: Path) -> None:
    some = split(albert)
    labels = [some.data.utterances[at].label for at in to_say(some, "train", 3, SETTINGS)]
    assert labels == [ANGRY, HAPPY, HAPPY, HAPPY]


def test_only_sentences_that_are_said_as_they_are_written_are_said(albert: Path) -> None:
    """One word is too short, and nobody knows how a number is said."""
    some = split(albert)
    said = {" ".join(some.data.words[at]) for at in to_say(some, "train", 9, SETTINGS)}
    assert "you know that you are not good" in said
    assert not {"no", "call 999 now"} & said


def test_validation_sentences_are_said_once_each(albert: Path) -> None:
    [one] = to_say(split(albert), "valid", 9, SETTINGS)
    assert one in range(8, 12)


def test_no_voice_of_a_test_says_what_the_text_branch_learns_from() -> None:
    train, valid = (set(VOICES[VOICES_OF[side]]) for side in ("train", "valid"))
    assert not train & valid
    assert not (train | valid) & set(VOICES["test"])
    assert not valid & set(VOICES["train"])


def test_calibration_mishears_validation_sentences_and_no_others(albert: Path) -> None:
    some = split(albert)
    heard = misheard_data(some, SETTINGS)
    assert heard.words[:8] == some.data.words[:8]
    assert heard.words[8:] != some.data.words[8:]
    assert len({tuple(words) for words in some.data.words[8:]}) == 1  # the given data are untouched
    assert misheard_data(some, SETTINGS).words == heard.words
