"""What training and evaluation take off a representation, as if its voice had been heard before."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from config.loader import SettingsError, build
from stser_core.adaptation import AdaptationSettings, HeardSpeech
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from tests.training.test_loop import SIZES
from training.front_end import LogMels
from training.loop import score_speech
from training.settings import OpenSettings
from training.speech_data import PLAIN, SpeechData
from training.utterance import Utterance
from training.voices import offsets, taken_off

SETTINGS = AdaptationSettings(voice_utterances=2.0)


def test_evaluation_takes_off_what_a_stream_that_heard_these_utterances_would() -> None:
    said = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    heard = HeardSpeech().judged(said[4]).judged(said[1])
    assert heard.voice is not None
    found = offsets(said, [[], [4, 1]], SETTINGS)
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[1], heard.voice.offset(SETTINGS), rtol=1e-6)


def test_training_takes_off_the_mean_of_some_others_of_the_group_and_never_of_another_voice() -> (
    None
):
    torch.manual_seed(0)
    said = torch.tensor([[1.0], [2.0], [4.0], [100.0], [200.0], [400.0]], dtype=torch.float64)
    subsets = {
        row: {
            float(said[row] - sum(said[list(some)]) / (len(some) + 2.0) if some else said[row])
            for some in ([], [a], [b], [a, b])
        }
        for row, (a, b) in enumerate([(1, 2), (0, 2), (0, 1), (4, 5), (3, 5), (3, 4)])
    }
    seen: dict[int, set[float]] = {row: set() for row in range(6)}
    for _ in range(300):
        for row, value in enumerate(taken_off(said.float(), 3, SETTINGS)[:, 0].tolist()):
            seen[row].add(round(value, 3))
    assert seen == {row: {round(v, 3) for v in values} for row, values in subsets.items()}


def test_a_centred_model_judges_alike_whatever_a_voice_always_adds() -> None:
    """Of a voice that was heard for long nothing is left but how one utterance differs from the others."""
    rng = np.random.default_rng(0)
    mels = [rng.normal(size=(40, 64)).astype(np.float16) for _ in range(8)]
    said = [Utterance(corpus="c", label=e, speaker=s) for s in ("a", "b") for e in EMOTIONS]
    kept = LogMels(np.concatenate(mels), np.cumsum([40] * 8))
    believed = dataclasses.replace(SETTINGS, voice_utterances=0.0)
    data = SpeechData(said, {PLAIN: kept}, believed)
    torch.manual_seed(0)
    sizes = dataclasses.replace(SIZES, speech=dataclasses.replace(SIZES.speech, centred=True))
    model = StserModel(sizes)
    prior = data.prior(range(8))

    def logits(heard: int, indices: list[int]) -> np.ndarray:
        return score_speech(model, data, indices, prior, heard=heard, seed=0).logits

    alone, first = logits(3, [0]), logits(0, [0])
    model.smodel.mean += 5.0  # as a voice that adds as much to each of its representations
    np.testing.assert_allclose(logits(3, [0]), alone, atol=1e-4)
    np.testing.assert_allclose(logits(3, [0, 1, 2, 3])[:1], alone, atol=1e-4)
    assert np.abs(logits(0, [0]) - first).max() > 1e-3


def test_settings_that_leave_a_centred_model_without_a_voice_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"speech\.group \(1\) must be 2 or more"):
        build(OpenSettings, {"sizes": {"speech": {"centred": True}}})
    with pytest.raises(SettingsError, match=r"speech\.batch \(32\) must be a multiple"):
        build(OpenSettings, {"speech": {"group": 5}})
