"""Which sentences synthesisers say, by which voices, and what they sound like."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.errors import TrainingError
from training.recogniser.synthesis import (
    VOICES,
    Line,
    Voice,
    chosen,
    lines,
    missing_packages,
    spoken,
)

POOL = [
    tuple(text.split()) for text in ("so are you", "so am i", "you are so so", "rare word", "no")
]


def test_sentences_with_words_that_were_not_said_come_first_and_none_comes_twice() -> None:
    said: Counter[str] = Counter()
    drawn = chosen(POOL * 3, 4, range(2, 5), said, np.random.default_rng(0))
    assert len(set(drawn)) == len(drawn) == 4
    assert ("no",) not in drawn
    assert said.total() == sum(map(len, drawn[:2]))
    assert {word for sentence in drawn for word in sentence} >= {"rare", "so", "i"}


def test_no_voice_speaks_on_two_sides() -> None:
    speakers = {side: {voice.name for voice in voices} for side, voices in VOICES.items()}
    assert not speakers["train"] & speakers["valid"]
    assert not speakers["train"] & speakers["test"]
    assert not speakers["valid"] & speakers["test"]


def test_the_same_seed_gives_the_same_voices_and_manners() -> None:
    first, second = (lines(POOL, "train", np.random.default_rng(3)) for _ in range(2))
    assert first == second
    assert {line.voice for line in first} <= set(VOICES["train"])


@pytest.mark.usefixtures("programs")
def test_each_program_says_the_words_and_slower_is_longer() -> None:
    voices = (
        Voice("flite", "slt", 172),
        Voice("espeak-ng", "en-us+m3"),
        Voice("festival", "kal_diphone"),
    )
    calm = [Line(("leave", "me", "alone"), voice, 1.0, 1.0, 1.0) for voice in voices]
    said = list(spoken([*calm, *(replace(line, stretch=1.4) for line in calm)]))
    seconds = {(line.voice.engine, line.stretch): len(samples) / 16_000 for line, samples in said}
    assert len(seconds) == 6
    for voice in voices:
        assert 0.4 < seconds[voice.engine, 1.0] < 1.6
        assert seconds[voice.engine, 1.4] > 1.15 * seconds[voice.engine, 1.0]


def test_a_program_that_no_line_needs_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("flite is not installed: apt-get install flite")
    (tmp_path / "flite").symlink_to(flite)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {"espeak-ng", "festival"} <= set(missing_packages())
    assert missing_packages({"flite"}) == []
    voices = Voice("flite", "slt", 172), Voice("espeak-ng", "en-us+m3")
    said = [Line(("leave", "me", "alone"), voice) for voice in voices]
    assert len(list(spoken(said[:1]))) == 1
    with pytest.raises(TrainingError, match=r"needs: .* espeak-ng$"):
        list(spoken(said))
