"""A trained model to a checkpoint: safetensors, ONNX graphs beside it, and the proof that they agree."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from stser_core.adaptation import AdaptationSettings, LogMelStatistics
from stser_core.checkpoint import (
    FORMAT,
    TOKENIZER,
    WEIGHTS,
    Description,
    Manifest,
    Prior,
    Temperatures,
    read_manifest,
    write_manifest,
)
from stser_core.engine import Engine, OnnxEngine
from stser_core.errors import CheckpointError
from stser_core.features import LogMelSettings
from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from stser_core.posterior import EmotionPosterior
from stser_core.tensors import rounded, save_tensors
from stser_core.torch_engine import TorchEngine

OPSET: Final = 17
TOLERANCE: Final = 1e-4
"""Largest difference of a probability between ONNX Runtime and PyTorch."""

_HALF: Final = ".half"
"""Ends the name of a tensor in half precision inside a graph."""

_CHECK_SECONDS: Final = (0.1, 0.5, 1.0, 3.3, 7.0, 15.0)
_CHECK_TOKENS: Final = (3, 5, 9, 17, 40, 128)


def save_checkpoint(
    directory: Path,
    model: StserModel,
    *,
    name: str,
    version: str,
    tokenizer_json_path: Path,
    prior: LogMelStatistics,
    temperatures: Mapping[str, float],
    notes: Mapping[str, Any],
    log_mel: LogMelSettings | None = None,
    adaptation: AdaptationSettings | None = None,
) -> Manifest:
    """Write a checkpoint, or nothing at all.

    Args:
        directory: Folder to make, or to replace.
        model: The trained networks; left as they are. What is written is :func:`tensors.rounded` of them.
        name: Name of the weights, such as ``stser-open``.
        version: Their version, such as ``1.0.0``.
        tokenizer_json_path: Word pieces that the text was tokenised with.
        prior: Log-mel statistics of the training corpora.
        temperatures: By classifier: ``speech``, ``text``, ``bimodal``.
        notes: Corpora, licences, figures; anything that JSON can hold.
        log_mel: Front end that the model was trained with; None is the default one.
        adaptation: Normalisation that the model was trained with; None is the default one.

    Returns:
        The manifest, as read back.

    Raises:
        CheckpointError: If ONNX Runtime and PyTorch disagree by more than :data:`TOLERANCE`, or a part does
            not fit the others.
    """
    description = Description(
        format=FORMAT,
        name=name,
        version=version,
        labels=tuple(emotion.value for emotion in EMOTIONS),
        log_mel=log_mel if log_mel is not None else LogMelSettings(),
        adaptation=adaptation if adaptation is not None else AdaptationSettings(),
        sizes=model.settings,
        temperatures=Temperatures(**temperatures),
        prior=Prior.of(prior),
    )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".export-") as scratch:
        draft = Path(scratch) / directory.name
        draft.mkdir()
        twin = rounded(model)
        save_tensors(twin, draft / WEIGHTS)
        write_graphs(twin, draft)
        shutil.copyfile(tokenizer_json_path, draft / TOKENIZER)
        manifest = write_manifest(draft, description, notes)
        check_parity(OnnxEngine(draft), TorchEngine.load(manifest), description)
        if directory.exists():
            directory.rename(Path(scratch) / "replaced")
        draft.rename(directory)
    return read_manifest(directory)


def check_parity(engine: Engine, reference: Engine, description: Description) -> float:
    """Compare two engines on utterances from 0.1 to 15 s and sentences of up to 128 tokens, in batches.

    Returns:
        The largest difference of a probability.

    Raises:
        CheckpointError: If it exceeds :data:`TOLERANCE`.
    """
    inputs = _check_inputs(description)
    ours = _posteriors(engine, description, *inputs)
    theirs = _posteriors(reference, description, *inputs)
    difference = float(np.abs(ours - theirs).max())
    # Written so that NaN fails as well.
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"ONNX Runtime and PyTorch differ by {difference:.2g} in a probability, more than "
            f"{TOLERANCE:g}: nothing was written."
        )
    return difference


def _check_inputs(description: Description) -> tuple[np.ndarray, ...]:
    draw = np.random.default_rng(0)
    lengths = np.array(
        [max(8, description.log_mel.n_frames(round(16_000 * s))) for s in _CHECK_SECONDS], np.int64
    )
    log_mel = draw.standard_normal((len(lengths), int(lengths.max()), description.log_mel.n_mels))
    text = description.sizes.text
    tokens = np.minimum(_CHECK_TOKENS, text.max_tokens)
    ids = draw.integers(0, text.vocabulary, (len(tokens), int(tokens.max())))
    mask = (np.arange(ids.shape[1]) < tokens[:, None]).astype(np.int64)
    return log_mel.astype(np.float32), lengths, ids, mask


def _posteriors(
    engine: Engine,
    description: Description,
    log_mel: np.ndarray,
    lengths: np.ndarray,
    ids: np.ndarray,
    mask: np.ndarray,
) -> np.ndarray:
    """Probabilities ``(classifier * batch, classes)``."""
    speech, text = engine.speech(log_mel, lengths), engine.text(ids, mask)
    bimodal = engine.bimodal(speech.representation, text.representation)
    temperatures = description.temperatures
    calibrated = (
        (speech.logits, temperatures.speech),
        (text.logits, temperatures.text),
        (bimodal, temperatures.bimodal),
    )
    return np.array(
        [
            EmotionPosterior.from_logits(row, temperature).probabilities
            for logits, temperature in calibrated
            for row in logits
        ]
    )


# --- graphs ------------------------------------------------------------------------------------


class _SpeechGraph(nn.Module):
    def __init__(self, model: StserModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heard = self.model.smodel(log_mel, lengths)
        return heard.representation, self.model.speech(heard.representation), heard.attention


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
            {"log_mel": log_mel, "lengths": lengths},
            {"log_mel": time, "lengths": {0: "batch"}},
            scores | {"attention": {0: "batch", 1: "pooled_time"}},
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
            buffer,
            dynamo=False,
            opset_version=OPSET,
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
    """Replace each matrix in a graph by a reference into ``model.safetensors`` and a cast to float32.

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
