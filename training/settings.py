"""Everything that a training run can be told; ``config/train_open.toml`` lists it."""

from __future__ import annotations

from dataclasses import dataclass, field

from stser_core.adaptation import AdaptationSettings
from stser_core.features import LogMelSettings
from stser_core.sizes import StserSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechTrainingSettings:
    """The speech branch on open corpora."""

    corpora: tuple[str, ...] = ("ravdess", "emodb", "nemo")
    """Folders with a ``manifest.csv``, below the root."""
    corpus_shares: tuple[float, ...] = (0.45, 0.15, 0.40)
    """Share of each corpus in what is drawn; classes are drawn equally within a corpus."""
    steps: int = 1_300
    """Batches at most; early stopping may keep an earlier state."""
    batch: int = 32
    """Utterances in a batch."""
    learning_rate: float = 3e-3
    """Peak of a cosine schedule; the paper's constant 1e-4 takes many times as many steps."""
    warm_up: int = 50
    """Batches over which the rate rises to its peak."""
    weight_decay: float = 0.01
    """Of AdamW."""
    noise_share: float = 0.25
    """Share of the training utterances that get noise, at 5 to 30 dB."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes: acted labels are no certainty."""
    crop_frames: int = 250
    """Longest excerpt of a training utterance, in frames of 10 ms."""
    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Playback speeds of the training audio (speed and pitch change together)."""
    validate_every: int = 250
    """Batches between two validations."""
    patience: int = 4
    """Validations without a better accuracy before training ends."""
    heard_before: tuple[int, ...] = (0, 0, 1, 2, 3, 5, 10, 20, 30)
    """Numbers of utterances heard before, one of which is drawn for each training utterance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTrainingSettings:
    """The text branch on open corpora."""

    corpora: tuple[str, ...] = (
        "goemotions",
        "meld_text",
        "dailydialog",
        "carer",
        "tweeteval_emotion",
    )
    """Folders with ``train.csv``, below the root."""
    corpus_shares: tuple[float, ...] = (0.45, 0.20, 0.15, 0.12, 0.08)
    """Share of each corpus in what is drawn; classes are drawn equally within a corpus."""
    tests: tuple[str, ...] = ("goemotions", "meld_text")
    """Corpora whose ``dev.csv`` is the test set; it is never validated on."""
    steps: int = 900
    """Batches at most."""
    batch: int = 64
    """Sentences in a batch."""
    learning_rate: float = 3e-4
    """Peak for the ALBERT; its classifier learns at ``classifier_rate``."""
    classifier_rate: float = 1e-3
    """Peak for the classifier, which starts from nothing."""
    warm_up: int = 100
    """Batches over which the rates rise to their peaks."""
    weight_decay: float = 0.01
    """Of AdamW."""
    label_smoothing: float = 0.05
    """Share of the target spread over all classes."""
    drop_word: float = 0.06
    """Chance of each word to go missing, as a recogniser misses words."""
    swap_words: float = 0.1
    """Chance of two neighbours to change places."""
    max_words: int = 20
    """Longest excerpt of a training sentence: speech comes in short utterances."""
    validate_every: int = 150
    """Batches between two validations."""
    patience: int = 4
    """Validations without a better accuracy before training ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BimodalTrainingSettings:
    """The bimodal classifier on label-matched pairs of unpaired corpora, over frozen branches."""

    steps: int = 1_500
    """Batches."""
    batch: int = 128
    """Pairs in a batch."""
    learning_rate: float = 1e-3
    """Of AdamW."""
    mute: float = 0.1
    """Chance of either representation to be replaced by another utterance's of any class: a conflict
    in which the label follows the other modality."""
    label_smoothing: float = 0.05
    """Share of the target spread over all classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSettings:
    """Training on open corpora: speech from some, text from others."""

    name: str = "stser-open"
    """Name of the weights."""
    version: str = "0.1.0"
    """Version of the weights."""
    seed: int = 1
    """Of everything that is drawn."""
    folds: int = 5
    """Speaker-independent folds of ``crossval``."""
    validation_share: float = 0.2
    """Share of the training speakers, or sentences, that only choose when to stop."""
    log_mel: LogMelSettings = field(default_factory=LogMelSettings)
    adaptation: AdaptationSettings = field(default_factory=AdaptationSettings)
    sizes: StserSettings = field(default_factory=StserSettings)
    speech: SpeechTrainingSettings = field(default_factory=SpeechTrainingSettings)
    text: TextTrainingSettings = field(default_factory=TextTrainingSettings)
    bimodal: BimodalTrainingSettings = field(default_factory=BimodalTrainingSettings)

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share ({self.validation_share:g}) must be between 0 and 1: "
                "something must be left to train on and something to stop by."
            )
        for part in (self.speech, self.text):
            if len(part.corpora) != len(part.corpus_shares):
                raise ValueError(
                    f"corpus_shares ({part.corpus_shares}) must give one share for each of "
                    f"{', '.join(part.corpora)}."
                )
