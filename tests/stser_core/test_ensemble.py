from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stser_core.adaptation import Average, HeardSpeech
from stser_core.checkpoint import MANIFEST, Manifest
from stser_core.engine import OnnxEngine
from stser_core.ensemble import CLASSIFIERS, DEFAULT_CHECKPOINT, Request, Stser
from stser_core.errors import CheckpointError
from stser_core.features import LogMelSettings, log_mel
from stser_core.posterior import EmotionPosterior
from stser_core.torch_engine import TorchEngine

WORDS = ("leave", "me", "alone")
ENGINES: tuple[Literal["onnx"], Literal["torch"]] = ("onnx", "torch")
UNIFORM = (0.25, 0.25, 0.25, 0.25)


@pytest.fixture(scope="module")
def stser(manifest: Manifest) -> Stser:
    return Stser.load(manifest.directory)


def frames(count: int = 120) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(-8, 2, (count, 64)).astype(np.float32)


def test_the_verdict_is_the_average_of_all_three(stser: Stser) -> None:
    verdict = stser.classify(frames(), WORDS)
    assert tuple(verdict.classifiers) == CLASSIFIERS
    spoke = [posterior.probabilities for posterior in verdict.classifiers.values() if posterior]
    assert len(spoke) == 3
    np.testing.assert_allclose(verdict.posterior.probabilities, np.mean(spoke, axis=0))
    assert verdict.modalities == ("speech", "text")
    assert 0 <= verdict.agreement < 1


@pytest.mark.parametrize("words", [None, (), ("[unk]",), ("[unk]", "...")])
def test_without_words_only_the_speech_classifier_speaks(
    stser: Stser, words: Sequence[str] | None
) -> None:
    verdict = stser.classify(frames(), words)
    assert verdict.classifiers["text"] is verdict.classifiers["bimodal"] is None
    assert verdict.posterior == verdict.classifiers["speech"]
    assert verdict.posterior == stser.classify(frames(), WORDS).classifiers["speech"]
    assert (verdict.modalities, verdict.agreement) == (("speech",), pytest.approx(1))
    assert verdict.salience.words == ()


def test_an_ensemble_of_speech_alone_loads_nothing_of_text_and_says_what_all_say_without_words(
    manifest: Manifest, stser: Stser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stser_core.text.Tokenizer.from_str", pytest.fail)
    deaf_to_words = Stser.load(manifest.directory, classifiers=("speech",))
    assert deaf_to_words.classify(frames(), None) == stser.classify(frames(), None)


@pytest.mark.parametrize("silence", [None, np.zeros((0, 64), np.float32)])
def test_without_speech_only_the_text_classifier_speaks(
    stser: Stser, silence: NDArray[np.float32] | None
) -> None:
    verdict = stser.classify(silence, WORDS)
    assert verdict.classifiers["speech"] is verdict.classifiers["bimodal"] is None
    assert verdict.posterior == verdict.classifiers["text"]
    assert verdict.modalities == ("text",)
    assert verdict.salience.speech == ()
    assert len(verdict.salience.words) == 3


def test_with_nothing_to_judge_the_posterior_is_uniform_and_no_modality_is_named(
    stser: Stser,
) -> None:
    verdict = stser.classify(None, None)
    assert verdict.posterior.probabilities == UNIFORM
    assert verdict.modalities == ()
    assert set(verdict.classifiers.values()) == {None}


@pytest.mark.parametrize(
    ("chosen", "modalities"),
    [
        (("speech",), ("speech",)),
        (("text",), ("text",)),
        (("bimodal",), ("speech", "text")),
        (("text", "speech"), ("speech", "text")),
        (("bimodal", "text"), ("speech", "text")),
    ],
)
def test_only_chosen_classifiers_are_averaged(
    manifest: Manifest, stser: Stser, chosen: tuple[str, ...], modalities: tuple[str, ...]
) -> None:
    some = Stser.load(manifest.directory, classifiers=chosen).classify(frames(), WORDS)
    every = stser.classify(frames(), WORDS).classifiers
    assert {name for name, each in some.classifiers.items() if each is not None} == set(chosen)
    expected = np.mean([every[name].probabilities for name in chosen], axis=0)  # type: ignore[union-attr]
    np.testing.assert_allclose(some.posterior.probabilities, expected, atol=1e-7)
    assert some.modalities == modalities


@pytest.mark.parametrize(("chosen", "words"), [(("text",), None), (("bimodal",), None)])
def test_a_chosen_classifier_without_its_modality_says_nothing(
    manifest: Manifest, chosen: tuple[str, ...], words: None
) -> None:
    verdict = Stser.load(manifest.directory, classifiers=chosen).classify(frames(), words)
    assert verdict.posterior.probabilities == UNIFORM
    assert (verdict.modalities, verdict.salience.speech) == ((), ())


@pytest.mark.parametrize("chosen", [(), ("speech", "gesture")])
def test_an_unknown_or_empty_choice_is_refused(manifest: Manifest, chosen: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one or more of speech, text, bimodal"):
        Stser.load(manifest.directory, classifiers=chosen)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 1_498])
def test_speech_of_any_length_is_judged(stser: Stser, count: int) -> None:
    verdict = stser.classify(frames(count), None)
    assert len(verdict.salience.speech) == -(-count // 10)
    assert sum(verdict.salience.speech) == pytest.approx(1)
    assert verdict.posterior.probabilities != UNIFORM


def test_a_very_long_transcript_is_judged_by_its_beginning(stser: Stser) -> None:
    verdict = stser.classify(None, ["happy"] * 500)
    assert len(verdict.salience.words) == 500
    assert sum(verdict.salience.words) == pytest.approx(1)
    assert verdict.posterior == stser.classify(None, ["happy"] * 400).posterior


def test_what_the_stream_said_before_changes_how_speech_is_heard(stser: Stser) -> None:
    heard = HeardSpeech().after(frames(900) + 4)
    plain, adapted = stser.classify(frames(), None), stser.classify(frames(), None, heard)
    assert plain.posterior != adapted.posterior
    for nothing in (HeardSpeech(), HeardSpeech(Average.of(frames(0)))):
        assert stser.classify(frames(), None, nothing).posterior == plain.posterior


def voice(stser: Stser, count: float) -> Average:
    size = stser.representation_size
    return Average(count, np.random.default_rng(7).normal(0, 0.5, size))


def test_what_a_voice_adds_to_the_representation_is_taken_off_before_both_classifiers_hear_it(
    centred: Manifest,
) -> None:
    stser, log_mel = Stser.load(centred.directory), frames()
    engine = OnnxEngine(centred.directory)
    heard = voice(stser, 6.0)
    share = 6.0 / (6.0 + centred.description.adaptation.voice_utterances)
    plain = stser.classify(log_mel, WORDS)
    verdict = stser.classify(log_mel, WORDS, HeardSpeech(voice=heard))
    weights = TorchEngine.load(centred).model
    nothing = np.zeros((1, stser.representation_size), np.float32)
    hidden = engine.speech(
        stser._normalised(Request(log_mel, None))[None], np.array([len(log_mel)]), nothing
    ).representation[0]
    relative = (hidden - share * heard.mean).astype(np.float32)
    assert stser._tokenizer is not None
    text = stser._tokenizer.encode(WORDS)
    read = engine.text(np.array([text.ids]), np.ones((1, len(text.ids)), np.int64))
    with torch.inference_mode():
        logits = weights.speech(torch.from_numpy(relative)[None])
        emotion = ((logits / 3).softmax(dim=1) @ weights.smodel.emotions)[0].numpy()
    alone = softmax(logits[0].numpy())
    both = softmax(engine.bimodal(relative[None], read.representation)[0])
    for name, expected in (("speech", alone), ("bimodal", both)):
        spoke, before = verdict.classifiers[name], plain.classifiers[name]
        assert spoke is not None
        assert before is not None
        np.testing.assert_allclose(spoke.probabilities, expected, atol=1e-3)
        assert np.abs(np.subtract(spoke.probabilities, before.probabilities)).max() > 0.01
    assert verdict.classifiers["text"] == plain.classifiers["text"]
    # What is remembered is neither relative to what was remembered before nor coloured by the emotion.
    assert verdict.voice is not None
    np.testing.assert_allclose(verdict.voice, hidden - emotion, atol=1e-3)
    assert np.abs(emotion).max() > 0.1


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers: NDArray[np.float32] = np.exp(logits - logits.max())
    return powers / powers.sum()


def test_both_engines_take_off_the_same_voice(centred: Manifest) -> None:
    stser, reference = (Stser.load(centred.directory, engine=name) for name in ENGINES)
    heard = HeardSpeech(voice=voice(stser, 4.0))
    for count in (3, 50, 700):
        ours, theirs = (each.classify(frames(count), WORDS, heard) for each in (stser, reference))
        for name in CLASSIFIERS:
            one, other = ours.classifiers[name], theirs.classifiers[name]
            assert one is not None
            assert other is not None
            _assert_close(one, other)


def test_each_request_has_its_own_voice_taken_off(centred: Manifest) -> None:
    stser = Stser.load(centred.directory)
    heard = HeardSpeech(voice=voice(stser, 4.0))
    other = HeardSpeech(voice=Average(9.0, -voice(stser, 1.0).mean))
    requests = [
        Request(frames(120), WORDS, heard),
        Request(None, WORDS),
        Request(frames(110), WORDS),
        Request(frames(130), None, heard),
        Request(frames(120), WORDS, other),
    ]
    for request, together in zip(requests, stser.classify_many(requests), strict=True):
        alone = stser.classify(request.log_mel, request.words, request.heard)
        np.testing.assert_allclose(
            together.posterior.probabilities, alone.posterior.probabilities, atol=1e-5
        )


def test_a_model_that_is_not_centred_takes_nothing_off_and_gives_nothing_to_remember(
    stser: Stser,
) -> None:
    plain = stser.classify(frames(), WORDS)
    assert plain == stser.classify(frames(), WORDS, HeardSpeech(voice=voice(stser, 9.0)))
    assert plain.voice is None


def test_temperatures_of_the_manifest_soften_the_posteriors(
    checkpoint_copy: Path, stser: Stser
) -> None:
    path = checkpoint_copy / MANIFEST
    tree = json.loads(path.read_text())
    tree["temperatures"]["speech"] *= 1_000
    path.write_text(json.dumps(tree))
    soft = Stser.load(checkpoint_copy).classify(frames(), None).posterior
    np.testing.assert_allclose(soft.probabilities, UNIFORM, atol=0.01)
    assert stser.classify(frames(), None).posterior.confidence > 0.3


def test_both_engines_give_the_same_verdict(manifest: Manifest, stser: Stser) -> None:
    torch_stser = Stser.load(manifest.directory, engine="torch")
    for count in (3, 50, 700):
        ours, theirs = (each.classify(frames(count), WORDS) for each in (stser, torch_stser))
        _assert_close(ours.posterior, theirs.posterior)
        np.testing.assert_allclose(ours.salience.speech, theirs.salience.speech, atol=1e-4)
        np.testing.assert_allclose(ours.salience.words, theirs.salience.words, atol=1e-4)


def test_a_damaged_checkpoint_is_refused(checkpoint_copy: Path) -> None:
    (checkpoint_copy / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: damaged"):
        Stser.load(checkpoint_copy)


@pytest.mark.skipif(not DEFAULT_CHECKPOINT.is_dir(), reason="no packaged weights yet")
def test_the_packaged_weights_give_the_same_posteriors_in_both_engines_on_speech(
    speech: NDArray[np.float32],
) -> None:
    packaged = Stser.load()
    reference = Stser.load(engine="torch")
    heard = log_mel(speech, packaged.log_mel_settings)
    words = ["leave", "me", "alone", "i", "am", "so", "happy", "that", "you", "came"]
    before = HeardSpeech().after(heard)
    for end in (20, 131, len(heard)):
        for remembered in (None, before):
            ours = packaged.classify(heard[:end], words, remembered)
            theirs = reference.classify(heard[:end], words, remembered)
            for name in CLASSIFIERS:
                one, other = ours.classifiers[name], theirs.classifiers[name]
                assert one is not None
                assert other is not None
                _assert_close(one, other)


@pytest.mark.skipif(not DEFAULT_CHECKPOINT.is_dir(), reason="no packaged weights yet")
def test_the_packaged_weights_listen_at_16_khz_and_are_small() -> None:
    settings = Stser.load().log_mel_settings
    assert settings == dataclasses.replace(LogMelSettings(), n_mels=settings.n_mels)
    size = sum(path.stat().st_size for path in DEFAULT_CHECKPOINT.iterdir())
    assert size < 24 * 2**20


def _assert_close(one: EmotionPosterior, other: EmotionPosterior) -> None:
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4, rtol=0)


def test_a_verdict_does_not_depend_on_who_is_judged_with_it(stser: Stser) -> None:
    requests = [
        Request(frames(120), WORDS),
        Request(frames(37), ("that", "is", "such", "good", "news")),
        Request(frames(300), None),
        Request(None, ("fine",)),
        Request(None, None),
    ]
    for request, together in zip(requests, stser.classify_many(requests), strict=True):
        alone = stser.classify(request.log_mel, request.words)
        assert together.modalities == alone.modalities
        np.testing.assert_allclose(
            together.posterior.probabilities, alone.posterior.probabilities, atol=1e-5
        )
        np.testing.assert_allclose(together.salience.speech, alone.salience.speech, atol=1e-5)
        np.testing.assert_allclose(together.salience.words, alone.salience.words, atol=1e-5)


def test_the_word_that_the_packaged_model_leans_on_is_the_one_that_says_it() -> None:
    packaged = Stser.load()
    for sentence, word in (("i am so angry with you", "angry"), ("i feel so sad today", "sad")):
        words = sentence.split()
        shares = packaged.classify(None, words).salience.words
        assert words[int(np.argmax(shares))] == word
        assert sum(shares) == pytest.approx(1)


def test_without_an_explanation_all_words_weigh_the_same_and_the_verdict_is_the_same() -> None:
    explained, plain = Stser.load(), Stser.load(explain_words=False)
    one, other = (stser.classify(frames(), WORDS) for stser in (explained, plain))
    assert one.posterior == other.posterior
    assert other.salience.words == pytest.approx((1 / 3, 1 / 3, 1 / 3))
