"""Where a run's words come from: the packaged tmodel, or any ALBERT that Hugging Face publishes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file

from stser_core.checkpoint import TOKENIZER, WEIGHTS, read_manifest
from stser_core.fusion import StserModel
from stser_core.sizes import TextModelSettings
from stser_core.tensors import load_model
from stser_core.text import TextTokenizer
from training.errors import TrainingError

_ACTIVATIONS: Final = ("gelu_new", "gelu_pytorch_tanh")
"""Two names of the tanh approximation of GELU, which the tmodel has."""


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """A pre-trained ALBERT on disk with its word pieces."""

    folder: Path
    sizes: TextModelSettings
    is_checkpoint: bool
    """A checkpoint of ours, whose attention pooling is taken, too; else a transformers folder."""

    @classmethod
    def of_checkpoint(cls, folder: Path) -> TextEncoder:
        """The tmodel of a checkpoint.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        return cls(folder, read_manifest(folder).description.sizes.text, is_checkpoint=True)

    @classmethod
    def of_albert(cls, name: str) -> TextEncoder:
        """A folder, or a name on the Hugging Face hub such as ``albert-base-v2``.

        Raises:
            TrainingError: It cannot be found, or is no ALBERT with a fast tokenizer.
        """
        folder = Path(name) if Path(name).is_dir() else _downloaded(name)
        try:
            config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{folder}: config.json cannot be read: {error}") from error
        missing = [f for f in (WEIGHTS, TOKENIZER) if not (folder / f).is_file()]
        if config.get("model_type") != "albert" or missing:
            lacking = f"lacks {', '.join(missing)}" if missing else "is no ALBERT"
            raise TrainingError(f"{folder}: {lacking}. Give an ALBERT as transformers 5 saves it.")
        if config.get("hidden_act", "gelu_new") not in _ACTIVATIONS:
            raise TrainingError(
                f"{folder}: hidden_act ({config['hidden_act']}) must be one of "
                f"{', '.join(_ACTIVATIONS)}, as in the published ALBERTs of version 2."
            )
        try:
            sizes = TextModelSettings(
                vocabulary=config["vocab_size"],
                embedding=config["embedding_size"],
                hidden=config["hidden_size"],
                layers=config["num_hidden_layers"],
                groups=config.get("num_hidden_groups", 1),
                heads=config["num_attention_heads"],
                intermediate=config["intermediate_size"],
                max_tokens=config["max_position_embeddings"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"{folder}: config.json does not say the sizes ({error}). Give an ALBERT as transformers 5 saves it."
            ) from error
        return cls(folder, sizes, is_checkpoint=False)

    @property
    def digest(self) -> str:
        """``sha256:...`` of weights and word pieces."""
        content = (self.folder / WEIGHTS).read_bytes() + (self.folder / TOKENIZER).read_bytes()
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def tokenizer(self) -> TextTokenizer:
        """Its word pieces."""
        return TextTokenizer.load(self.folder / TOKENIZER, self.sizes.max_tokens)

    def load_into(self, model: StserModel) -> None:
        """Put the pre-trained weights in place.

        Raises:
            CheckpointError: The weights are not those of the sizes.
            TrainingError: The same, of a transformers folder.
        """
        if self.is_checkpoint:
            model.tmodel.load_state_dict(load_model(read_manifest(self.folder)).tmodel.state_dict())
            return
        # A model saved with a head names its encoder "albert."; heads and pooler are not needed, nor
        # the numbers 0, 1, 2 ... that older ones saved as positions.
        try:
            weights = {
                name.removeprefix("albert."): value.float()
                for name, value in load_file(self.folder / WEIGHTS).items()
                if not name.removeprefix("albert.").startswith(
                    ("predictions.", "pooler.", "classifier.", "embeddings.position_ids")
                )
            }
            model.tmodel.albert.load_state_dict(weights)
        except (SafetensorError, RuntimeError) as error:
            raise TrainingError(f"{self.folder}: not the ALBERT of its config: {error}") from error


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        # The newest of a name that the user chose: configuration, safetensors, vocabulary; nothing that runs.
        return Path(snapshot_download(name, allow_patterns=["config.json", WEIGHTS, TOKENIZER]))  # nosec B615
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise TrainingError(
            f"--text-encoder {name}: no such folder, and the hub does not give it: {error}"
        ) from error
