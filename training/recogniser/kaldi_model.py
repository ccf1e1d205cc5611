"""The acoustic model in Kaldi's binary format, ``final.mdl``: transition model, network, priors.

Written from Kaldi's sources (``hmm/hmm-topology.cc``, ``hmm/transition-model.cc``, ``nnet3/nnet-nnet.cc``,
``nnet3/nnet-simple-component.cc``, ``matrix/compressed-matrix.h``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from training.recogniser.acoustic_model import SPLICE, AcousticModel, FactorisedLayer
from training.recogniser.features import N_MELS, SUBSAMPLING, mfcc_matrix
from training.recogniser.lexicon import PHONES, SILENCE

POSITIONS: Final = "BEIS"
"""Where in a word a phone is: at its begin, its end, inside, or alone."""
KALDI_PHONES: Final = (
    SILENCE,
    *(f"{phone}_{position}" for phone in PHONES if phone != SILENCE for position in POSITIONS),
)
"""Phones as Kaldi counts them, from 1; the position tells where words begin."""
KALDI_PHONE: Final = {name: number for number, name in enumerate(KALDI_PHONES, 1)}

Matrix = NDArray[np.float64]


def forward_id(phone: str) -> int:
    """Transition that enters a phone, by its Kaldi name."""
    return 2 * KALDI_PHONE[phone]


def loop_id(phone: str) -> int:
    """Transition that stays in it."""
    return 2 * KALDI_PHONE[phone] - 1


class KaldiWriter:
    """Kaldi's binary stream: tokens, numbers that say their width, vectors and matrices."""

    def __init__(self, bytes_per_weight: int = 4) -> None:
        """``bytes_per_weight`` 2 writes matrices as 16-bit integers between their extremes."""
        self._bytes = bytearray(b"\0B")
        self._bytes_per_weight = bytes_per_weight

    def token(self, *tokens: str) -> None:
        for token in tokens:
            self._bytes += token.encode() + b" "

    def text(self, text: str) -> None:
        self._bytes += text.encode()

    def integer(self, *values: int) -> None:
        for value in values:
            self._bytes += b"\4" + struct.pack("<i", value)

    def float32(self, value: float) -> None:
        self._bytes += b"\4" + struct.pack("<f", value)

    def float64(self, value: float) -> None:
        self._bytes += b"\x08" + struct.pack("<d", value)

    def integers(self, values: Iterable[int]) -> None:
        array = np.fromiter(values, "<i4")
        self._bytes += b"\4" + struct.pack("<i", len(array)) + array.tobytes()

    def vector(self, values: ArrayLike) -> None:
        array = np.asarray(values, "<f4")
        self.token("FV")
        self.integer(len(array))
        self._bytes += array.tobytes()

    def matrix(self, values: Matrix) -> None:
        rows, columns = values.shape
        if self._bytes_per_weight == 4:
            self.token("FM")
            self.integer(rows, columns)
            self._bytes += values.astype("<f4").tobytes()
            return
        low, span = float(values.min()), max(float(np.ptp(values)), 1e-9)
        self.token("CM2")
        self._bytes += struct.pack("<ffii", low, span, rows, columns)
        self._bytes += np.rint((values - low) * (65_535 / span)).astype("<u2").tobytes()

    def to_bytes(self) -> bytes:
        return bytes(self._bytes)


@dataclass(frozen=True, slots=True)
class Affine:
    """Component ``y = Wx + b``."""

    name: str
    weight: Matrix
    bias: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Elementwise:
    """Component without weights: ``relu``, or ``noop`` for a sum that is used more than once."""

    name: str
    dim: int


Component = Affine | Elementwise


def write_model(path: Path, network: AcousticModel) -> None:
    """Write a trained network with the transition model of its phones."""
    writer = KaldiWriter(network.settings.bytes_per_weight)
    _write_transitions(writer)
    components, nodes = network_parts(network)
    writer.token("<Nnet3>")
    writer.text("\n" + "\n".join(nodes) + "\n\n")
    writer.token("<NumComponents>")
    writer.integer(len(components))
    for component in components:
        _write_component(writer, component)
    writer.token("</Nnet3>", "<LeftContext>")
    writer.integer(network.context)
    writer.token("<RightContext>")
    writer.integer(network.context)
    writer.token("<Priors>")
    writer.vector([])
    path.write_bytes(writer.to_bytes())


def network_parts(network: AcousticModel) -> tuple[list[Component], list[str]]:
    """Components, and the lines that connect them.

    The network hears log-mel that is normalised; Kaldi gives it MFCC. Both are linear maps, and part of the
    first component, as batch normalisation is part of the component before it.
    """
    components: list[Component] = []
    nodes = [f"input-node name=input dim={N_MELS}"]

    def add(component: Component, source: str) -> str:
        components.append(component)
        nodes.append(
            f"component-node name={component.name} component={component.name} input={source}"
        )
        return component.name

    width = network.settings.width
    spliced = _appended("input", range(-SPLICE, SPLICE + 1))
    hidden = add(Affine("splice", *_first_affine(network)), spliced)
    hidden = add(Elementwise("splice.relu", width), hidden)
    for number, layer in enumerate(network.layers, 1):
        assert isinstance(layer, FactorisedLayer)
        past = _appended(hidden, (-SUBSAMPLING, 0))
        narrow = _array(layer.narrow.weight)
        wide = add(Affine(f"layer{number}.narrow", narrow, np.zeros(len(narrow))), past)
        wide = add(
            Affine(f"layer{number}.widen", *_normalised(layer.widen, layer.norm)),
            _appended(wide, (0, SUBSAMPLING)),
        )
        fresh = add(Elementwise(f"layer{number}.relu", width), wide)
        both = f"Sum({fresh}, Scale({layer.bypass}, {hidden}))"
        hidden = add(Elementwise(f"layer{number}.noop", width), both)
    scores = network.scores
    output = add(Affine("scores", _array(scores.weight), _array(scores.bias)), hidden)
    nodes.append(f"output-node name=output input={output} objective=linear")
    return components, nodes


def _first_affine(network: AcousticModel) -> tuple[Matrix, NDArray[np.float64]]:
    """The splicing layer as a map from seven frames of MFCC."""
    weight, bias = _normalised(network.splice, network.norm)
    by_frame = weight.reshape(len(weight), 2 * SPLICE + 1, N_MELS)
    scaled = by_frame / _array(network.deviation)
    bias = bias - np.einsum("ofm,m->o", scaled, _array(network.mean))
    from_mfcc = scaled @ np.linalg.inv(mfcc_matrix())
    return from_mfcc.reshape(len(weight), -1), bias


def _normalised(linear: nn.Linear, norm: nn.BatchNorm1d) -> tuple[Matrix, NDArray[np.float64]]:
    """Weight and bias of a linear layer with the batch normalisation that follows it."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
    weight = _array(linear.weight) * scale[:, None]
    return weight, (_array(linear.bias) - _array(norm.running_mean)) * scale + _array(norm.bias)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().numpy(), np.float64)


def _appended(source: str, offsets: Sequence[int] | range) -> str:
    parts = [source if offset == 0 else f"Offset({source}, {offset})" for offset in offsets]
    return f"Append({', '.join(parts)})"


def _write_component(writer: KaldiWriter, component: Component) -> None:
    writer.token("<ComponentName>", component.name)
    if isinstance(component, Affine):
        writer.token("<FixedAffineComponent>", "<LinearParams>")
        writer.matrix(component.weight)
        writer.token("<BiasParams>")
        writer.vector(component.bias)
        writer.token("</FixedAffineComponent>")
    elif component.name.endswith(".noop"):
        writer.token("<NoOpComponent>", "<Dim>")
        writer.integer(component.dim)
        writer.token("<BackpropScale>")
        writer.float32(1.0)
        writer.token("</NoOpComponent>")
    else:
        writer.token("<RectifiedLinearComponent>", "<Dim>")
        writer.integer(component.dim)
        writer.token("<ValueAvg>")
        writer.vector([])
        writer.token("<DerivAvg>")
        writer.vector([])
        writer.token("<Count>")
        writer.float64(0.0)
        writer.token("</RectifiedLinearComponent>")


def _write_transitions(writer: KaldiWriter) -> None:
    """One HMM state a phone, with one score to enter it and one to stay."""
    n = len(KALDI_PHONES)
    writer.token("<TransitionModel>", "<Topology>")
    writer.integers(range(1, n + 1))
    writer.integers([-1] + [0] * n)
    writer.integer(-1, 1, 2)  # the format with own scores for loops; one entry; two states
    writer.integer(0, 1, 2)  # state 0: class of the forward score, of the loop; two transitions
    for destination in (0, 1):
        writer.integer(destination)
        writer.float32(0.5)
    writer.integer(-1, -1, 0)  # state 1 is the end
    writer.token("</Topology>", "<Tuples>")
    writer.integer(n)
    for number, name in enumerate(KALDI_PHONES, 1):
        score = PHONES.index(name.partition("_")[0])
        writer.integer(number, 0, score, len(PHONES) + score)
    writer.token("</Tuples>", "<LogProbs>")
    writer.vector([0.0] + [log(0.5)] * (2 * n))
    writer.token("</LogProbs>", "</TransitionModel>")
