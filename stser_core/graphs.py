"""The networks as ONNX graphs whose matrices stay where they are: in ``model.safetensors``."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from stser_core.checkpoint import WEIGHTS
from stser_core.fused import CONTRIBUTED, fuse
from stser_core.fusion import StserModel

OPSET: Final = 17

_HALF: Final = ".half"
"""Ends the name of a tensor in half precision inside a graph."""


class _SpeechGraph(nn.Module):
    def __init__(self, model: StserModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, log_mel: Tensor, lengths: Tensor, voice: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        heard = self.model.smodel(log_mel, lengths)
        logits = self.model.speech(heard.representation - voice)
        told = self.model.voice(heard.representation, logits)
        return heard.representation, logits, heard.attention, told


class _TextGraph(nn.Module):
    def __init__(self, model: StserModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        read = self.model.tmodel(ids, mask)
        return read.representation, self.model.text(read.representation), read.weights


class _BimodalGraph(nn.Module):
    def __init__(self, model: StserModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, speech: Tensor, text: Tensor) -> Tensor:
        return self.model.fuse(speech, text)


def write_graphs(model: StserModel, directory: Path) -> None:
    """Write the three ONNX graphs beside ``model.safetensors``, whose matrices they refer to."""
    sizes = model.settings
    model = fuse(copy.deepcopy(model))
    places = _places(directory / WEIGHTS)
    log_mel, lengths = torch.zeros(2, 40, sizes.speech.n_mels), torch.tensor([40, 30])
    ids, mask = torch.ones(2, 6, dtype=torch.int64), torch.ones(2, 6, dtype=torch.int64)
    speech = torch.zeros(2, sizes.speech.representation)
    text = torch.zeros(2, sizes.text.representation)
    time, tokens = {0: "batch", 1: "time"}, {0: "batch", 1: "tokens"}
    scores = {"representation": {0: "batch"}, "logits": {0: "batch"}}
    graphs: dict[str, tuple[nn.Module, dict[str, Tensor], dict[str, Any], dict[str, Any]]] = {
        "speech.onnx": (
            _SpeechGraph(model),
            {"log_mel": log_mel, "lengths": lengths, "voice": speech},
            {"log_mel": time, "lengths": {0: "batch"}, "voice": {0: "batch"}},
            scores | {"attention": {0: "batch", 1: "pooled_time"}, "told": {0: "batch"}},
        ),
        "text.onnx": (
            _TextGraph(model),
            {"ids": ids, "mask": mask},
            {"ids": tokens, "mask": tokens},
            scores | {"weights": tokens},
        ),
        "bimodal.onnx": (
            _BimodalGraph(model),
            {"speech": speech, "text": text},
            {"speech": {0: "batch"}, "text": {0: "batch"}},
            {"logits": {0: "batch"}},
        ),
    }
    for name, (graph, inputs, input_axes, output_axes) in graphs.items():
        proto = _trace(graph, inputs, input_axes, output_axes)
        _refer_to_weights(proto, places)
        (directory / name).write_bytes(proto.SerializeToString())


def _trace(
    graph: nn.Module,
    inputs: Mapping[str, Tensor],
    input_axes: Mapping[str, Any],
    output_axes: Mapping[str, Any],
) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The shape checks of our modules are traced as constants, which is what they should become;
        # and the exporter that follows the older one bakes the batch size into the LSTM.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            tuple(inputs.values()),
            buffer,  # type: ignore[arg-type]  # the stub knows only the other exporter's paths
            dynamo=False,
            opset_version=OPSET,
            custom_opsets={CONTRIBUTED: 1},
            # Folded weights would be new tensors that are not in model.safetensors; ONNX Runtime
            # folds them when it loads the graph.
            do_constant_folding=False,
            input_names=list(inputs),
            output_names=list(output_axes),
            dynamic_axes=dict(input_axes) | dict(output_axes),
        )
    return onnx.load_from_string(buffer.getvalue())


def _places(weights: Path) -> dict[str, tuple[int, int]]:
    """Byte offset and length of each half-precision tensor in a safetensors file.

    The file is the length of a JSON header (eight bytes, little endian), the header, and the data.
    """
    content = weights.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    return {
        name: (
            start + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
        if entry.get("dtype") == "F16"
    }


def _refer_to_weights(proto: onnx.ModelProto, places: Mapping[str, tuple[int, int]]) -> None:
    """Replace each matrix in a graph by a reference into ``model.safetensors`` and a cast.

    ONNX Runtime casts once, when it loads the graph.
    """
    graph = proto.graph
    matrices: set[str] = set()
    for initializer in graph.initializer:
        # The graphs call the model "model"; its tensors have their own names below that.
        place = places.get(initializer.name.removeprefix("model."))
        if place is not None:
            matrices.add(initializer.name)
            initializer.CopyFrom(_reference(initializer.name + _HALF, initializer.dims, place))
    nodes = list(_widened(graph.node, matrices))
    del graph.node[:]
    graph.node.extend(nodes)


def _reference(name: str, dims: Sequence[int], place: tuple[int, int]) -> TensorProto:
    tensor = TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT16)
    tensor.data_location = TensorProto.EXTERNAL
    offset, length = place
    for key, value in (("location", WEIGHTS), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _widened(nodes: Sequence[onnx.NodeProto], matrices: set[str]) -> Iterator[onnx.NodeProto]:
    """The nodes, with casts: of a table only the rows that are looked up, of other matrices all."""
    elsewhere = {name for node in nodes if node.op_type != "Gather" for name in node.input}
    tables = matrices - elsewhere
    for name in sorted(matrices & elsewhere):
        yield helper.make_node("Cast", [name + _HALF], [name], to=TensorProto.FLOAT)
    for node in nodes:
        if node.op_type != "Gather" or node.input[0] not in tables:
            yield node
            continue
        (rows,) = node.output
        node.input[0] += _HALF
        node.output[0] += _HALF
        yield node
        yield helper.make_node("Cast", [rows + _HALF], [rows], to=TensorProto.FLOAT)
