"""Sounds that are no speech are told from speech, at any level; a checkpoint need not be able to."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stser_core.checkpoint import MANIFEST, Manifest, read_manifest
from stser_core.ensemble import Stser
from stser_core.errors import CheckpointError
from stser_core.features import LogMelSettings, log_mel
from stser_core.novelty import BANDS, LEAST_FRAMES, Kind, Novelty, NoveltyDetector, describe

FRONT_END = LogMelSettings()


def sound(rng: np.random.Generator, spread: float) -> NDArray[np.float32]:
    """Log-mel that changes as much as ``spread`` from frame to frame."""
    return (-8 + spread * rng.standard_normal((80, 64))).astype(np.float32)


@pytest.fixture(scope="module")
def novelty() -> Novelty:
    """Lively sounds are speech, flat ones are noise."""
    rng = np.random.default_rng(0)
    speech, noise, others = (
        np.array([describe(sound(rng, spread)) for _ in range(400)]) for spread in (3, 1, 3)
    )
    return Novelty.of(speech, noise, others, 0.02)


def test_noise_is_novel_and_speech_is_not(novelty: Novelty) -> None:
    rng, detector = np.random.default_rng(1), NoveltyDetector(novelty)
    assert not any(detector.novel(sound(rng, 3)) for _ in range(20))
    assert all(detector.novel(sound(rng, 1)) for _ in range(20))


def test_what_is_like_neither_is_novel(novelty: Novelty) -> None:
    assert NoveltyDetector(novelty).novel(sound(np.random.default_rng(1), 12))


def test_a_sound_too_short_to_tell_is_not_called_novel(novelty: Novelty) -> None:
    noise = sound(np.random.default_rng(1), 1)
    detector = NoveltyDetector(novelty)
    assert detector.novel(noise[:LEAST_FRAMES])
    assert not detector.novel(noise[: LEAST_FRAMES - 1])


def test_level_and_depth_of_silence_change_no_description() -> None:
    frames = sound(np.random.default_rng(0), 3)
    np.testing.assert_allclose(describe(frames + 5), describe(frames), atol=1e-4)
    silence = [np.full((20, 64), depth, np.float32) for depth in (-23.0, -40.0)]
    held = [describe(np.concatenate([frames, quiet])) for quiet in silence]
    np.testing.assert_allclose(*held)


def test_a_single_frame_can_be_described() -> None:
    assert np.isfinite(describe(sound(np.random.default_rng(0), 3)[:1])).all()
    assert len(describe(sound(np.random.default_rng(0), 3)[:1])) == 5 * BANDS


def test_kinds_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mean \(3 values\)"):
        Kind(mean=(0.0,) * 3, whitening=((0.0,) * 3,) * 3)


def with_novelty(directory: Path, novelty: Novelty) -> Path:
    """The checkpoint, with this."""
    path = directory / MANIFEST
    tree = json.loads(path.read_text("utf-8"))
    tree["novelty"] = dataclasses.asdict(novelty)
    path.write_text(json.dumps(tree), "utf-8")
    return directory


def test_a_checkpoint_carries_it_and_its_verdicts_say_so(
    checkpoint_copy: Path, novelty: Novelty
) -> None:
    folder = with_novelty(checkpoint_copy, novelty)
    assert read_manifest(folder).description.novelty == novelty
    stser, rng = Stser.load(folder), np.random.default_rng(1)
    assert stser.classify(sound(rng, 1), None).novel
    assert not stser.classify(sound(rng, 3), None).novel
    assert not stser.classify(None, ["leave", "me"]).novel


def test_a_checkpoint_without_it_calls_nothing_novel(manifest: Manifest) -> None:
    stser = Stser.load(manifest.directory)
    assert not stser.classify(sound(np.random.default_rng(1), 1), None).novel


def test_a_damaged_one_is_refused(checkpoint_copy: Path, novelty: Novelty) -> None:
    folder = with_novelty(checkpoint_copy, novelty)
    tree = json.loads((folder / MANIFEST).read_text("utf-8"))
    tree["novelty"]["noise"]["mean"].pop()
    (folder / MANIFEST).write_text(json.dumps(tree), "utf-8")
    with pytest.raises(CheckpointError, match="novelty"):
        read_manifest(folder)


def times() -> NDArray[np.float64]:
    return np.arange(32_000) / 16_000


def tones(*hz: float) -> NDArray[np.float64]:
    return np.asarray(sum(0.1 * np.sin(2 * np.pi * f * times()) for f in hz))


def melody() -> NDArray[np.float64]:
    """Eight plucked notes."""
    t = times()[:4_000]
    return np.concatenate(
        [
            0.2 * sum(np.sin(2 * np.pi * f * k * t) / k for k in (1, 2, 3)) * np.exp(-6 * t)
            for f in (262, 294, 330, 349, 392, 440, 494, 523)
        ]
    )


def barks() -> NDArray[np.float64]:
    noise = np.random.default_rng(0).standard_normal(32_000)
    return np.asarray(
        sum(0.3 * noise * np.exp(-(((times() - at) / 0.05) ** 2)) for at in (0.3, 0.9, 1.5))
    )


def bird() -> NDArray[np.float64]:
    chirp = np.sin(2 * np.pi * (3_000 * times() + 200 * np.sin(2 * np.pi * 12 * times())))
    return 0.3 * chirp * (np.sin(2 * np.pi * 4 * times()) > 0)


def bursts() -> NDArray[np.float64]:
    noise = np.random.default_rng(1).standard_normal(32_000)
    return 0.2 * noise * (np.sin(2 * np.pi * 3 * times()) > 0.5)


NO_SPEECH = {
    "tone": tones(440),
    "chord": tones(262, 330, 392, 523),
    "melody": melody(),
    "noise": 0.1 * np.random.default_rng(2).standard_normal(32_000),
    "bursts": bursts(),
    "barks": barks(),
    "bird": bird(),
}


@pytest.fixture(scope="module")
def packaged() -> Stser:
    return Stser.load()


@pytest.mark.parametrize("name", NO_SPEECH)
def test_the_packaged_model_knows_that_this_is_no_speech(packaged: Stser, name: str) -> None:
    room = 1e-4 * np.random.default_rng(3).standard_normal(32_000)
    heard = (NO_SPEECH[name] + room).astype(np.float32)
    assert packaged.classify(log_mel(heard, FRONT_END), None).novel


def test_the_packaged_model_takes_a_spoken_sentence_for_speech(
    packaged: Stser, speech: NDArray[np.float32]
) -> None:
    assert not packaged.classify(log_mel(speech, FRONT_END), None).novel


def test_what_is_no_speech_is_not_remembered_as_a_voice(
    centred: Manifest, novelty: Novelty, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(centred.directory, tmp_path / "copy"))
    stser, rng = Stser.load(with_novelty(folder, novelty)), np.random.default_rng(1)
    assert stser.classify(sound(rng, 1), None).voice is None
    assert stser.classify(sound(rng, 3), None).voice is not None
