from __future__ import annotations

import torch
from torch import nn

from stser_core.fusion import Classifier, StserModel


def test_a_classifier_is_128_64_128_with_relu_and_four_logits() -> None:
    dense = [layer for layer in Classifier(10) if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in dense] == [128, 64, 128, 4]
    assert sum(isinstance(layer, nn.ReLU) for layer in Classifier(10)) == 3


@torch.inference_mode()
def test_all_three_classifiers_see_their_own_modalities(model: StserModel) -> None:
    draw = torch.Generator().manual_seed(0)
    log_mel, lengths = torch.randn(2, 40, 64, generator=draw), torch.tensor([40, 30])
    ids, mask = torch.randint(4, 17, (2, 5), generator=draw), torch.ones(2, 5, dtype=torch.int64)
    plain = model(log_mel, lengths, ids, mask)
    other_speech = model(log_mel + 1, lengths, ids, mask)
    other_text = model(log_mel, lengths, ids.flip(1), mask)
    assert plain.speech.shape == plain.text.shape == plain.bimodal.shape == (2, 4)
    assert torch.equal(other_speech.text, plain.text)
    assert torch.equal(other_text.speech, plain.speech)
    for changed in (other_speech.speech - plain.speech, other_text.text - plain.text):
        assert changed.abs().max() > 1e-4
    for changed in (other_speech.bimodal, other_text.bimodal):
        assert (changed - plain.bimodal).abs().max() > 1e-4
