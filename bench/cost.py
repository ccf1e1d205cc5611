"""What an utterance costs, and a second of voice activity detection, ours beside others, in turns on one thread."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from bench import peers
from bench.audio import stretch
from bench.timing import Cost, in_turns
from monitor.events import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from monitor.vad import EnergyVad
from stser_core.ensemble import Stser
from stser_core.features import log_mel

OURS: Final = "STSER, voice and words"
OURS_EXPLAINED: Final = "STSER, and which words weighed"
OURS_VOICE: Final = "STSER, voice alone"
OURS_LOG_MEL: Final = "of it, log-mel"

WORDS_A_SECOND: Final = 2.5
"""150 words a minute."""

ENERGY: Final = "energy (ours), a second at a time"
ENERGY_LIVE: Final = "energy (ours), 20 ms at a time"
SILERO: Final = "silero-vad"
WEBRTC: Final = "webrtcvad"

_SPOKEN: Final = (
    "i really do not know what you want me to say about it now because nobody ever told us that the "
    "train would be so late and we had to wait there in the rain for hours until it came"
)

_SILERO_WINDOW: Final = 512
_SILERO_CONTEXT: Final = 64


def utterances(seconds: list[float], rounds: int, *, heavy: bool) -> dict[str, dict[str, Cost]]:
    """Milliseconds for an utterance of each length: from 16 kHz samples and words to what each computes.

    Args:
        seconds: Lengths.
        rounds: How often each is measured.
        heavy: False leaves HuBERT-large out, which takes most of the time.
    """
    ours, names = _ensembles(), [peers.WAV2VEC2, peers.HUBERT, peers.WHISPER]
    others: dict[str, Callable[[Samples], Any]] = {
        name: peers.network(name) for name in names if heavy or name != peers.HUBERT
    }
    others |= {peers.EGEMAPS: peers.egemaps(), peers.MFCC: peers.mfcc()}
    return {f"{length:g} s": in_turns(_jobs(ours, others, length), rounds) for length in seconds}


def by_length(seconds: list[float], rounds: int) -> dict[float, dict[str, Cost]]:
    """Ours alone, for the picture of cost against length."""
    ours = _ensembles()
    return {length: in_turns(_jobs(ours, {}, length), rounds) for length in seconds}


def _ensembles() -> tuple[Stser, Stser]:
    """Without and with the weight of each word, for which the sentence is read again without those that say most."""
    return Stser.load(explain_words=False), Stser.load()


def _jobs(
    ours: tuple[Stser, Stser], others: dict[str, Callable[[Samples], Any]], length: float
) -> dict[str, Callable[[], Any]]:
    samples = stretch(length)
    words = list(itertools.islice(itertools.cycle(_SPOKEN.split()), round(length * WORDS_A_SECOND)))
    plain, explained = ours
    front_end = plain.log_mel_settings
    jobs: dict[str, Callable[[], Any]] = {
        OURS: lambda: plain.classify(log_mel(samples, front_end), words),
        OURS_EXPLAINED: lambda: explained.classify(log_mel(samples, front_end), words),
        OURS_VOICE: lambda: plain.classify(log_mel(samples, front_end), None),
        OURS_LOG_MEL: lambda: log_mel(samples, front_end),
    }
    return jobs | {name: (lambda run=run: run(samples)) for name, run in others.items()}


def voice_activity(rounds: int, seconds: int = 10) -> dict[str, Cost]:
    """Milliseconds for one second of audio."""
    samples = stretch(seconds)
    costs = in_turns(
        {
            ENERGY: lambda: _energy(samples, SAMPLE_RATE_HZ),
            ENERGY_LIVE: lambda: _energy(samples, FRAME_SAMPLES),
            SILERO: _silero(samples),
            WEBRTC: _webrtc(samples),
        },
        rounds,
    )
    return {
        name: Cost(cost.median / seconds, cost.least / seconds, cost.most / seconds)
        for name, cost in costs.items()
    }


def _energy(samples: Samples, step: int) -> None:
    vad = EnergyVad()
    for at in range(0, len(samples), step):
        vad.push(samples[at : at + step])


def _silero(samples: Samples) -> Callable[[], Any]:
    """Its network as ONNX, 32 ms at a time with the state carried on, without PyTorch around it."""
    package = importlib.util.find_spec("silero_vad")
    if package is None or package.origin is None:
        raise SystemExit("silero-vad is missing: pip install -e .[bench]")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        Path(package.origin).parent / "data" / "silero_vad.onnx",
        options,
        providers=["CPUExecutionProvider"],
    )
    rate = np.array(SAMPLE_RATE_HZ, np.int64)

    def run() -> None:
        state = np.zeros((2, 1, 128), np.float32)
        window = np.zeros((1, _SILERO_CONTEXT + _SILERO_WINDOW), np.float32)
        for at in range(0, len(samples) - _SILERO_WINDOW + 1, _SILERO_WINDOW):
            window[:, :_SILERO_CONTEXT] = window[:, -_SILERO_CONTEXT:]
            window[:, _SILERO_CONTEXT:] = samples[at : at + _SILERO_WINDOW]
            _, state = session.run(None, {"input": window, "state": state, "sr": rate})

    return run


def _webrtc(samples: Samples) -> Callable[[], Any]:
    import webrtcvad

    pcm = (samples * 32_767).astype("<i2")

    def run() -> None:
        vad = webrtcvad.Vad(1)
        for at in range(0, len(pcm) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            vad.is_speech(pcm[at : at + FRAME_SAMPLES].tobytes(), SAMPLE_RATE_HZ)

    return run
