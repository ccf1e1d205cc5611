"""The voice that is kept: whole or not at all, for its owner alone, and only where it fits."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.errors import UsageError
from monitor.heard_voice import Origin, VoiceFile
from stser_core.adaptation import HeardSpeech
from stser_core.features import LogMelSettings

ORIGIN = Origin(LogMelSettings(), "sha256:0123", 8)
DRAW = np.random.default_rng(0)
LOG_MEL = HeardSpeech().after(DRAW.normal(-5, 2, (50, 64)).astype(np.float32))
HEARD = LOG_MEL.judged(DRAW.normal(0, 1, 8).astype(np.float32)).judged(np.ones(8, np.float32) / 3)


def same(one: HeardSpeech, other: HeardSpeech) -> bool:
    """To the last bit."""

    def told(heard: HeardSpeech) -> Any:
        log_mel, voice = heard.log_mel, heard.voice
        return (
            None if log_mel is None else (log_mel.count, log_mel.mean.tolist()),
            None if voice is None else (voice.count, voice.mean.tolist()),
        )

    return bool(told(one) == told(other))


@pytest.mark.parametrize("heard", [HEARD, LOG_MEL], ids=["voice", "no voice"])
def test_what_is_kept_comes_back_to_the_last_bit(tmp_path: Path, heard: HeardSpeech) -> None:
    file = VoiceFile(tmp_path / "new" / "voice.json")
    assert same(file.load(ORIGIN), HeardSpeech())
    file.save(heard, ORIGIN)
    assert same(file.load(ORIGIN), heard)


def test_only_the_owner_may_read_it_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "voice.json"
    for _ in range(2):
        VoiceFile(path).save(HEARD, ORIGIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_forgotten_is_gone_from_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "voice.json"
    VoiceFile(path).save(HEARD, ORIGIN)
    VoiceFile(path).save(HeardSpeech(), ORIGIN)
    assert not path.exists()


def warned(caplog: pytest.LogCaptureFixture) -> bool:
    return "holds no voice that this model can use: it is learnt anew" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", "[" * 100_000, '{"version": 3, "log_mel": 3}', "\N{SNOWMAN}"],
    ids=["empty", "list", "null", "nothing", "deep", "partial", "text"],
)
def test_a_file_that_holds_no_voice_is_learnt_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = tmp_path / "voice.json"
    path.write_text(text, "utf-8")
    assert same(VoiceFile(path).load(ORIGIN), HeardSpeech())
    assert warned(caplog)


@pytest.mark.parametrize("part", ["log_mel", "voice"])
@pytest.mark.parametrize(
    "changed",
    [
        *({"count": count} for count in (-1, 0, float("nan"), float("inf"), "two", None, 10**400)),
        *({"mean": mean} for mean in ([1.0], [], 1.0, None, [[1.0] * 8], ["x"] * 8)),
        {"mean": [float("nan")] * 8},
        {"mean": [1e39] * 8},
    ],
    ids=lambda changed: repr(changed)[:30],
)
def test_numbers_that_are_none_are_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, changed: dict[str, object]
) -> None:
    path, origin = tmp_path / "voice.json", Origin(LogMelSettings(n_mels=8), "sha256:0123", 8)
    heard = HeardSpeech().after(np.ones((5, 8), np.float32)).judged(np.ones(8, np.float32))
    VoiceFile(path).save(heard, origin)
    assert same(VoiceFile(path).load(origin), heard)
    tree = json.loads(path.read_text("utf-8"))
    tree[part] |= changed
    path.write_text(json.dumps(tree), "utf-8")
    assert same(VoiceFile(path).load(origin), HeardSpeech())
    assert warned(caplog)


def test_of_another_front_end_nothing_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "voice.json"
    VoiceFile(path).save(HEARD, ORIGIN)
    other = dataclasses.replace(ORIGIN, front_end=LogMelSettings(f_min_hz=60.0))
    assert same(VoiceFile(path).load(other), HeardSpeech())
    assert warned(caplog)


@pytest.mark.parametrize("size", [8, 32])
def test_a_voice_of_other_weights_is_learnt_anew_and_its_log_mel_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    path = tmp_path / "voice.json"
    VoiceFile(path).save(HEARD, ORIGIN)
    other = Origin(ORIGIN.front_end, "sha256:4567", size)
    assert same(VoiceFile(path).load(other), LOG_MEL)
    assert not warned(caplog)


def test_a_file_of_the_version_before_is_learnt_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "voice.json"
    VoiceFile(path).save(HEARD, ORIGIN)
    tree = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(tree | {"version": 1}), "utf-8")
    assert same(VoiceFile(path).load(ORIGIN), HeardSpeech())
    assert warned(caplog)


def test_a_path_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"adaptation\.state_file .* cannot be read"):
        VoiceFile(tmp_path).load(ORIGIN)
