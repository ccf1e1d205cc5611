"""The voice that is kept: whole or not at all, for its owner alone, and only where it fits."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import UsageError
from monitor.heard_voice import VoiceFile
from stser_core.adaptation import LogMelStatistics
from stser_core.features import LogMelSettings

FRONT_END = LogMelSettings()
HEARD = LogMelStatistics.of(np.random.default_rng(0).normal(-5, 2, (50, 64)).astype(np.float32))


def test_what_is_kept_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    file = VoiceFile(tmp_path / "new" / "voice.json")
    assert file.load(FRONT_END) is None
    file.save(HEARD, FRONT_END)
    again = file.load(FRONT_END)
    assert again is not None
    assert again.count == HEARD.count
    np.testing.assert_array_equal(again.mean, HEARD.mean)
    np.testing.assert_array_equal(again.squares, HEARD.squares)


def test_only_the_owner_may_read_it_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "voice.json"
    for _ in range(2):
        VoiceFile(path).save(HEARD, FRONT_END)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_forgotten_is_gone_from_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "voice.json"
    VoiceFile(path).save(HEARD, FRONT_END)
    VoiceFile(path).save(None, FRONT_END)
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", "[" * 100_000, '{"version": 1, "mean": 3}', "\N{SNOWMAN}"],
    ids=["empty", "list", "null", "nothing", "deep", "partial", "text"],
)
def test_a_file_that_holds_no_voice_is_learnt_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "voice.json"
    path.write_text(text, "utf-8")
    assert VoiceFile(path).load(FRONT_END) is None


@pytest.mark.parametrize("changed", [{"count": -1}, {"count": float("nan")}, {"mean": [1.0]}])
def test_numbers_that_are_none_are_not_believed(tmp_path: Path, changed: dict[str, object]) -> None:
    path = tmp_path / "voice.json"
    VoiceFile(path).save(HEARD, FRONT_END)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changed), "utf-8")
    assert VoiceFile(path).load(FRONT_END) is None


def test_the_voice_of_another_front_end_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "voice.json"
    VoiceFile(path).save(HEARD, FRONT_END)
    assert VoiceFile(path).load(LogMelSettings(f_min_hz=60.0)) is None


def test_a_path_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"adaptation\.state_file .* cannot be read"):
        VoiceFile(tmp_path).load(FRONT_END)
