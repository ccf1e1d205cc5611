"""Small models with random weights, which give neither flat nor certain posteriors, so that differences show."""

from __future__ import annotations

from pathlib import Path

import torch

from stser_core.checkpoint import TOKENIZER, Manifest, read_manifest
from stser_core.ensemble import DEFAULT_CHECKPOINT
from stser_core.export import save_checkpoint
from stser_core.fusion import StserModel
from stser_core.sizes import SpeechModelSettings, StserSettings, TextModelSettings


def random_model(sizes: StserSettings) -> StserModel:
    """A model that was never trained; the same sizes always give the same."""
    torch.manual_seed(0)
    model = StserModel(sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
        model.smodel.norm.running_mean.normal_()
        model.smodel.norm.running_var.uniform_(0.5, 2)
        ids = torch.randint(4, sizes.text.vocabulary, (8, 6))
        output = model(torch.randn(8, 80, 64), torch.full((8,), 80), ids, torch.ones_like(ids))
        for classifier in ("speech", "text", "bimodal"):
            last = getattr(model, classifier)[-1]
            last.weight.div_(getattr(output, classifier).std())
            last.bias.zero_()
        if sizes.speech.centred:
            model.smodel.emotions.normal_()
    return model


def small_checkpoint(directory: Path, *, centred: bool) -> Manifest:
    """One with the packaged tokenizer and prior, which a monitor can load."""
    packaged = read_manifest(DEFAULT_CHECKPOINT)
    speech = SpeechModelSettings(channels=6, hidden=16, centred=centred)
    text = TextModelSettings(
        vocabulary=packaged.description.sizes.text.vocabulary,
        embedding=8,
        hidden=16,
        layers=1,
        groups=1,
        heads=2,
        intermediate=16,
    )
    return save_checkpoint(
        directory,
        random_model(StserSettings(speech=speech, text=text)),
        name="small",
        version="0.0.1",
        tokenizer_json_path=packaged.directory / TOKENIZER,
        prior=packaged.description.prior.statistics(),
        temperatures={"speech": 1.0, "text": 1.0, "bimodal": 1.0},
        notes={},
    )
