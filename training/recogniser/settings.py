"""Everything that the recogniser's recipe can be told: ``config/train_recogniser.toml``."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSettings:
    """What is heard in training, and who is kept apart."""

    corpora: tuple[str, ...] = (
        "mini_librispeech",
        "cathy_arctic",
        "ljspeech_part1",
        "librivox_mini",
        "speechbrain_asr",
    )
    """Folders of read speech with a ``manifest.csv``, below the root."""
    valid_speakers: tuple[str, ...] = ("ls_2136", "ls_226")
    """Speakers kept for choosing checkpoints; one man, one woman."""
    test_speakers: tuple[str, ...] = ("ls_1867", "ls_3242", "ls_1898", "ls_3947")
    """Speakers kept for the reported figures; two men, two women."""
    by_prompt: tuple[str, ...] = ("cathy_arctic",)
    """Corpora of one speaker, split by prompt."""
    styles: int = 1
    """Further manners in which each recording is heard: pitch, pace, loudness, room."""
    synthesised: int = 7_000
    """Sentences that synthesisers say for training."""
    synthesised_words: tuple[int, int] = (2, 14)
    """Fewest and most words in them."""
    tested: int = 400
    """Sentences of dialogue that unseen voices say for validation and for test, each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageSettings:
    """What people say."""

    corpora: tuple[str, ...] = (
        "meld_text",
        "dailydialog",
        "goemotions",
        "carer",
        "tweeteval_emotion",
    )
    """Folders with ``train.csv``, below the root."""
    weights: tuple[float, ...] = (4.0, 1.0, 1.0, 1.0, 1.0)
    """How much a sentence of each counts: spoken dialogue and talk of feelings more than the rest."""
    read_weight: float = 2.0
    """How much a sentence of the training recordings counts."""
    words: int = 12_000
    """Vocabulary."""
    order: int = 3
    """Longest n-gram."""
    min_counts: tuple[float, ...] = (0.0, 2.0, 3.0)
    """Weighted count below which an n-gram of each order is dropped."""
    max_ngrams: int = 300_000
    """N-grams of order two and more that are kept: those that change the model most."""
    unknown_cost: float = 3.0
    """What ``[unk]`` costs beyond its probability, as a negative logarithm."""
    nothing: float = 0.05
    """Share of further utterances in which nothing is said: a click or a breath must not be a word."""
    silence: float = 0.2
    """Probability of a pause after a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """The acoustic model: a factorised TDNN at a third of the frame rate."""

    width: int = 288
    """Units of each layer."""
    bottleneck: int = 72
    """Units between the two halves of a layer."""
    layers: int = 7
    """Factorised layers; each hears 60 ms more."""
    bypass: float = 0.66
    """Share of a layer's input that goes around it."""
    dropout: float = 0.05
    bytes_per_weight: int = 2
    """2 writes Kaldi's compressed matrices of 16 bits, 4 plain ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherSettings:
    """The reader of a Whisper's states, and what the acoustic model learns of it. Without ``--teacher``, nothing."""

    layer: int = 6
    """Of the encoder, whose states are read: the last of whisper-base."""
    half_precision: bool = True
    """The Whisper computes in bfloat16."""
    width: int = 384
    """Units of the reader's layers."""
    dropout: float = 0.2
    epochs: int = 3
    """Passes of the reader over all recordings as they are."""
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    weights: tuple[float, ...] = (5.0, 5.0, 5.0, 1.0)
    """What the mean squared distance to the reader's scores counts beside the objective in each epoch, the last in
    all later ones: the scores show the way, and the objective knows better once it has been found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The loop."""

    epochs: int = 3
    """Passes over all recordings, each time another of their manners, and over all synthesised speech."""
    batch_s: float = 80.0
    """Audio in a batch, in seconds, padding included."""
    longest_s: float = 17.0
    """Longer utterances are left out."""
    learning_rate: float = 5e-3
    """Peak of the schedule. Matrices are learnt by Muon (Jordan et al., 2024), with steps as large as AdamW's."""
    weight_decay: float = 1e-3
    warm_up: float = 0.1
    """Share of the steps over which the rate rises."""
    output_l2: float = 4e-4
    """Penalty on the network's outputs."""
    average: float = 0.995
    """Decay of the moving average of the weights, which is what is kept."""
    noise_share: float = 0.6
    """Utterances that get a recording of noise, at 3 to 35 dB."""
    noise: str = "esc10"
    """Corpus of noise, below the root; folds 1 to 4 of 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserSettings:
    """The whole recipe."""

    name: str = "stser-tiny-en"
    """Folder of the model, and its name in events."""
    version: str = "1.0.0"
    seed: int = 1
    speech: SpeechSettings = field(default_factory=SpeechSettings)
    language: LanguageSettings = field(default_factory=LanguageSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        language = self.language
        if len(language.corpora) != len(language.weights):
            raise ValueError(
                f"language.weights ({len(language.weights)}) must have one number for each of "
                f"language.corpora ({len(language.corpora)})."
            )
        if len(language.min_counts) != language.order or not 2 <= language.order <= 4:
            raise ValueError(
                f"language.order ({language.order}) must lie between 2 and 4, with as many "
                f"language.min_counts ({len(language.min_counts)})."
            )
        if language.min_counts[0] != 0 or list(language.min_counts) != sorted(language.min_counts):
            raise ValueError(
                f"language.min_counts {language.min_counts} must begin with 0 and never fall: an n-gram is kept "
                "together with the shorter ones in it."
            )
        if not self.teacher.weights:
            raise ValueError("teacher.weights must have a number for the first epoch at least.")
        if self.network.bytes_per_weight not in (2, 4):
            raise ValueError(
                f"network.bytes_per_weight ({self.network.bytes_per_weight}) must be 2 or 4: Kaldi "
                "stores no other."
            )
