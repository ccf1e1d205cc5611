"""The loops learn what can be learnt."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stser_core.adaptation import AdaptationSettings
from stser_core.engine import Floats
from stser_core.features import LogMelSettings, log_mel
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from stser_core.sizes import SpeechModelSettings, StserSettings, TextModelSettings
from tests.training.conftest import tone
from training.front_end import LogMels
from training.lesson import SpeechTargets
from training.loop import (
    accuracy,
    score_speech,
    train_bimodal,
    train_parts,
    train_speech,
    train_text,
)
from training.settings import (
    BimodalTrainingSettings,
    SpeechTrainingSettings,
    TextTrainingSettings,
)
from training.speech_data import PLAIN, SpeechBatches, SpeechData
from training.utterance import Utterance

SIZES = StserSettings(
    speech=SpeechModelSettings(channels=8, hidden=16, dropout=0.0),
    text=TextModelSettings(
        vocabulary=30, embedding=8, hidden=16, layers=1, heads=2, intermediate=16
    ),
    classifier_dropout=0.0,
)


def test_the_speech_branch_learns_eight_utterances_by_heart() -> None:
    settings = SpeechTrainingSettings(
        corpora=("tones",),
        corpus_shares=(1.0,),
        steps=160,
        batch=8,
        speeds=(1.0,),
        warm_up=5,
        validate_every=40,
        learning_rate=5e-3,
        heard_before=(0,),
        averaging=0.0,
        mixup=0.0,
        noise_share=0.0,
        warp=0.0,
        stretch=0.0,
    )
    blocks = [
        log_mel(tone(s, e, 0), LogMelSettings()).astype(np.float16)
        for s in (0, 1)
        for e in range(4)
    ]
    mels = LogMels(np.concatenate(blocks), np.cumsum([len(block) for block in blocks]))
    said = [Utterance(corpus="tones", label=e, speaker=f"s{s}") for s in (0, 1) for e in EMOTIONS]
    data = SpeechData(said, {PLAIN: mels}, AdaptationSettings())
    torch.manual_seed(0)
    model = StserModel(SIZES)
    prior = data.prior(range(8))
    batches = SpeechBatches(data, range(8), prior, [], settings, np.random.default_rng(0))

    def validate() -> float:
        return accuracy(
            score_speech(model, data, range(8), prior, heard=0, seed=0).logits, data.labels
        )

    targets = SpeechTargets(data.labels, settings)
    assert train_speech(model, batches, targets, validate, settings) == 1.0
    assert validate() == 1.0


def test_what_is_kept_is_the_moving_average_of_the_weights() -> None:
    settings = SpeechTrainingSettings(
        steps=6, validate_every=6, warm_up=1, learning_rate=1e-2, averaging=0.5, mixup=0.0
    )
    torch.manual_seed(0)
    model = StserModel(SIZES)
    rng = np.random.default_rng(0)
    batch = (
        torch.from_numpy(rng.normal(size=(4, 40, 64)).astype(np.float32)),
        torch.tensor([40, 40, 40, 40]),
        torch.tensor([0, 1, 2, 3]),
        torch.zeros(4, 1, 1),
    )
    weight, seen = model.speech[0].weight, []

    def watched() -> Iterator[tuple[torch.Tensor, ...]]:
        while True:
            seen.append(weight.detach().clone())
            yield batch

    targets = SpeechTargets(np.arange(4), settings)
    train_speech(model, watched(), targets, lambda: 0.0, settings)  # type: ignore[arg-type]
    # Drawn before each step: seen[k] is after step k. The last step's weights are not seen, and
    # the average of the first five takes half of what is kept.
    average = seen[1]
    for after in seen[2:]:
        average = 0.5 * average + 0.5 * after
    last = 2 * weight.detach() - average
    assert not torch.allclose(last, weight)
    assert torch.allclose(last, seen[-1], atol=3e-2)


def test_with_muon_a_matrix_moves_as_far_in_all_directions() -> None:
    def spread(*, muon: bool) -> float:
        torch.manual_seed(0)
        layer = nn.Linear(8, 8)
        before = layer.weight.detach().clone()
        train_parts(
            layer,
            [(list(layer.parameters()), 0.01)],
            [(torch.randn(32, 8),)],
            lambda batch: (layer(batch[0]) * torch.arange(1, 9)).square().mean(),
            lambda: 0.0,
            SpeechTrainingSettings(steps=1, warm_up=1, muon=muon),
            "one step",
        )
        moved = torch.linalg.svdvals(layer.weight.detach() - before)
        return float(moved.max() / moved.min())

    assert spread(muon=True) < 4 < 10 < spread(muon=False)


def test_a_short_cut_is_trained_first_and_kept_where_the_recurrent_part_does_not_help() -> None:
    sizes = dataclasses.replace(SIZES, speech=dataclasses.replace(SIZES.speech, short_cut=True))
    settings = SpeechTrainingSettings(
        first_steps=3, steps=2, validate_every=2, warm_up=1, batch=4, averaging=0.0
    )
    torch.manual_seed(0)
    model = StserModel(sizes)
    untouched = model.smodel.conv.weight.detach().clone()
    heard = torch.randn(4, 40, 64, generator=torch.Generator().manual_seed(1))
    batch = (heard, torch.full((4,), 40), torch.arange(4), torch.zeros(4, 1, 1))
    source, targets = itertools.repeat(batch), SpeechTargets(np.arange(4), settings)
    found = iter([0.6, 0.5])  # after the short cut, after all
    assert train_speech(model, source, targets, lambda: next(found), settings) == 0.6
    assert torch.equal(model.smodel.conv.weight, untouched)
    assert not model.smodel.share.any()
    found = iter([0.6, 0.7])
    assert train_speech(model, source, targets, lambda: next(found), settings) == 0.7
    assert not torch.equal(model.smodel.conv.weight, untouched)
    assert model.smodel.share.all()


def test_an_albert_that_was_tuned_is_kept_where_that_helped_alone() -> None:
    settings = TextTrainingSettings(
        classifier_steps=2, steps=2, validate_every=1, batch=2, half_precision=False
    )
    ids = torch.ones(2, 4, dtype=torch.int64)
    batches = itertools.repeat((ids, ids, torch.eye(4)[:2]))
    for tuned, best in (([0.3, 0.4], 1), ([0.3, 0.95], 3)):
        torch.manual_seed(0)
        model, states = StserModel(SIZES), []
        found = iter([0.8, 0.9, *tuned])

        def validate(
            model: StserModel = model,
            states: list[dict[str, torch.Tensor]] = states,
            found: Iterator[float] = found,
        ) -> float:
            states.append({name: value.clone() for name, value in model.state_dict().items()})
            return next(found)

        assert train_text(model, batches, validate, settings) == max(0.9, tuned[1])
        kept = model.state_dict()
        same = [all(torch.equal(state[name], kept[name]) for name in kept) for state in states]
        assert same == [number == best for number in range(4)]


def two_witnesses() -> tuple[StserModel, Floats, Floats, NDArray[np.int64], np.random.Generator]:
    """An untrained model; speech and text representations that tell their class; labels; a generator."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 20)
    heard = (np.eye(4)[labels] @ rng.normal(size=(4, 32))).astype(np.float32)
    read = (np.eye(4)[labels] @ rng.normal(size=(4, 16))).astype(np.float32)
    torch.manual_seed(0)
    model = StserModel(SIZES)
    return model, heard, read, labels, rng


def test_the_bimodal_classifier_follows_two_witnesses_that_agree() -> None:
    model, heard, read, labels, rng = two_witnesses()
    train_bimodal(
        model, (heard, labels), (read, labels), BimodalTrainingSettings(steps=150, batch=32), rng
    )
    with torch.no_grad():
        logits = model.fuse(torch.from_numpy(heard), torch.from_numpy(read)).numpy()
    assert accuracy(logits, labels) == 1.0


def test_with_noise_on_the_voices_the_bimodal_classifier_comes_to_believe_the_words() -> None:
    model, heard, read, labels, rng = two_witnesses()
    settings = BimodalTrainingSettings(steps=300, batch=32, conflict=0.0, drop=0.0, voice_noise=5.0)
    train_bimodal(model, (heard, labels), (read, labels), settings, rng)
    with torch.no_grad():
        torn = model.fuse(torch.from_numpy(heard), torch.from_numpy(np.roll(read, 20, axis=0)))
    assert accuracy(torn.numpy(), np.roll(labels, 20)) == 1.0


def test_the_bimodal_classifier_is_torn_where_voice_and_words_conflict_and_follows_the_one_it_has() -> (
    None
):
    model, heard, read, labels, rng = two_witnesses()
    settings = BimodalTrainingSettings(steps=400, batch=64, conflict=0.3, drop=0.2)
    train_bimodal(model, (heard, labels), (read, labels), settings, rng)

    def judged(voice: np.ndarray, words: np.ndarray) -> list[float]:  # type: ignore[type-arg]
        with torch.no_grad():
            logits = model.fuse(torch.from_numpy(voice)[None], torch.from_numpy(words)[None])
        return logits.softmax(-1)[0].tolist()  # type: ignore[no-any-return]

    angry, _, neutral, _ = judged(heard[0], read[40])  # an angry voice, neutral words
    assert abs(angry - neutral) < 0.2
    assert angry + neutral > 0.85
    assert judged(heard[0], read.mean(axis=0))[0] > 0.8
    assert judged(heard.mean(axis=0), read[40])[2] > 0.8
