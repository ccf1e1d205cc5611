"""``stser-train hear``: a pre-trained Whisper encoder hears the speech corpora, to teach the smodel.

An utterance becomes the mean and the deviation over time of some layers' states (Pasad et al., 2021,
find what is not words, such as the voice and its manner, in a speech model's middle layers).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn
from tqdm import tqdm
from transformers import WhisperFeatureExtractor, WhisperModel

from training.corpora import read_manifests
from training.errors import TrainingError
from training.front_end import load_audio, trim
from training.hearing import write_hearing
from training.settings import OpenSettings

RATE_HZ: Final = 16_000
STEP: Final = 320
"""Samples from one state of the encoder to the next."""


class WhisperEar:
    """The encoder of a Whisper, for utterances as long as they are instead of 30 s."""

    def __init__(self, folder: Path, *, half: bool = False) -> None:
        """Load the encoder of a folder as transformers saves a ``WhisperModel``.

        Args:
            folder: With ``config.json`` and weights.
            half: Compute in bfloat16.

        Raises:
            TrainingError: There is no Whisper in it.
        """
        try:
            kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
            if kind != "whisper":
                raise TrainingError(f"{folder}: a {kind}. The teacher must be a Whisper.")
            whisper = WhisperModel.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, SafetensorError) as error:
            raise TrainingError(f"{folder}: no Whisper can be loaded: {error}.") from error
        self._encoder = whisper.get_encoder().eval()
        self._places = self._encoder.embed_positions.weight.detach()
        self._mels = WhisperFeatureExtractor(  # type: ignore[no-untyped-call]
            feature_size=self._encoder.config.num_mel_bins
        )

        self._folder, self._half = folder, half

    def check(self, layers: Sequence[int]) -> None:
        """Stop where it lacks one of these layers.

        Raises:
            TrainingError: It does.
        """
        if max(layers) > len(self._encoder.layers):
            raise TrainingError(
                f"{self._folder}: has {len(self._encoder.layers)} layers, lesson.layers asks for "
                f"layer {max(layers)}."
            )

    @torch.inference_mode()
    def states(self, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """States ``(time, width)`` every 20 ms: the input of the first layer, and after each.

        Args:
            samples: Mono at 16 kHz; what lies beyond the encoder's 30 s is not heard.
        """
        frames = min(max(1, -(-len(samples) // STEP)), len(self._places))
        padded = np.zeros(frames * STEP, np.float32)
        padded[: len(samples)] = samples[: len(padded)]
        mels = self._mels(padded, sampling_rate=RATE_HZ, padding="do_not_pad", return_tensors="pt")
        # Else it takes nothing but 30 s, and ten times as long.
        self._encoder.config.max_source_positions = frames
        self._encoder.embed_positions = nn.Embedding(
            frames, self._places.shape[1], _weight=self._places[:frames]
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            heard = self._encoder(mels.input_features, output_hidden_states=True).hidden_states
        return [cast(NDArray[np.float32], state[0].float().numpy()) for state in heard]


def hear(folder: Path, root: Path, out: Path, settings: OpenSettings) -> Path:
    """Let the teacher hear all utterances of the speech corpora, cut as training hears them.

    Args:
        folder: A Whisper, as transformers saves it.
        root: Folder of the corpora.
        out: File to write, for ``stser-train fit``, ``crossval`` and ``left-out``.
        settings: Which corpora, which layers.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: The teacher cannot be used.
    """
    ear = WhisperEar(folder, half=settings.lesson.half_precision)
    layers = settings.lesson.layers
    ear.check(layers)
    utterances = read_manifests(root, settings.speech.corpora)
    heard = []
    for utterance in tqdm(utterances, desc="hear", mininterval=10):
        assert utterance.audio is not None
        states = ear.states(trim(load_audio(utterance.audio, RATE_HZ), RATE_HZ))
        heard.append(
            np.concatenate([[states[n].mean(axis=0), states[n].std(axis=0)] for n in layers])
        )
    values = np.stack(heard).reshape(len(utterances), -1).astype(np.float16)
    write_hearing(out, utterances, layers, values)
    return out
