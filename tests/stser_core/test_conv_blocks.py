"""Convolution blocks as settings: the paper's single plain one stays what it was; others hold its rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from config.loader import SettingsError, build
from stser_core.adaptation import LogMelStatistics
from stser_core.export import save_checkpoint
from stser_core.fusion import StserModel
from stser_core.sizes import BlockKind, SpeechModelSettings, StserSettings
from stser_core.smodel import SpeechModel

Blocks = tuple[BlockKind, ...]

ALL: list[Blocks] = [
    ("residual",),
    ("dilated",),
    ("plain", "plain"),
    ("plain", "residual", "dilated"),
    ("residual", "dilated", "dilated", "plain"),
]


def speech_model(blocks: Blocks) -> SpeechModel:
    """Random weights, with statistics and shifts of the norms that silence would not hide."""
    torch.manual_seed(3)
    model = SpeechModel(SpeechModelSettings(channels=4, hidden=8, blocks=blocks)).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.bias.normal_()
    return model


def test_one_plain_block_has_the_parameter_names_of_the_first_checkpoints() -> None:
    names = [name for name in speech_model(("plain",)).state_dict() if "lstm" not in name]
    assert names == [
        "conv.weight",
        *(f"norm.{n}" for n in ("weight", "bias", "running_mean", "running_var")),
        "norm.num_batches_tracked",
        *(f"attention.{part}.{n}" for part in ("qkv", "out") for n in ("weight", "bias")),
        "attention_norm.weight",
        "attention_norm.bias",
        "score.weight",
        "score.bias",
    ]


def test_one_plain_block_draws_the_weights_that_it_always_drew() -> None:
    torch.manual_seed(3)
    expected = torch.nn.Conv2d(1, 4, (5, 5), bias=False).weight
    torch.manual_seed(3)
    drawn = SpeechModel(SpeechModelSettings(channels=4, hidden=8)).conv.weight
    torch.testing.assert_close(drawn, expected, rtol=0, atol=0)


def test_a_further_plain_block_is_convolution_norm_and_relu_after_the_pooling() -> None:
    model = speech_model(("plain", "plain"))
    log_mel = torch.randn(1, 40, 64)
    maps = F.relu(model.norm(model.conv(log_mel[:, None])))
    maps = F.max_pool2d(maps, (2, 4))
    convolution, norm = model.further[0].convolution
    by_hand = F.relu(norm(F.conv2d(maps, convolution.weight, padding=2)))
    frames = by_hand.permute(0, 2, 3, 1).flatten(2)
    seen: list[torch.Tensor] = []
    model.lstm.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    model(log_mel, torch.tensor([40]))
    torch.testing.assert_close(seen[0], frames)


def test_a_residual_block_passes_its_input_around_the_convolutions() -> None:
    model = speech_model(("plain", "residual"))
    block = model.further[0]
    with torch.no_grad():
        block.again[1].weight.zero_()  # the convolutions then say nothing
        block.again[1].bias.zero_()
    maps = torch.rand(1, 4, 10, 8)
    torch.testing.assert_close(block(maps, torch.ones(1, 10, dtype=torch.bool)), maps)


@pytest.mark.parametrize(("place", "reach"), [(1, 4), (2, 8), (3, 16)])
def test_a_dilated_block_reaches_twice_as_far_with_each_place(place: int, reach: int) -> None:
    blocks: Blocks = ("plain",) * place + ("dilated",)
    block = speech_model(blocks).further[-1]
    maps = torch.zeros(1, 4, 81, 8)
    valid = torch.ones(1, 81, dtype=torch.bool)
    touched = maps.clone()
    touched[:, :, 40] = 1.0
    changed = (block.convolution(touched) != block.convolution(maps)).any(dim=(0, 1, 3))
    assert changed.nonzero().flatten().tolist() == list(range(40 - reach, 41 + reach, reach // 2))
    assert block(maps, valid).shape == maps.shape


@pytest.mark.parametrize("blocks", ALL)
def test_no_row_sees_its_padding_or_its_neighbours(blocks: Blocks) -> None:
    model = speech_model(blocks)
    rows = [torch.randn(length, 64) for length in (4, 7, 33, 90)]
    alone = [model(row[None], torch.tensor([len(row)])).representation[0] for row in rows]
    batch = torch.full((4, 120, 64), torch.nan)
    for at, row in enumerate(rows):
        batch[at, : len(row)] = row
    together = model(batch, torch.tensor([len(row) for row in rows])).representation
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("blocks", ALL)
def test_every_weight_of_every_block_learns(blocks: Blocks) -> None:
    model = speech_model(blocks).train()
    model(
        torch.randn(3, 40, 64), torch.tensor([40, 20, 9])
    ).representation.square().sum().backward()
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert still <= {"score.bias"}  # a softmax does not see what is added to all


def test_other_blocks_are_exported_and_the_engines_agree(
    sizes: StserSettings, tokenizer_json: Path, prior: LogMelStatistics, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    speech = SpeechModelSettings(channels=4, hidden=8, blocks=("residual", "dilated", "residual"))
    manifest = save_checkpoint(
        tmp_path / "blocks",
        StserModel(StserSettings(speech=speech, text=sizes.text)),
        name="blocks",
        version="0.0.1",
        tokenizer_json_path=tokenizer_json,
        prior=prior,
        temperatures={"speech": 1.0, "text": 1.0, "bimodal": 1.0},
        notes={},
    )
    assert manifest.description.sizes.speech.blocks == ("residual", "dilated", "residual")


@pytest.mark.parametrize("blocks", [[], ["round"]])
def test_blocks_that_do_not_exist_are_refused(blocks: list[str]) -> None:
    with pytest.raises(SettingsError, match="blocks"):
        build(SpeechModelSettings, {"blocks": blocks})
