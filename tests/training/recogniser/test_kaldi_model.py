"""The network in Kaldi's format: read back by an independent reader, and by Vosk."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from training.recogniser.acoustic_model import AcousticModel, pad
from training.recogniser.features import N_MELS, mfcc_matrix, n_outputs
from training.recogniser.kaldi_model import Affine, KaldiWriter, network_parts, write_model
from training.recogniser.settings import NetworkSettings

SMALL = NetworkSettings(width=24, bottleneck=8, layers=2)


@pytest.fixture
def network() -> AcousticModel:
    torch.manual_seed(0)
    network = AcousticModel(SMALL)
    torch.nn.init.normal_(network.scores.weight)
    network.mean.fill_(9.0)
    network.deviation.fill_(3.0)
    network.train()
    for _ in range(3):  # so that batch normalisation has something to fold
        network(torch.randn(4, 60, N_MELS) * 4 + 8)
    return network.eval()


def read_matrix(raw: bytes) -> np.ndarray:
    """One matrix of Kaldi's binary format, plain or compressed to 16 bits."""
    assert raw[:2] == b"\0B"
    kind, _, rest = raw[2:].partition(b" ")
    if kind == b"FM":
        rows, columns = struct.unpack("<xixi", rest[:10])
        return np.frombuffer(rest[10:], "<f4").reshape(rows, columns)
    low, span, rows, columns = struct.unpack("<ffii", rest[:16])
    return low + np.frombuffer(rest[16:], "<u2").reshape(rows, columns) * (span / 65_535)


@pytest.mark.parametrize(("width", "tolerance"), [(4, 1e-6), (2, 1e-4)])
def test_matrices_come_back_as_they_were_written(width: int, tolerance: float) -> None:
    values = np.random.default_rng(0).standard_normal((5, 7))
    writer = KaldiWriter(width)
    writer.matrix(values)
    assert np.allclose(read_matrix(writer.to_bytes()), values, atol=tolerance)


def kaldi_forward(network: AcousticModel, mfcc: np.ndarray) -> np.ndarray:
    """The exported components, connected as the lines say, on MFCC; edges repeat as in Kaldi."""
    components, nodes = network_parts(network)
    by_name = {component.name: component for component in components}
    source = {
        line.split("name=")[1].split()[0]: line.split("input=")[1].split(" objective")[0]
        for line in nodes[1:]
    }

    def value(descriptor: str, t: int) -> np.ndarray:
        name, _, inside = descriptor.partition("(")
        parts = split(inside[:-1])
        match name:
            case "Append":
                return np.concatenate([value(part, t) for part in parts])
            case "Offset":
                return value(parts[0], t + int(parts[1]))
            case "Sum":
                return value(parts[0], t) + value(parts[1], t)
            case "Scale":
                return float(parts[0]) * value(parts[1], t)
            case "input":
                return mfcc[np.clip(t, 0, len(mfcc) - 1)]
        heard = value(source[name], t)
        component = by_name.get(name)
        if isinstance(component, Affine):
            return component.weight @ heard + component.bias
        return np.maximum(heard, 0) if name.endswith(".relu") else heard

    return np.stack([value("scores", t) for t in range(0, len(mfcc), 3)])


def split(text: str) -> list[str]:
    """Arguments of a descriptor, parentheses respected."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


@pytest.mark.parametrize("n_frames", [1, 2, 3, 10])
def test_the_exported_network_gives_the_scores_of_the_trained_one(
    network: AcousticModel, n_frames: int
) -> None:
    log_mel = np.random.default_rng(n_frames).standard_normal((n_frames, N_MELS)) * 4 + 8
    frames, lengths = pad([log_mel.astype(np.float32)], network.context)
    with torch.no_grad():
        scores = network(frames)[0].numpy()
    assert len(scores) == lengths.item() == n_outputs(n_frames)
    exported = kaldi_forward(network, log_mel @ mfcc_matrix().T)
    assert np.allclose(scores, exported, atol=1e-3)


def test_an_utterance_scores_the_same_in_a_longer_batch(network: AcousticModel) -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.standard_normal((n, N_MELS)).astype(np.float32) for n in (17, 40))
    with torch.no_grad():
        alone = network(pad([one], network.context)[0])
        together = network(pad([one, other], network.context)[0])
    assert torch.allclose(alone[0], together[0, : alone.shape[1]], atol=1e-4)


def test_sixteen_bits_halve_the_file(network: AcousticModel, tmp_path: Path) -> None:
    write_model(tmp_path / "half.mdl", network)
    plain = AcousticModel(NetworkSettings(width=24, bottleneck=8, layers=2, bytes_per_weight=4))
    write_model(tmp_path / "plain.mdl", plain.eval())
    saved = (tmp_path / "plain.mdl").stat().st_size - (tmp_path / "half.mdl").stat().st_size
    n_weights = sum(
        component.weight.size
        for component in network_parts(network)[0]
        if isinstance(component, Affine)
    )
    assert saved == pytest.approx(2 * n_weights, abs=100)
