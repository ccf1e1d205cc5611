"""The loops learn what can be learnt."""

from __future__ import annotations

import numpy as np
import torch

from stser_core.adaptation import AdaptationSettings
from stser_core.features import LogMelSettings, log_mel
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from stser_core.sizes import SpeechModelSettings, StserSettings, TextModelSettings
from tests.training.conftest import tone
from training.front_end import LogMels
from training.loop import accuracy, score_speech, train_bimodal, train_speech
from training.settings import BimodalTrainingSettings, SpeechTrainingSettings
from training.speech_data import SpeechBatches, SpeechData
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
        steps=80,
        batch=8,
        speeds=(1.0,),
        warm_up=5,
        validate_every=20,
        learning_rate=5e-3,
        heard_before=(0,),
    )
    blocks = [
        log_mel(tone(s, e, 0), LogMelSettings()).astype(np.float16)
        for s in (0, 1)
        for e in range(4)
    ]
    mels = LogMels(np.concatenate(blocks), np.cumsum([len(block) for block in blocks]))
    said = [Utterance(corpus="tones", label=e, speaker=f"s{s}") for s in (0, 1) for e in EMOTIONS]
    data = SpeechData(said, {1.0: mels}, AdaptationSettings())
    torch.manual_seed(0)
    model = StserModel(SIZES)
    prior = data.prior(range(8))
    batches = SpeechBatches(data, range(8), prior, [], settings, np.random.default_rng(0))

    def validate() -> float:
        return accuracy(
            score_speech(model, data, range(8), prior, heard=0, seed=0).logits, data.labels
        )

    assert train_speech(model, batches, validate, settings) == 1.0
    assert validate() == 1.0


def test_the_bimodal_classifier_follows_two_witnesses_that_agree() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 20)
    heard = (np.eye(4)[labels] @ rng.normal(size=(4, 32))).astype(np.float32)
    read = (np.eye(4)[labels] @ rng.normal(size=(4, 16))).astype(np.float32)
    torch.manual_seed(0)
    model = StserModel(SIZES)
    train_bimodal(
        model, (heard, labels), (read, labels), BimodalTrainingSettings(steps=150, batch=32), rng
    )
    with torch.no_grad():
        logits = model.fuse(torch.from_numpy(heard), torch.from_numpy(read)).numpy()
    assert accuracy(logits, labels) == 1.0
