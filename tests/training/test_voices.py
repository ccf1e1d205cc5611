"""What training and evaluation take off a representation, as if its voice had been heard before."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from config.loader import SettingsError, build
from stser_core.adaptation import AdaptationSettings, HeardSpeech, voice_offset
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from tests.training.test_loop import SIZES
from training.front_end import LogMels
from training.loop import score_speech
from training.settings import OpenSettings
from training.speech_data import PLAIN, SpeechData
from training.utterance import Utterance
from training.voices import offsets, taken_off, weights

SETTINGS = AdaptationSettings(voice_utterances=2.0)


def test_evaluation_takes_off_what_a_stream_that_heard_these_utterances_would() -> None:
    said = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    heard = HeardSpeech().judged(said[4]).judged(said[1])
    assert heard.voice is not None
    found = offsets(said, [[], [4, 1]], SETTINGS)
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[1], voice_offset(heard.voice, SETTINGS), rtol=1e-6)


def test_training_takes_off_the_mean_of_some_others_of_the_group_and_never_of_another_voice() -> (
    None
):
    said = torch.arange(12.0).view(6, 2) ** 2
    everyone, rng = np.ones(3, np.bool_), np.random.default_rng(0)
    both = weights(everyone, 2, SETTINGS, rng), weights(everyone, 0, SETTINGS, rng)
    told = said + 1  # without an emotion that adds -1
    left = taken_off(said, told, torch.from_numpy(np.stack(both)))
    for row, (a, b) in enumerate([(1, 2), (0, 2), (0, 1)]):
        torch.testing.assert_close(left[row], said[row] - (told[a] + told[b]) / (2 + 2))
    torch.testing.assert_close(left[3:], said[3:])


def test_what_may_not_be_heard_is_not() -> None:
    neutral = np.array([True, False, False, True])
    taken = weights(neutral, 10, SETTINGS, np.random.default_rng(0))
    expected = [[0, 0, 0, 1 / 3], [1 / 4, 0, 0, 1 / 4]]
    np.testing.assert_allclose(taken, [expected[0], expected[1], expected[1], expected[0][::-1]])


def test_a_voice_that_is_believed_at_once_may_have_said_nothing_before() -> None:
    at_once = AdaptationSettings(voice_utterances=0.0)
    everyone, rng = np.ones(3, np.bool_), np.random.default_rng(0)
    np.testing.assert_array_equal(weights(everyone, 0, at_once, rng), np.zeros((3, 3)))
    assert weights(everyone, 1, at_once, rng).sum(axis=1).tolist() == [1, 1, 1]


def test_one_of_three_others_is_heard_as_often_as_another() -> None:
    rng = np.random.default_rng(0)
    drawn = [weights(np.ones(4, np.bool_), 1, SETTINGS, rng)[0] for _ in range(600)]
    np.testing.assert_allclose(np.mean(drawn, axis=0), [0, 1 / 9, 1 / 9, 1 / 9], atol=0.02)


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


def test_a_voice_that_was_neutral_throughout_is_known_as_one_that_was_not() -> None:
    """What emotions add is taken off what is remembered of a voice."""
    rng = np.random.default_rng(0)
    sizes = dataclasses.replace(SIZES, speech=dataclasses.replace(SIZES.speech, centred=True))
    model, width = StserModel(sizes), sizes.speech.representation
    model.smodel.emotions.copy_(torch.from_numpy(rng.normal(size=(4, width))))
    voice = torch.from_numpy(rng.normal(size=width).astype(np.float32))
    recognised = 150 * torch.eye(4)

    def known(moods: list[int]) -> np.ndarray:
        said = voice + model.smodel.emotions[moods]
        told = model.voice(said, recognised[moods]).numpy()
        return offsets(told, [range(len(moods))], SETTINGS)[0]

    np.testing.assert_allclose(known([2, 2, 2, 2]), known([0, 1, 2, 3]), atol=1e-5)
    np.testing.assert_allclose(known([0, 0, 0, 0]), 4 / 6 * voice.numpy(), atol=1e-5)


def test_what_each_emotion_adds_follows_training() -> None:
    smodel = StserModel(
        dataclasses.replace(SIZES, speech=dataclasses.replace(SIZES.speech, centred=True))
    ).smodel
    added = torch.randn(4, smodel.settings.representation)
    labels = torch.tensor([3, 0, 0, 1])  # and never the third
    for _ in range(1_000):
        smodel.follow(added[labels], labels)
    for label in (0, 1, 3):
        torch.testing.assert_close(smodel.emotions[label], added[label], atol=1e-3, rtol=0)
    assert not smodel.emotions[2].any()


def test_settings_that_leave_a_centred_model_without_a_voice_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"speech\.group \(1\) must be 2 or more"):
        build(OpenSettings, {"sizes": {"speech": {"centred": True}}})
    with pytest.raises(SettingsError, match=r"speech\.batch \(32\) must be a multiple"):
        build(OpenSettings, {"speech": {"group": 5}})
