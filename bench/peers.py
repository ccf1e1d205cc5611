"""What others compute from speech, in the same engine: networks of the real shape with random weights.

Time depends on the shape, not on what was learned, so nothing is downloaded. The graphs are made once and kept
in the user's cache folder; ``STSER_BENCH_CACHE`` names another. HuBERT-large takes 1.3 GB there.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from monitor.events import SAMPLE_RATE_HZ, Samples

OPSET: Final = 17

WAV2VEC2: Final = "wav2vec2-base"
HUBERT: Final = "HuBERT-large"
WHISPER: Final = "whisper-tiny encoder"
"""Its input is always padded to 30 s."""
EGEMAPS: Final = "openSMILE eGeMAPSv02"
MFCC: Final = "librosa MFCC"

_WHISPER_INPUT: Final = (1, 80, 3_000)


def network(name: str) -> Callable[[Samples], Any]:
    """One of the three networks, ready to take 16 kHz samples, on one thread of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _graph(name), options, providers=["CPUExecutionProvider"]
    )
    if name == WHISPER:
        features = np.zeros(_WHISPER_INPUT, np.float32)
        return lambda samples: session.run(None, {"audio": features})
    return lambda samples: session.run(None, {"audio": samples[None]})


def egemaps() -> Callable[[Samples], Any]:
    """OpenSMILE's eGeMAPSv02 functionals: 88 numbers an utterance."""
    import opensmile

    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    return lambda samples: smile.process_signal(samples, SAMPLE_RATE_HZ)


def mfcc() -> Callable[[Samples], NDArray[np.float32]]:
    """Librosa's 20 MFCCs with its defaults."""
    import librosa

    return lambda samples: librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE_HZ)


def _graph(name: str) -> Path:
    folder = Path(
        os.environ.get("STSER_BENCH_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "stser-bench"
    )
    path = folder / f"{name.replace(' ', '-')}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        _export(name, draft)
        draft.rename(path)
    return path


def _export(name: str, path: Path) -> None:
    import torch

    class LastState(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            return self.model(audio).last_hidden_state  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = LastState(_model(name)).eval()
    whisper = name == WHISPER
    audio = torch.zeros(_WHISPER_INPUT) if whisper else torch.zeros(1, SAMPLE_RATE_HZ)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # shapes that are checked while the graph is traced
        torch.onnx.export(
            model,
            (audio,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["audio"],
            output_names=["states"],
            dynamic_axes=None if whisper else {"audio": {1: "samples"}, "states": {1: "frames"}},
        )


def _model(name: str) -> Any:
    import transformers

    if name == WAV2VEC2:
        config = transformers.Wav2Vec2Config(attn_implementation="eager")
        return transformers.Wav2Vec2Model(config)
    if name == HUBERT:
        return transformers.HubertModel(
            transformers.HubertConfig(
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                intermediate_size=4096,
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                conv_bias=True,
                attn_implementation="eager",
            )
        )
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder(
        transformers.WhisperConfig(
            d_model=384,
            encoder_layers=4,
            encoder_attention_heads=6,
            encoder_ffn_dim=1536,
            attn_implementation="eager",
        )
    )
