"""STSER as one thing: log-mel and words in, the average of the classifiers that could speak out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from stser_core.adaptation import LogMelStatistics, normalise
from stser_core.checkpoint import TOKENIZER, Manifest, ModelId, read_manifest
from stser_core.engine import Engine, OnnxEngine, SpeechScores, TextScores
from stser_core.explain import SALIENCE_HOP_MS, Salience, speech_salience, word_salience
from stser_core.features import LogMel, LogMelSettings
from stser_core.modalities import Evidence, ModalityRegistry, WordTime
from stser_core.posterior import EmotionPosterior, agreement, mean_posterior
from stser_core.text import TextTokenizer, TokenisedText, pad_tokens

CLASSIFIERS: Final = ("speech", "text", "bimodal")
"""Every classifier, in the order of all mappings and events; further modalities come after them."""

DEFAULT_CHECKPOINT: Final = Path(__file__).parent / "weights" / "stser-open"


EngineName = Literal["onnx", "torch"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What STSER says of one utterance."""

    posterior: EmotionPosterior
    """Average of the classifiers that spoke, calibrated; uniform where none could."""
    classifiers: Mapping[str, EmotionPosterior | None]
    """By name, in the order of :data:`CLASSIFIERS`, then further modalities in the order of their
    registry; None where not chosen or unable to speak."""
    modalities: tuple[str, ...]
    """``speech`` and ``text``, where a classifier that spoke used them, and further ones that spoke."""
    agreement: float
    """1 minus the Jensen-Shannon divergence of the classifiers that spoke, 0 to 1."""
    salience: Salience


class Stser:
    """A loaded checkpoint. One thread owns it."""

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        tokenizer: TextTokenizer,
        classifiers: Collection[str] = CLASSIFIERS,
        modalities: ModalityRegistry | None = None,
    ) -> None:
        unknown = set(classifiers) - set(CLASSIFIERS)
        if unknown or not classifiers:
            raise ValueError(
                f"classifiers ({', '.join(classifiers)}) must be one or more of "
                f"{', '.join(CLASSIFIERS)}."
            )
        self.classifiers: Final = tuple(name for name in CLASSIFIERS if name in classifiers)
        self._manifest = manifest
        self._settings = manifest.description
        self._prior = manifest.description.prior.statistics()
        self._engine = engine
        self._tokenizer = tokenizer
        self._further = modalities if modalities is not None else ModalityRegistry()

    @classmethod
    def load(
        cls,
        directory: Path | None = None,
        *,
        engine: EngineName = "onnx",
        classifiers: Collection[str] = CLASSIFIERS,
        modalities: ModalityRegistry | None = None,
    ) -> Stser:
        """Read a checkpoint.

        Args:
            directory: Its folder; None is the one in the package.
            engine: ``onnx``, or ``torch`` for the reference.
            classifiers: Those to average.
            modalities: Further ones, which join the average; None for speech and text alone.

        Raises:
            CheckpointError: A file is missing, damaged or made for something else. Names it.
            ValueError: If ``classifiers`` is empty or holds an unknown name.
        """
        manifest = read_manifest(directory if directory is not None else DEFAULT_CHECKPOINT)
        sizes = manifest.description.sizes.text
        tokenizer = TextTokenizer.load(
            manifest.directory / TOKENIZER, sizes.max_tokens, vocabulary=sizes.vocabulary
        )
        opened = open_engine(engine, manifest, classifiers)
        return cls(manifest, opened, tokenizer, classifiers, modalities)

    @property
    def model_id(self) -> ModelId:
        """Name, version and digest of the weights."""
        return self._manifest.model_id

    @property
    def log_mel_settings(self) -> LogMelSettings:
        """The front end that :meth:`classify` expects."""
        return self._settings.log_mel

    @property
    def prior(self) -> LogMelStatistics:
        """Log-mel statistics of the training corpora."""
        return self._prior

    @property
    def notes(self) -> Mapping[str, object]:
        """What the manifest says of the training."""
        return self._manifest.notes

    def classify(
        self,
        log_mel: LogMel | None,
        words: Sequence[str] | None,
        statistics: LogMelStatistics | None = None,
        word_times: Sequence[WordTime] = (),
    ) -> Verdict:
        """Judge one utterance.

        Args:
            log_mel: By :attr:`log_mel_settings`, not normalised, float32 ``(time, mels)`` of any
                length; None or no frames where there is no speech to hear.
            words: The transcript; None or no words where there is nothing to read.
            statistics: Log-mel statistics of the stream before this utterance; None at its start.
            word_times: When each word was said, for further modalities; empty where not known.

        Returns:
            The average of the chosen classifiers whose modalities are there. Where that leaves
            none, the posterior is uniform, ``modalities`` empty and ``agreement`` 1.
        """
        if log_mel is not None and len(log_mel) == 0:
            log_mel = None
        text = self._readable(words)
        speakers = self._speakers(speech=log_mel is not None, text=text is not None)
        heard = read = None
        if log_mel is not None and speakers & {"speech", "bimodal"}:
            heard = self._hear(log_mel, statistics)
        if text is not None and speakers & {"text", "bimodal"}:
            read = self._engine.text(*pad_tokens([text]))
        further = self._further.judge(Evidence(log_mel, tuple(words or ()), tuple(word_times)))
        posteriors = self._posteriors(speakers, heard, read) | further
        spoke = [posterior for posterior in posteriors.values() if posterior is not None]
        return Verdict(
            posterior=mean_posterior(spoke) if spoke else EmotionPosterior.uniform(),
            classifiers=posteriors,
            modalities=("speech",) * (heard is not None)
            + ("text",) * (read is not None)
            + tuple(name for name, posterior in further.items() if posterior is not None),
            agreement=agreement(spoke) if spoke else 1.0,
            salience=Salience(
                SALIENCE_HOP_MS,
                self._moments(heard, log_mel) if heard and log_mel is not None else (),
                _words(read, text, words) if read and text and words else (),
            ),
        )

    def _readable(self, words: Sequence[str] | None) -> TokenisedText | None:
        """Tokens of the transcript; None where not one belongs to a word (``[unk]`` alone)."""
        text = self._tokenizer.encode(words) if words else None
        return text if text is not None and max(text.word_of_token) >= 0 else None

    def _speakers(self, *, speech: bool, text: bool) -> set[str]:
        """The chosen classifiers whose modalities are there."""
        able = {"speech": speech, "text": text, "bimodal": speech and text}
        return {name for name in self.classifiers if able[name]}

    def _hear(self, log_mel: LogMel, statistics: LogMelStatistics | None) -> SpeechScores:
        frames = normalise(log_mel, statistics, self._prior, self._settings.adaptation)
        lacking = self._settings.sizes.speech.pool_time - len(frames)
        if lacking > 0:  # less than one pooled frame: hold the last one
            frames = np.pad(frames, ((0, lacking), (0, 0)), mode="edge")
        return self._engine.speech(frames[None], np.array([len(frames)], np.int64))

    def _posteriors(
        self, speakers: set[str], heard: SpeechScores | None, read: TextScores | None
    ) -> dict[str, EmotionPosterior | None]:
        logits: dict[str, NDArray[np.float32]] = {}
        if heard is not None:
            logits["speech"] = heard.logits
        if read is not None:
            logits["text"] = read.logits
        if heard is not None and read is not None and "bimodal" in speakers:
            logits["bimodal"] = self._engine.bimodal(heard.representation, read.representation)
        temperatures = self._settings.temperatures
        return {
            name: EmotionPosterior.from_logits(logits[name][0], getattr(temperatures, name))
            if name in speakers
            else None
            for name in CLASSIFIERS
        }

    def _moments(self, heard: SpeechScores, log_mel: LogMel) -> tuple[float, ...]:
        front_end = self._settings.log_mel
        return speech_salience(
            heard.attention[0],
            n_frames=len(log_mel),
            frame_ms=1000 * front_end.hop_length / front_end.sample_rate_hz,
            frames_per_weight=self._settings.sizes.speech.pool_time,
        )


def _words(read: TextScores, text: TokenisedText, words: Sequence[str]) -> tuple[float, ...]:
    return word_salience(read.weights[0], text.word_of_token, len(words))


def open_engine(name: EngineName, manifest: Manifest, classifiers: Collection[str]) -> Engine:
    """Load the networks of a checkpoint.

    Raises:
        CheckpointError: If they cannot be loaded.
    """
    if name == "onnx":
        return OnnxEngine(manifest.directory, classifiers)
    # Here, because importing PyTorch takes seconds and the run-time installation has none.
    from stser_core.torch_engine import TorchEngine

    return TorchEngine.load(manifest)
