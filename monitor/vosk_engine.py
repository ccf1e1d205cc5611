"""Vosk itself, for one thread: an utterance's audio in, its words out."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import numpy as np

from monitor.errors import ModelError
from monitor.events import SAMPLE_RATE_HZ, Samples, Transcript, Word

BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ // 10
"""Audio handed to Vosk at a time. Counted from the start of a segment, because Vosk looks for
endpoints of its own after each hand-over: otherwise words would depend on the driver's chunks."""

UNKNOWN_WORD: Final = "[unk]"
"""What Vosk models say for speech outside their vocabulary."""


class Engine(Protocol):
    """A recogniser that one thread feeds, one segment after the other."""

    def begin(self, start: int) -> None:
        """A segment opens at sample ``start`` of the stream."""
        ...

    def feed(self, samples: Samples) -> None:
        """Further audio of the open segment."""
        ...

    def partial(self) -> str:
        """Words of the open segment so far."""
        ...

    def finish(self, end: int) -> Transcript:
        """The words of the open segment, which ended at sample ``end`` of the stream."""
        ...

    def resume(self, n_samples: int) -> None:
        """Speech went on: as if only the first ``n_samples`` had been fed, and nothing finished."""
        ...


RENEWED_AFTER: Final = 120 * SAMPLE_RATE_HZ
"""Samples after which a recogniser is made anew. What it has composed of its graphs spares it work and takes memory:
22 ms for a second of speech and 60 MB a stream; anew after ten minutes 19 ms and 105 MB, for each segment 37 ms.
Vosk counts time in single precision, too."""


class VoskEngine:
    """Vosk, begun anew for each segment.

    Words outside the model's vocabulary, which it writes ``[unk]``, are left out of the transcript:
    the text classifier would read a placeholder as a word.

    Args:
        folder: Of the model.
        model: The same, loaded already; None loads it.

    Raises:
        ModelError: The folder's model cannot be loaded.
    """

    def __init__(self, folder: Path, model: Any = None) -> None:
        vosk = _import_vosk()
        vosk.SetLogLevel(-1)
        self._new_recogniser = vosk.KaldiRecognizer
        self._recogniser: Any = None
        self._unfinished = False
        """Whether Vosk was given audio since its last final result."""
        self._start = 0
        self._heard = 0
        """Samples of this segment that Vosk was given."""
        self._before = 0
        """And of all segments before it."""
        self._words: list[Word] = []
        self._fed: list[Samples] = []
        if model is not None:
            self.model = model
            return
        try:
            self.model = vosk.Model(str(folder))
            # Some faults, such as a model for another sample rate, show only with the first audio.
            self.begin(0)
            self.feed(np.zeros(BLOCK_SAMPLES, np.float32))
            self.finish(BLOCK_SAMPLES)
        except (Exception, SystemExit) as error:
            # Vosk raises a bare Exception, and for some faults exits.
            raise ModelError(
                f"{folder}: Vosk cannot use this model; it may be damaged, or made for another "
                "version or sample rate. Fetch it again, or leave --vosk-model out."
            ) from error

    def begin(self, start: int) -> None:
        self._before += self._heard
        if self._before > RENEWED_AFTER or not self._put_aside():
            self._recogniser, self._before = None, 0
        if self._recogniser is None:
            self._recogniser = self._new_recogniser(self.model, float(SAMPLE_RATE_HZ))
            self._recogniser.SetWords(True)
            self._unfinished = False
        self._heard = 0
        self._start = start
        self._words = []
        self._fed = []

    def _put_aside(self) -> bool:
        """End what was heard before; the recogniser keeps what it has composed of its graphs. False where it fails."""
        if self._unfinished:
            try:
                self._final_result()
            except Exception:  # noqa: BLE001 - Vosk raises bare Exceptions; a fresh one takes over
                return False
        return True

    def _final_result(self) -> str:
        result: str = self._recogniser.FinalResult()
        self._unfinished = False
        return result

    def feed(self, samples: Samples) -> None:
        self._fed.append(samples)
        self._heard += len(samples)
        self._unfinished = True
        pcm = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
        # True where Vosk, too, has heard a pause: what it has until there must be taken now.
        if self._recogniser.AcceptWaveform(pcm.tobytes()):
            self._take(self._recogniser.Result())

    def partial(self) -> str:
        heard = json.loads(self._recogniser.PartialResult()).get("partial", "").split()
        words = [word.word for word in self._words]
        return " ".join([*words, *(word for word in heard if word != UNKNOWN_WORD)])

    def finish(self, end: int) -> Transcript:
        self._take(self._final_result())
        end_s = end / SAMPLE_RATE_HZ
        return Transcript(
            tuple(
                Word(word.word, min(word.start_s, end_s), min(word.end_s, end_s), word.conf)
                for word in self._words
            )
        )

    def resume(self, n_samples: int) -> None:
        # Vosk cannot take a final result back. What it has heard, it hears again: 22 ms of work for each
        # second, and rarely, because finishing early is left to the very end of a pause.
        fed = self._fed
        self.begin(self._start)
        for samples in fed:
            if n_samples <= 0:
                break
            self.feed(samples)
            n_samples -= len(samples)

    def _take(self, result: str) -> None:
        """Append the words of one of Vosk's results, whose times run on over all segments."""
        offset_s, before_s = self._start / SAMPLE_RATE_HZ, self._before / SAMPLE_RATE_HZ
        self._words += [
            Word(
                word=word["word"],
                # Whole frames, but for the digits that Vosk writes.
                start_s=offset_s + round(word["start"] - before_s, 3),
                end_s=offset_s + round(word["end"] - before_s, 3),
                conf=min(1.0, max(0.0, word["conf"])),
            )
            for word in json.loads(result).get("result", [])
            if word["word"] != UNKNOWN_WORD
        ]


class _OnDemand(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def _import_vosk() -> Any:
    """The package, without what only its downloads and subtitles need: that takes twice as long as the rest."""
    unneeded = {"requests", "srt"} - sys.modules.keys()
    sys.modules.update((name, _OnDemand(name)) for name in unneeded)
    try:
        import vosk
    finally:
        for name in unneeded:
            del sys.modules[name]
    return vosk


class SharedVosk:
    """Recognisers for many streams, whose models are loaded once; each stream's thread asks for its own.

    Vosk's models do not change while they are used, so that threads may share them.
    """

    def __init__(self) -> None:
        self.turns: Final = threading.Semaphore(os.cpu_count() or 1)
        """More recognisers at a time would only take the interpreter from each other and from the event loop."""
        self._loading = threading.Lock()
        self._models: dict[Path, Any] = {}

    def preload(self, folder: Path) -> None:
        """Begin to load a model beside whatever else is being loaded. A failure is the first stream's to tell."""

        def load() -> None:
            with contextlib.suppress(Exception):
                self.load(folder)

        threading.Thread(target=load, name="stser-asr-load", daemon=True).start()

    def load(self, folder: Path) -> VoskEngine:
        """A recogniser with the folder's model.

        Raises:
            ModelError: It cannot be loaded.
        """
        with self._loading:
            engine = VoskEngine(folder, self._models.get(folder))
            self._models[folder] = engine.model
            return engine
