"""The student before it learns: the teacher's layers on a narrow table of fewer word pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import AlbertConfig, AlbertModel, BertModel

from stser_core.text import TextTokenizer
from training.settings import StudentSettings
from training.whole_file import write_whole

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def piece_counts(sentences: Iterable[Sequence[str]], tokenizer: TextTokenizer) -> NDArray[np.int64]:
    """How often each word piece occurs, ``(pieces,)``."""
    counts = np.zeros(tokenizer.vocabulary_size, np.int64)
    for words in sentences:
        np.add.at(counts, tokenizer.encode(words).ids, 1)
    return counts


def kept_pieces(tokenizer: dict[str, Any], counts: NDArray[np.int64], least: int) -> list[int]:
    """Pieces that the student knows, in the teacher's order.

    Single letters stay, so that every word can still be spelt.

    Args:
        tokenizer: The teacher's ``tokenizer.json``.
        counts: By piece.
        least: Times that a longer piece must occur.
    """
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    return sorted(
        at
        for piece, at in vocabulary.items()
        if piece in _SPECIAL
        or counts[at] >= least
        or (piece.isascii() and len(piece.removeprefix("##")) == 1)
    )


def smaller_tokenizer(tokenizer: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """``tokenizer.json`` with the kept pieces alone, numbered from 0."""
    place = {old: new for new, old in enumerate(kept)}
    smaller: dict[str, Any] = json.loads(json.dumps(tokenizer)) | {
        "padding": None,
        "truncation": None,
    }
    model, frame = smaller["model"], smaller["post_processor"]["special_tokens"]
    model["vocab"] = {p: place[at] for p, at in model["vocab"].items() if at in place}
    smaller["added_tokens"] = [
        token | {"id": place[token["id"]]}
        for token in smaller["added_tokens"]
        if token["id"] in place
    ]
    for token in frame.values():
        token["ids"] = [place[at] for at in token["ids"]]
    return smaller


def untaught(teacher: BertModel, kept: Sequence[int], settings: StudentSettings) -> AlbertModel:
    """An ALBERT with some of the teacher's layers; its table of pieces is not fitted yet."""
    theirs = teacher.config
    layers = len(settings.teacher_layers)
    albert = AlbertModel(
        AlbertConfig(
            vocab_size=len(kept),
            embedding_size=settings.embedding,
            hidden_size=theirs.hidden_size,
            num_hidden_layers=layers,
            num_hidden_groups=layers,
            num_attention_heads=theirs.num_attention_heads,
            intermediate_size=theirs.intermediate_size,
            max_position_embeddings=settings.max_tokens,
            hidden_act="gelu_new",
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
        ),
        add_pooling_layer=False,
    )
    groups: Any = albert.encoder.albert_layer_groups
    for group, at in zip(groups, settings.teacher_layers, strict=True):
        _take_over(group.albert_layers[0], teacher.encoder.layer[at])
    return albert


def _take_over(ours: Any, theirs: Any) -> None:
    """An ALBERT layer computes what a BERT layer does; only the names differ."""
    attention, source = ours.attention, theirs.attention
    for mine, its in (
        (attention.query, source.self.query),
        (attention.key, source.self.key),
        (attention.value, source.self.value),
        (attention.dense, source.output.dense),
        (attention.LayerNorm, source.output.LayerNorm),
        (ours.ffn, theirs.intermediate.dense),
        (ours.ffn_output, theirs.output.dense),
        (ours.full_layer_layer_norm, theirs.output.LayerNorm),
    ):
        mine.load_state_dict(its.state_dict())


def fit_table(
    albert: AlbertModel,
    teacher: BertModel,
    kept: Sequence[int],
    counts: NDArray[np.int64],
    settings: StudentSettings,
    rng: np.random.Generator,
) -> float:
    """Fit the narrow table and its widening to what the teacher's table gives its first layer.

    Pieces are drawn by the square root of their counts. Starts from the principal components.

    Returns:
        The share of the teacher's variance that is left unexplained.
    """
    frequency = np.sqrt(counts[list(kept)] + 1.0)
    frequency /= frequency.sum()
    places = torch.tensor(kept)
    _principal(albert, teacher, places, torch.from_numpy(frequency).float())
    widened = nn.ModuleList([albert.embeddings, albert.encoder.embedding_hidden_mapping_in])
    albert.train(mode=False)
    teacher.train(mode=False)
    optimiser = torch.optim.Adam(widened.parameters(), lr=settings.table_rate)
    left = 1.0
    for step in tqdm(range(settings.table_steps), desc="table", mininterval=10):
        optimiser.param_groups[0]["lr"] = settings.table_rate * (1 - step / settings.table_steps)
        ids = torch.from_numpy(rng.choice(len(kept), (64, 24), p=frequency))
        with torch.no_grad():
            goal = teacher.embeddings(input_ids=places[ids])
        given = albert.encoder.embedding_hidden_mapping_in(albert.embeddings(input_ids=ids))
        loss = F.mse_loss(given, goal)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        left = loss.item() / goal.var(dim=(0, 1)).mean().item()
    return left


@torch.no_grad()
def _principal(albert: AlbertModel, teacher: BertModel, places: Tensor, frequency: Tensor) -> None:
    wide = teacher.embeddings(input_ids=places[:, None]).squeeze(1)  # (pieces, hidden)
    mean = (frequency[:, None] * wide).sum(dim=0)
    centred = wide - mean
    size = albert.config.embedding_size
    _, vectors = torch.linalg.eigh((centred * frequency[:, None]).T @ centred)
    axes = vectors[:, -size:]  # (hidden, embedding)
    narrow = centred @ axes
    scale = narrow.pow(2).mean().sqrt()
    albert.embeddings.word_embeddings.weight.copy_(narrow / scale)
    albert.embeddings.position_embeddings.weight.zero_()
    albert.embeddings.token_type_embeddings.weight.zero_()
    albert.encoder.embedding_hidden_mapping_in.weight.copy_(axes * scale)
    albert.encoder.embedding_hidden_mapping_in.bias.copy_(mean)


def save(albert: AlbertModel, tokenizer: dict[str, Any], folder: Path) -> None:
    """Write a folder that ``stser-train fit --albert`` takes."""
    albert.save_pretrained(folder)
    write_whole(folder / "tokenizer.json", json.dumps(tokenizer, ensure_ascii=False))
