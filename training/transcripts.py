"""What the recogniser hears in a corpus, in place of the corpus' own words: what the monitor gets.

The monitor's Vosk model hears each utterance as a live segment of its own. What it heard is kept in
the cache, by the content of the audio and of the model. ``training`` never imports ``monitor``, so
the few lines that drive Vosk stand here a second time; a test holds both to the same words.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.errors import TrainingError
from training.front_end import PRE_ROLL_S, TAIL_S, load_audio, trim
from training.utterance import Utterance

logger = logging.getLogger(__name__)

SAMPLE_RATE_HZ: Final = 16_000
"""What Vosk models are made for."""
BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ // 10
"""Audio handed to Vosk at a time, as the monitor does: it looks for pauses of its own after each."""
UNKNOWN_WORD: Final = "[unk]"
"""What Vosk models say for speech outside their vocabulary; it is left out."""


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word of a transcript."""

    word: str
    start_s: float
    """Seconds from the start of the utterance, after its leading silence was cut."""
    end_s: float
    confidence: float
    """0 to 1."""


Heard = tuple[HeardWord, ...]
"""A transcript; no words is a valid answer."""


def confidence(heard: Heard) -> float:
    """Mean over the words, weighted by their duration, as the monitor counts it; 0 without words."""
    if not heard:
        return 0.0
    weights = [max(word.end_s - word.start_s, 1e-3) for word in heard]
    return float(np.average([word.confidence for word in heard], weights=weights))


def embedded_model() -> Path:
    """The folder of the model in the package, found without running any code of ``monitor``.

    Raises:
        TrainingError: The package is installed without it.
    """
    package = find_spec("monitor")
    places = package.submodule_search_locations if package is not None else None
    found = [p for place in places or () for p in Path(place).glob("recogniser/*/am/final.mdl")]
    if not found:
        raise TrainingError(
            "no Vosk model is in the package: name the folder of one with --vosk-model."
        )
    return found[0].parents[1]


def model_digest(folder: Path) -> str:
    """``sha256:...`` of every file of a model.

    Raises:
        TrainingError: There is no such folder.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise TrainingError(f"--vosk-model {folder}: no such folder, or nothing in it.")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return f"sha256:{digest.hexdigest()}"


class VoskModel:
    """A loaded model that hears an utterance as the monitor hears a live segment.

    Raises:
        TrainingError: Vosk cannot use the folder.
    """

    def __init__(self, folder: Path) -> None:
        import vosk

        vosk.SetLogLevel(-1)
        self.folder: Final = folder
        began_s = time.perf_counter()
        try:
            self._model = vosk.Model(str(folder))
            self.load_s: Final = time.perf_counter() - began_s
            vosk.KaldiRecognizer(self._model, float(SAMPLE_RATE_HZ))
        except (Exception, SystemExit) as error:
            # Vosk raises a bare Exception, and for some faults exits.
            raise TrainingError(f"{folder}: Vosk cannot use this model.") from error

    def recognise(self, samples: NDArray[np.float32]) -> Heard:
        """All words of an utterance, float32 ``(samples,)`` at 16 kHz; ``[unk]`` is left out, as the monitor does."""
        import vosk

        recogniser = vosk.KaldiRecognizer(self._model, float(SAMPLE_RATE_HZ))
        recogniser.SetWords(True)
        pcm = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
        words: list[HeardWord] = []
        for start in range(0, len(pcm), BLOCK_SAMPLES):
            if recogniser.AcceptWaveform(pcm[start : start + BLOCK_SAMPLES].tobytes()):
                words += _words(recogniser.Result())
        return (*words, *_words(recogniser.FinalResult()))


class Recogniser:
    """A Vosk model with a memory on disk.

    Args:
        folder: Of the model.
        cache: Folder of the memory; a file in it is named after the model's content.

    Raises:
        TrainingError: The folder is not there, or holds no model that Vosk can load.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.name = folder.name
        self.digest = model_digest(folder)
        self._folder = folder
        self._model: VoskModel | None = None  # loaded for the first audio that is not in the cache
        parts = (self.digest, BLOCK_SAMPLES, PRE_ROLL_S, TAIL_S)
        key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
        self._memory = cache / f"transcripts-{key}.jsonl"
        self._heard = dict(_remembered(self._memory))

    def hear(self, audio: Path) -> Heard:
        """The words of a recording, as the monitor would recognise it.

        Raises:
            CorpusError: The audio cannot be decoded.
            TrainingError: Vosk cannot use the model.
        """
        return self._known(
            audio.read_bytes(), lambda: trim(load_audio(audio, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
        )

    def hear_samples(self, samples: NDArray[np.float32]) -> Heard:
        """The words of an utterance, float32 ``(samples,)`` at 16 kHz, cut as the monitor cuts it.

        Raises:
            TrainingError: Vosk cannot use the model.
        """
        return self._known(samples.tobytes(), lambda: samples)

    def _known(self, audio: bytes, samples: Callable[[], NDArray[np.float32]]) -> Heard:
        content = hashlib.sha256(audio).hexdigest()
        if content not in self._heard:
            self._model = self._model or VoskModel(self._folder)
            self._heard[content] = self._model.recognise(samples())
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            line = [content, [dataclasses.astuple(word) for word in self._heard[content]]]
            with self._memory.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return self._heard[content]


def _words(result: str) -> Iterator[HeardWord]:
    for word in json.loads(result).get("result", []):
        if word["word"] != UNKNOWN_WORD:
            confidence = min(1.0, max(0.0, word["conf"]))
            yield HeardWord(word["word"], word["start"], word["end"], confidence)


def _remembered(memory: Path) -> Iterator[tuple[str, Heard]]:
    """What was heard before; a last line that a kill cut off is heard again."""
    if memory.is_file():
        for line in memory.read_text("utf-8").splitlines():
            try:
                content, words = json.loads(line)
            except ValueError:
                continue
            yield content, tuple(HeardWord(*word) for word in words)


def transcribe(
    utterances: Sequence[Utterance], recogniser: Recogniser, *, min_confidence: float = 0.0
) -> list[Utterance]:
    """Utterances with what the recogniser hears in place of their words.

    Args:
        utterances: Those without audio keep their words: there is nothing to hear.
        recogniser: Hears the others.
        min_confidence: :func:`confidence` below which a transcript is left out, as the monitor
            leaves it out of a verdict. 0 takes all.

    Returns:
        As many, in the same order; ``text`` is None where no word was heard, or none to rely on.

    Raises:
        CorpusError: An audio file cannot be decoded.
    """
    replaced = []
    for utterance in tqdm(utterances, desc="recogniser", mininterval=5):
        if utterance.audio is None:
            replaced.append(utterance)
            continue
        heard = recogniser.hear(utterance.audio)
        sure = bool(heard) and confidence(heard) >= min_confidence
        text = " ".join(word.word for word in heard) if sure else None
        replaced.append(dataclasses.replace(utterance, text=text))
    n_heard = sum(u.audio is not None for u in utterances)
    n_words = sum(u.audio is not None and u.text is not None for u in replaced)
    logger.info("%s heard words in %d of %d recordings", recogniser.name, n_words, n_heard)
    if n_heard < len(utterances):
        logger.info("%d rows have no audio and keep their words", len(utterances) - n_heard)
    return replaced
