"""STSER as one thing: log-mel and words in, the average of the classifiers that could speak out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from stser_core.adaptation import HeardSpeech, LogMelStatistics, normalise, voice_offset
from stser_core.checkpoint import TOKENIZER, Manifest, ModelId, read_manifest
from stser_core.engine import Engine, OnnxEngine, SpeechScores, TextScores
from stser_core.explain import SALIENCE_HOP_MS, Salience, speech_salience
from stser_core.features import LogMel, LogMelSettings
from stser_core.modalities import Evidence, ModalityRegistry, WordTime
from stser_core.novelty import NoveltyDetector
from stser_core.posterior import EmotionPosterior, agreement, mean_posterior
from stser_core.text import TextTokenizer, TokenisedText, of_like_length, pad_tokens
from stser_core.word_weights import ReadSentence, WordWeigher

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
    voice: NDArray[np.float32] | None = field(default=None, compare=False)
    """What the utterance tells of its voice, ``(representation,)``, for
    :meth:`~stser_core.adaptation.HeardSpeech.judged`; None where nothing of it is to be remembered: the
    voice was not judged, the sound is novel, or the smodel is not ``centred``."""
    novel: bool = False
    """The sound is not like the speech that the model was trained on; False where there is none, or
    where the checkpoint cannot say."""

    @classmethod
    def none(cls) -> Verdict:
        """Where no classifier spoke."""
        return cls(
            posterior=EmotionPosterior.uniform(),
            classifiers=dict.fromkeys(CLASSIFIERS),
            modalities=(),
            agreement=1.0,
            salience=Salience(SALIENCE_HOP_MS, (), ()),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is known of one utterance."""

    log_mel: LogMel | None
    """By :attr:`Stser.log_mel_settings`, not normalised, float32 ``(time, mels)`` of any length; None or no
    frames where there is no speech to hear."""
    words: Sequence[str] | None
    """The transcript; None or no words where there is nothing to read."""
    heard: HeardSpeech | None = None
    """What the stream remembers from before this utterance; None at its start."""
    word_times: Sequence[WordTime] = ()
    """When each word was said, for further modalities; empty where not known."""

    @property
    def audible(self) -> bool:
        return self.log_mel is not None and len(self.log_mel) > 0


class Stser:
    """A loaded checkpoint. One thread owns it."""

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        tokenizer: TextTokenizer | None,
        classifiers: Collection[str] = CLASSIFIERS,
        modalities: ModalityRegistry | None = None,
        *,
        explain_words: bool = True,
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
        novelty = manifest.description.novelty
        self._novelty = NoveltyDetector(novelty) if novelty is not None else None
        self._weigher = (
            WordWeigher(self._readable, lambda texts: self._text(texts).logits)
            if explain_words
            else None
        )
        self._further = modalities if modalities is not None else ModalityRegistry()

    @classmethod
    def load(
        cls,
        directory: Path | None = None,
        *,
        engine: EngineName = "onnx",
        classifiers: Collection[str] = CLASSIFIERS,
        modalities: ModalityRegistry | None = None,
        explain_words: bool = True,
    ) -> Stser:
        """Read a checkpoint.

        Args:
            directory: Its folder; None is the one in the package.
            engine: ``onnx``, or ``torch`` for the reference.
            classifiers: Those to average.
            modalities: Further ones, which join the average; None for speech and text alone.
            explain_words: False gives all words the same share, and reads each sentence only once.

        Raises:
            CheckpointError: A file is missing, damaged or made for something else. Names it.
            ValueError: If ``classifiers`` is empty or holds an unknown name.
        """
        manifest = read_manifest(directory if directory is not None else DEFAULT_CHECKPOINT)
        tokenizer = None
        if set(classifiers) & {"text", "bimodal"}:
            sizes = manifest.description.sizes.text
            tokenizer = TextTokenizer.load(
                manifest.directory / TOKENIZER, sizes.max_tokens, vocabulary=sizes.vocabulary
            )
        opened = open_engine(engine, manifest, classifiers)
        return cls(
            manifest, opened, tokenizer, classifiers, modalities, explain_words=explain_words
        )

    @property
    def model_id(self) -> ModelId:
        """Name, version and digest of the weights."""
        return self._manifest.model_id

    @property
    def representation_size(self) -> int:
        """Numbers in a :attr:`Verdict.voice`."""
        return self._settings.sizes.speech.representation

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
        heard: HeardSpeech | None = None,
        word_times: Sequence[WordTime] = (),
    ) -> Verdict:
        """Judge one utterance, given by the fields of a :class:`Request`."""
        return self.classify_many([Request(log_mel, words, heard, word_times)])[0]

    def classify_many(self, requests: Sequence[Request]) -> list[Verdict]:
        """Judge utterances together. But for rounding, a verdict does not depend on its neighbours.

        Returns:
            For each request, the average of the chosen classifiers whose modalities are there. Where that
            leaves none, the posterior is uniform, ``modalities`` empty and ``agreement`` 1.
        """
        texts = [self._readable(request.words) for request in requests]
        speakers = [
            self._speakers(speech=request.audible, text=text is not None)
            for request, text in zip(requests, texts, strict=True)
        ]
        voices = self._voices(requests)
        heard = self._hear(
            {i: requests[i] for i, able in enumerate(speakers) if able & {"speech", "bimodal"}},
            voices,
        )
        read = self._read(
            {i: text for i, text in enumerate(texts) if text and speakers[i] & {"text", "bimodal"}}
        )
        fused = self._fuse(heard, read, voices)
        weighed = self._weigh(
            {
                i: ReadSentence(tuple(requests[i].words or ()), text, read[i].logits[0])
                for i, text in enumerate(texts)
                if text and i in read
            }
        )
        return [
            self._verdict(request, heard.get(i), read.get(i), fused.get(i), weighed.get(i, ()))
            for i, request in enumerate(requests)
        ]

    def _verdict(
        self,
        request: Request,
        heard: SpeechScores | None,
        read: TextScores | None,
        fused: NDArray[np.float32] | None,
        weighed: tuple[float, ...],
    ) -> Verdict:
        words = tuple(request.words or ())
        log_mel = request.log_mel if request.audible else None
        novel = heard is not None and self._novel(log_mel)
        further = self._further.judge(Evidence(log_mel, words, tuple(request.word_times)))
        posteriors = self._posteriors(heard, read, fused) | further
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
                weighed,
            ),
            voice=heard.voice[0]
            if heard is not None and self._settings.sizes.speech.centred and not novel
            else None,
            novel=novel,
        )

    def _weigh(self, sentences: Mapping[int, ReadSentence]) -> dict[int, tuple[float, ...]]:
        """A share for each word, by request."""
        if self._weigher is None:
            lengths = {i: len(sentence.words) for i, sentence in sentences.items()}
            return {i: (1 / n_words,) * n_words for i, n_words in lengths.items()}
        shares = self._weigher.weigh([*sentences.values()])
        return dict(zip(sentences, shares, strict=True))

    def _novel(self, log_mel: LogMel | None) -> bool:
        if log_mel is None or self._novelty is None:
            return False
        return self._novelty.novel(log_mel)

    def _readable(self, words: Sequence[str] | None) -> TokenisedText | None:
        """Tokens of the transcript; None where not one belongs to a word (``[unk]`` alone)."""
        text = self._tokenizer.encode(words) if words and self._tokenizer is not None else None
        return text if text is not None and max(text.word_of_token) >= 0 else None

    def _speakers(self, *, speech: bool, text: bool) -> set[str]:
        """The chosen classifiers whose modalities are there."""
        able = {"speech": speech, "text": text, "bimodal": speech and text}
        return {name for name in self.classifiers if able[name]}

    def _hear(
        self, requests: Mapping[int, Request], voices: NDArray[np.float32]
    ) -> dict[int, SpeechScores]:
        """The speech half, by request; each alone in its scores. ``voices`` are those of all requests."""
        if not requests:
            return {}
        rows = [self._normalised(request) for request in requests.values()]
        lengths = np.array([len(row) for row in rows], np.int64)
        batch = np.zeros((len(rows), lengths.max(), rows[0].shape[1]), np.float32)
        for place, row in zip(batch, rows, strict=True):
            place[: len(row)] = row
        scores = self._engine.speech(batch, lengths, voices[[*requests]])
        return {
            request: SpeechScores(
                scores.representation[at : at + 1],
                scores.logits[at : at + 1],
                scores.attention[at : at + 1],
                scores.voice[at : at + 1],
            )
            for at, request in enumerate(requests)
        }

    def _voices(self, requests: Sequence[Request]) -> NDArray[np.float32]:
        """What each request's voice adds to its representation, ``(requests, representation)``."""
        sizes = self._settings.sizes.speech
        voices = np.zeros((len(requests), sizes.representation), np.float32)
        for place, request in zip(voices, requests, strict=True):
            if sizes.centred and request.heard is not None and request.heard.voice is not None:
                place[:] = voice_offset(request.heard.voice, self._settings.adaptation)
        return voices

    def _normalised(self, request: Request) -> LogMel:
        assert request.log_mel is not None
        before = None if request.heard is None else request.heard.log_mel
        frames = normalise(request.log_mel, before, self._prior, self._settings.adaptation)
        lacking = self._settings.sizes.speech.pool_time - len(frames)
        if lacking > 0:  # less than one pooled frame: hold the last one
            frames = np.pad(frames, ((0, lacking), (0, 0)), mode="edge")
        return frames

    def _read(self, texts: Mapping[int, TokenisedText]) -> dict[int, TextScores]:
        """The text half, by request; each alone in its scores."""
        if not texts:
            return {}
        scores = self._text([*texts.values()])
        return {
            request: TextScores(
                scores.representation[at : at + 1],
                scores.logits[at : at + 1],
            )
            for at, request in enumerate(texts)
        }

    def _text(self, texts: Sequence[TokenisedText]) -> TextScores:
        """The text half on any texts, at least one, in as many calls as their lengths ask for."""
        calls = of_like_length(texts)
        scores = [self._engine.text(*pad_tokens([texts[at] for at in call])) for call in calls]
        back = np.argsort(np.concatenate(calls))
        return TextScores(
            np.concatenate([each.representation for each in scores])[back],
            np.concatenate([each.logits for each in scores])[back],
        )

    def _fuse(
        self,
        heard: Mapping[int, SpeechScores],
        read: Mapping[int, TextScores],
        voices: NDArray[np.float32],
    ) -> dict[int, NDArray[np.float32]]:
        """The bimodal classifier's logits, ``(1, classes)``, of the requests that have both halves."""
        both = [request for request in heard if request in read]
        if not both or "bimodal" not in self.classifiers:
            return {}
        logits = self._engine.bimodal(
            np.concatenate([heard[request].representation for request in both]) - voices[both],
            np.concatenate([read[request].representation for request in both]),
        )
        return {request: logits[at : at + 1] for at, request in enumerate(both)}

    def _posteriors(
        self,
        heard: SpeechScores | None,
        read: TextScores | None,
        fused: NDArray[np.float32] | None,
    ) -> dict[str, EmotionPosterior | None]:
        logits = {
            "speech": None if heard is None else heard.logits,
            "text": None if read is None else read.logits,
            "bimodal": fused,
        }
        temperatures = self._settings.temperatures
        return {
            name: EmotionPosterior.from_logits(said[0], getattr(temperatures, name))
            if name in self.classifiers and said is not None
            else None
            for name, said in logits.items()
        }

    def _moments(self, heard: SpeechScores, log_mel: LogMel) -> tuple[float, ...]:
        front_end = self._settings.log_mel
        return speech_salience(
            heard.attention[0],
            n_frames=len(log_mel),
            frame_ms=1000 * front_end.hop_length / front_end.sample_rate_hz,
            frames_per_weight=self._settings.sizes.speech.pool_time,
        )


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
