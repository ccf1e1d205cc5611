"""Everything that a training run can be told: ``config/train_open.toml``, ``train_iemocap.toml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, Literal

from stser_core.adaptation import AdaptationSettings
from stser_core.features import LogMelSettings
from stser_core.sizes import SpeechModelSettings, StserSettings
from training.mishearing import Mishearing


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechTrainingSettings:
    """The speech branch on open corpora."""

    corpora: tuple[str, ...] = ("ravdess", "emodb", "nemo")
    """Folders with a ``manifest.csv``, below the root."""
    corpus_shares: tuple[float, ...] = (0.45, 0.15, 0.40)
    """Share of each corpus in what is drawn; classes are drawn equally within a corpus."""
    first_steps: int = 1_000
    """Batches for the short cut and the classifier alone, where the smodel has a short cut."""
    steps: int = 4_000
    """Batches at most for all; early stopping may keep an earlier state."""
    batch: int = 32
    """Utterances in a batch."""
    group: int = 1
    """Utterances of one voice that come together, out of which a smodel that is ``centred`` knows it."""
    half_precision: bool = True
    """The smodel is trained in bfloat16. A processor that multiplies matrices of it (AMX) takes two thirds of
    the time, others take longer."""
    learning_rate: float = 3e-3
    """Peak of a cosine schedule; the paper's constant 1e-4 takes many times as many steps."""
    warm_up: int = 50
    """Batches over which the rate rises to its peak."""
    weight_decay: float = 0.01
    """Of AdamW."""
    muon: bool = False
    """Matrices are learnt by Muon (Jordan et al., 2024), with steps as large as AdamW's."""
    averaging: float = 0.0
    """What is validated and kept is a moving average of the weights, which keeps this share of itself
    with each batch; 0 keeps the weights themselves."""
    mixup: float = 0.0
    """Parameter of the beta distribution by which pairs of representations of a batch are mixed, with
    their labels (manifold mixup, Verma et al., 2019); 0 mixes none."""
    noise_share: float = 0.25
    """Share of the training utterances that get noise."""
    noise_snr_db: tuple[float, float] = (5.0, 30.0)
    """Least and greatest ratio of speech to that noise."""
    channels: tuple[str, ...] = ("room", "telephone")
    """Rooms and lines through which speech is known as speech, by name (``training/channels.py``)."""
    channel_share: float = 0.0
    """Share of the utterances that the speech branch is trained on that come through one of them."""
    warp: float = 0.0
    """Greatest share by which mel bins are moved, as another vocal tract would."""
    stretch: float = 0.0
    """Greatest share by which speech is slowed or quickened at its pitch."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes: acted labels are no certainty."""
    opinion_share: float = 0.5
    """Share of a teacher's opinion in the loss, beside the label, where a teacher heard the speech."""
    opinion_temperature: float = 2.0
    """Temperature of both posteriors when they are compared (Hinton et al., 2015)."""
    sound_share: float = 0.5
    """Weight of the squared distance from the teacher's sounds, beside that loss."""
    read_share: float = 0.0
    """Share of the groups that are pieces of read speech, of which a teacher's opinion is all there is to learn."""
    crop_frames: int = 250
    """Longest excerpt of a training utterance, in frames of 10 ms."""
    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Playback speeds of the training audio (speed and pitch change together)."""
    voices: tuple[str, ...] = ()
    """Other voices in which it is heard, too, by name (``training/manners.py``): the corpora have few speakers."""
    validate_every: int = 400
    """Batches between two validations."""
    patience: int = 4
    """Validations without a better accuracy before training ends."""
    heard_before: tuple[int, ...] = (0, 0, 1, 2, 3, 5, 10, 20, 30)
    """Numbers of utterances heard before, one of which is drawn for each group."""
    neutral_heard: float = 0.0
    """Share of the groups before which neutral utterances alone were heard, as in most talk; before the
    others any class was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonSettings:
    """What a pre-trained speech encoder teaches the speech branch."""

    layers: tuple[int, ...] = (2, 3, 4)
    """Layers whose states are taken; 0 is what goes into the first."""
    parts: int = 3
    """Parts of the training speakers; of each the teacher's opinion is learnt from the others."""
    regularisation: float = 1e-3
    """Of the opinions' logistic regression (scikit-learn's C): less is smoother."""
    components: int = 64
    """Principal components that are a sound."""
    pieces: int = 2
    """Pieces of a window of read speech of which opinions are asked."""
    half_precision: bool = True
    """The teacher computes in bfloat16: twice as fast where the processor has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingSettings:
    """The smodel on read speech, before it hears emotions."""

    corpora: tuple[str, ...] = ("mini_librispeech", "cathy_arctic", "ljspeech_part1")
    """Folders with a ``manifest.csv`` of speakers and texts, below the root."""
    hours: float = 6.5
    """Speech that is taken at most, speakers in turn."""
    speeds: tuple[float, ...] = (1.0, 1.0, 0.85, 1.15, 1.3)
    """Speeds of playback, one of which is drawn for each recording: voices with other pitches."""
    manners: int = 0
    """Further passes over that speech, in which it is said in other manners (``training/manners.py``)."""
    window_s: float = 4.0
    """Length of the windows that it is cut into."""
    held_out: int = 7
    """One of so many speakers is measured and not learnt from."""
    components: int = 128
    """Principal components of the teacher's states."""
    manner_share: float = 0.5
    """Weight of the mean over an excerpt, relative to its voice's others, beside the frames: there is how
    something is said, but only a twentieth of the variance."""
    excerpt_frames: tuple[int, int] = (100, 248)
    """Shortest and longest excerpt of a window, in frames of 10 ms."""
    warp: float = 0.08
    """As ``speech.warp``: here no voice has to keep its emotion."""
    steps: int = 2_000
    """Batches of ``speech.batch`` excerpts."""
    learning_rate: float = 3e-3
    """Peak of the schedule of ``speech``."""
    muon: bool = True
    """As ``speech.muon``: after 500 batches it tells .34 where AdamW tells .30."""
    validate_every: int = 200
    """Batches between two measurements."""


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
    corpus_shares: tuple[float, ...] = (0.42, 0.26, 0.14, 0.10, 0.08)
    """Share of each corpus in what is drawn; classes are drawn equally within a corpus."""
    tests: tuple[str, ...] = ("goemotions", "meld_text")
    """Corpora whose ``dev.csv`` is the test set; it is never validated on."""
    classifier_steps: int = 360
    """Batches in which the classifier learns over an ALBERT that stays as it is."""
    steps: int = 0
    """Batches at most in which both are tuned after that; 0 leaves the ALBERT as it is: one that
    ``distil`` made has seen these sentences, and gained .002 UA on validation sentences."""
    batch: int = 64
    """Sentences in a batch."""
    classifier_rate: float = 1e-3
    """Peak for the classifier, while it learns alone."""
    learning_rate: float = 3e-5
    """Peak for the ALBERT, when it is tuned."""
    tuning_rate: float = 1e-4
    """Peak for the classifier, when both are."""
    warm_up: int = 40
    """Batches over which the rates rise to their peaks."""
    weight_decay: float = 0.01
    """Of AdamW."""
    label_smoothing: float = 0.05
    """Share of the target spread over all classes."""
    mishearing: Mishearing = field(default_factory=Mishearing)
    """What happens to the words of training sentences."""
    half_precision: bool = True
    """Compute in bfloat16: twice as fast where the processor has it."""
    opinion_share: float = 0.6
    """Share of the teacher's opinion in the target, beside the label, where there is an opinion."""
    validate_every: int = 120
    """Batches between two validations."""
    patience: int = 4
    """Validations without a better accuracy before training ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherSettings:
    """The sentence encoder that is tuned first, to teach."""

    steps: int = 800
    """Batches."""
    learning_rate: float = 1e-4
    """Peak for the layers that are tuned."""
    head_rate: float = 1e-3
    """Peak for the heads, which start from nothing."""
    warm_up: int = 100
    """Batches over which the rates rise to their peaks."""
    weight_decay: float = 0.01
    """Of AdamW."""
    label_smoothing: float = 0.05
    """Share of the target spread over all classes."""
    names_share: float = 0.5
    """Weight of the loss over the corpora's own names of emotions, beside that of the classes."""
    frozen_layers: int = 2
    """First layers that stay as pre-trained, with the embeddings."""
    half_precision: bool = True
    """Compute in bfloat16: twice as fast where the processor has it."""
    validate_every: int = 200
    """Batches between two validations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentSettings:
    """The ALBERT that learns from the teacher."""

    teacher_layers: tuple[int, ...] = (0, 1, 3, 5)
    """Layers of the teacher that it starts with."""
    embedding: int = 192
    """Width of its table of word pieces."""
    max_tokens: int = 128
    """Longest sentence in tokens."""
    least_count: int = 5
    """Times that a word piece must occur in the corpora to be in the table; rarer words are spelt
    with shorter pieces."""
    table_steps: int = 1_500
    """Batches in which the table is fitted to the teacher's."""
    table_rate: float = 5e-3
    """Peak rate of Adam for that."""
    steps: int = 300
    """Batches in which the student learns the teacher's states."""
    learning_rate: float = 4e-4
    """Peak of AdamW for that."""
    warm_up: int = 50
    """Batches over which the rate rises to its peak."""
    weight_decay: float = 0.01
    """Of AdamW."""
    opinion_share: float = 0.5
    """Weight of the divergence between the opinions of teacher and student, beside that of the
    squared distance of their states."""
    half_precision: bool = True
    """Compute in bfloat16."""
    validate_every: int = 200
    """Batches between two validations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilSettings:
    """The ALBERT of the text branch, from a sentence encoder."""

    batch: int = 64
    """Sentences in a batch."""
    no_class: float = 0.2
    """Share, within a corpus, of sentences whose emotion is none of the four classes."""
    opinions: int = 2_000
    """Sentences of each corpus and class, at most, of which the teacher's opinion is asked."""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    student: StudentSettings = field(default_factory=StudentSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class BimodalTrainingSettings:
    """The bimodal classifier on label-matched pairs of unpaired corpora, over frozen branches."""

    steps: int = 300
    """Batches; of 1,500 the classifier knew the training sentences by heart, and told pairs of held-out
    speakers and sentences .03 to .04 worse."""
    batch: int = 128
    """Pairs in a batch."""
    learning_rate: float = 3e-4
    """Peak of AdamW's schedule."""
    conflict: float = 0.15
    """Share of the pairs whose voice and words are of different classes; the target is half of each."""
    drop: float = 0.1
    """Share of the pairs without a voice, and likewise without words; the target is the other's."""
    voice_noise: float = 1.0
    """Noise on the speech representations, relative to their deviation: those of training speakers say more
    of their class than those of others do, and would be believed too much."""
    label_smoothing: float = 0.05
    """Share of the target spread over all classes."""


_POSITIVE: Final = (
    "speech.batch",
    "speech.group",
    "speech.crop_frames",
    "speech.validate_every",
    "pretraining.held_out",
    "pretraining.validate_every",
    "text.batch",
    "text.validate_every",
    "distil.batch",
    "bimodal.batch",
)


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
    lesson: LessonSettings = field(default_factory=LessonSettings)
    pretraining: PretrainingSettings = field(default_factory=PretrainingSettings)
    text: TextTrainingSettings = field(default_factory=TextTrainingSettings)
    distil: DistilSettings = field(default_factory=DistilSettings)
    bimodal: BimodalTrainingSettings = field(default_factory=BimodalTrainingSettings)

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share ({self.validation_share:g}) must be between 0 and 1: "
                "something must be left to train on and something to stop by."
            )
        if self.folds < 2:
            raise ValueError(
                f"folds ({self.folds}) must be 2 or more: one is tested, others teach."
            )
        for name in _POSITIVE:
            if (value := attrgetter(name)(self)) < 1:
                raise ValueError(f"{name} ({value}) must be positive.")
        for part in (self.speech, self.text):
            if len(part.corpora) != len(part.corpus_shares):
                raise ValueError(
                    f"corpus_shares ({part.corpus_shares}) must give one share for each of "
                    f"{', '.join(part.corpora)}."
                )
        if self.speech.batch % self.speech.group:
            raise ValueError(
                f"speech.batch ({self.speech.batch}) must be a multiple of speech.group "
                f"({self.speech.group}): a batch is made of whole groups."
            )
        if self.sizes.speech.centred and self.speech.group < 2:
            raise ValueError(
                f"speech.group ({self.speech.group}) must be 2 or more where sizes.speech.centred: a voice "
                "is known from the others of a group."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSettings:
    """The paper's protocol on IEMOCAP. What the paper says is marked so; the rest is our choice."""

    name: str = "stser-iemocap"
    """Name of the run."""
    seed: int = 1
    """Of everything that is drawn."""
    validation_share: float = 0.2
    """Paper. Share of the training utterances that only choose when to stop, in whole dialogues."""
    learning_rate: float = 1e-4
    """Paper. Of Adam, constant, for all but the ALBERT."""
    albert_rate: float = 1e-4
    """Of Adam, for the ALBERT: the paper's rate, too; 2e-5 is safer for one of twelve layers."""
    training: Literal["separate", "joint"] = "separate"
    """``separate``: speech, text, then the bimodal classifier over both, each stopped at its own best
    epoch, because a text branch starts from pre-trained words and overfits long before a speech
    branch that starts from nothing has learnt. ``joint``: one loss, the sum of the three."""
    tune_albert: bool = True
    """Train the ALBERT with its classifier; false leaves it frozen: faster, and words keep the
    meaning that pre-training gave them."""
    batch: int = 32
    """Utterances in a batch."""
    epochs: int = 100
    """Passes over the training utterances, at most."""
    patience: int = 10
    """Passes without a better validation accuracy before training ends."""
    stop_by: Literal["WA", "UA"] = "WA"
    """Validation accuracy that is watched; the paper says accuracy, which is WA."""
    crop_frames: int = 750
    """Longest excerpt of a training utterance, in frames of 10 ms, so that a few of half a minute do
    not fill the memory; tests hear all of it."""
    heard: int = 0
    """Other utterances of the speaker by which log-mel is normalised. The paper says nothing of
    speakers, so none: each utterance is normalised by itself and the training sessions."""
    classifier_dropout: float = 0.1
    """Share dropped after each hidden layer of the classifiers, while training."""
    text_dropout: float = 0.1
    """Share dropped within the ALBERT while it is tuned: a few thousand sentences are soon known by
    heart, though its pre-training could do without."""
    log_mel: LogMelSettings = field(default_factory=LogMelSettings)
    """64 mel bands of 25 ms each 10 ms, up to 8 kHz: finer bands resolve single harmonics, which are
    the speaker's pitch and not the emotion's spectrum, and cost time in proportion."""
    adaptation: AdaptationSettings = field(default_factory=AdaptationSettings)
    speech: SpeechModelSettings = field(default_factory=SpeechModelSettings)
    """Paper: one convolution block, batch normalisation, ReLU, Bi-LSTM, four heads. Kernel, units and
    pooling are those of the default weights, so that what is found here holds for the monitor."""

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share ({self.validation_share:g}) must be between 0 and 1: "
                "something must be left to train on and something to stop by."
            )
        for name in ("batch", "epochs", "patience", "crop_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be positive.")
        if self.log_mel.n_mels != self.speech.n_mels:
            raise ValueError(
                f"log_mel.n_mels ({self.log_mel.n_mels}) and speech.n_mels ({self.speech.n_mels}) must "
                "be the same: what the front end gives is what the smodel takes."
            )
        for name in ("classifier_dropout", "text_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name):g}) must be in [0, 1).")
        if self.crop_frames < self.speech.pool_time:
            raise ValueError(
                f"crop_frames ({self.crop_frames}) must be at least speech.pool_time "
                f"({self.speech.pool_time}): a shorter excerpt has no pooled frame."
            )
