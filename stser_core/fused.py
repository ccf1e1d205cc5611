"""The Bi-LSTM and ALBERT as the few operators that ONNX Runtime has for them. For export only.

Traced as they are, PyTorch's modules become two LSTMs with a reversal around one of them, and over a hundred
operators for each ALBERT layer, which ONNX Runtime takes long to load. Here each says which operator it is; its
parameters keep their names. ``check_parity`` holds that the result is the same.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import torch
from torch import Tensor, nn

from stser_core.fusion import StserModel
from stser_core.layers import BidirectionalLstm

CONTRIBUTED: Final = "com.microsoft"
"""Domain of the operators that ONNX Runtime has beyond the standard."""


def fuse(model: StserModel) -> StserModel:
    """Replace, in place, what traces into many operators; what comes back is good for tracing alone."""
    model.smodel.lstm = _FusedLstm(model.smodel.lstm)  # type: ignore[assignment]
    model.tmodel.albert = _FusedAlbert(model.tmodel.albert)  # type: ignore[assignment]
    return model


class _FusedLstm(nn.Module):
    """:class:`~stser_core.layers.BidirectionalLstm`, both directions in one operator."""

    def __init__(self, lstm: BidirectionalLstm) -> None:
        super().__init__()
        self.forwards, self.backwards = lstm.forwards, lstm.backwards

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        ways = (self.forwards, self.backwards)
        states = _as(
            _LstmOperator,
            frames.transpose(0, 1),
            torch.stack([_onnx_gates(way.weight_ih_l0) for way in ways]),
            torch.stack([_onnx_gates(way.weight_hh_l0) for way in ways]),
            torch.stack(
                [
                    torch.cat([_onnx_gates(way.bias_ih_l0), _onnx_gates(way.bias_hh_l0)])
                    for way in ways
                ]
            ),
            lengths.to(torch.int32),
            self.forwards.hidden_size,
        )  # (T, 2, B, H)
        return states.permute(2, 0, 1, 3).flatten(2)


def _onnx_gates(weights: Any) -> Tensor:
    """Gates in the order of ONNX (input, output, forget, cell) instead of PyTorch's."""
    gate_in, forget, cell, out = weights.split(len(weights) // 4)
    return torch.cat([gate_in, out, forget, cell])


class _FusedAlbert(nn.Module):
    """transformers' ``AlbertModel`` without pooling, each layer eight operators.

    Groups of one layer each, as :class:`~stser_core.tmodel.TextModel` configures them.
    """

    def __init__(self, albert: Any) -> None:
        super().__init__()
        self.embeddings, self.encoder, self.config = (
            albert.embeddings,
            albert.encoder,
            albert.config,
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """As ``AlbertModel``; the mask is additive, ``(batch, 1, 1, tokens)``."""
        tables = self.embeddings
        places = tables.position_embeddings.weight[: input_ids.shape[1]]
        states = tables.word_embeddings(input_ids) + tables.token_type_embeddings.weight[0] + places
        states = self.encoder.embedding_hidden_mapping_in(tables.LayerNorm(states))
        mask = (attention_mask[:, 0, 0] >= 0).to(torch.int32)
        groups, layers = self.encoder.albert_layer_groups, self.config.num_hidden_layers
        for at in range(layers):
            (layer,) = groups[at * len(groups) // layers].albert_layers
            states = self._layer(layer, states, mask)
        return SimpleNamespace(last_hidden_state=states)

    def _layer(self, layer: Any, states: Tensor, mask: Tensor) -> Tensor:
        attention, epsilon = layer.attention, self.config.layer_norm_eps
        heads = (attention.query, attention.key, attention.value)
        mixed = _as(
            _AttentionOperator,
            states,
            torch.cat([head.weight for head in heads]).T,
            torch.cat([head.bias for head in heads]),
            mask,
            self.config.num_attention_heads,
        )
        norm, out = attention.LayerNorm, attention.dense
        states = _as(
            _SkipNormOperator,
            mixed @ out.weight.T,
            states,
            norm.weight,
            norm.bias,
            out.bias,
            epsilon,
        )
        inner = _as(_GeluOperator, states @ layer.ffn.weight.T, layer.ffn.bias)
        norm, out = layer.full_layer_layer_norm, layer.ffn_output
        return _as(
            _SkipNormOperator,
            inner @ out.weight.T,
            states,
            norm.weight,
            norm.bias,
            out.bias,
            epsilon,
        )


def _as(operator: Any, *inputs: Any) -> Tensor:
    """Trace an operator, whose types PyTorch does not know."""
    output: Tensor = operator.apply(*inputs)
    return output


class _Operator(torch.autograd.Function):
    """Stands for one ONNX operator while a graph is traced; what it computes is never looked at."""

    @staticmethod
    def forward(context: Any, first: Tensor, *others: Any) -> Tensor:
        return first.clone()


class _LstmOperator(_Operator):
    @staticmethod
    def forward(context: Any, first: Tensor, *others: Any) -> Tensor:
        time, batch, _ = first.shape
        return first.new_zeros(time, 2, batch, others[-1])

    @staticmethod
    def symbolic(graph: Any, frames: Any, *inputs: Any) -> Any:
        *tensors, hidden = inputs
        return graph.op("LSTM", frames, *tensors, hidden_size_i=hidden, direction_s="bidirectional")


class _AttentionOperator(_Operator):
    @staticmethod
    def symbolic(graph: Any, states: Any, *inputs: Any) -> Any:
        *tensors, heads = inputs
        return _like(
            states, graph.op(f"{CONTRIBUTED}::Attention", states, *tensors, num_heads_i=heads)
        )


class _SkipNormOperator(_Operator):
    @staticmethod
    def symbolic(graph: Any, states: Any, *inputs: Any) -> Any:
        *tensors, epsilon = inputs
        name = f"{CONTRIBUTED}::SkipLayerNormalization"
        return _like(states, graph.op(name, states, *tensors, epsilon_f=epsilon))


class _GeluOperator(_Operator):
    @staticmethod
    def symbolic(graph: Any, states: Any, bias: Any) -> Any:
        return _like(states, graph.op(f"{CONTRIBUTED}::FastGelu", states, bias))


def _like(states: Any, output: Any) -> Any:
    """The exporter knows no shapes of contributed operators: here they are those of the input."""
    output.setType(states.type())
    return output
