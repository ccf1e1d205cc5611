"""``stser-train baseline``: what a user would otherwise pick, on the same folds and sentences.

Speech: openSMILE eGeMAPSv02 functionals and an RBF support vector machine, plain and with each
speaker's features normalised by that speaker's own mean and deviation (an oracle: all of the
speaker's utterances are known). Text: TF-IDF and logistic regression on the corpora that STSER
is trained on. On IEMOCAP all of them are tested on the paper's folds by session.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stser_core.labels import EMOTIONS
from training.corpora import read_manifests, read_texts
from training.errors import CorpusError
from training.folds import Fold, speaker_folds
from training.front_end import cache_key, load_audio
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.settings import OpenSettings
from training.utterance import Utterance
from training.whole_file import written_whole

SESSION_BASELINES: Final = (
    "eGeMAPS + SVM",
    "eGeMAPS + SVM, speaker known",
    "TF-IDF + logistic regression",
)
"""Rows of the baselines in the paper's tables. *Speaker known*: features are normalised by all that
the speaker says in the corpus, test utterances included, which no live system can know."""


def baseline(root: Path, cache: Path, settings: OpenSettings) -> dict[str, Any]:
    """WA and UA of all baselines, by name.

    Raises:
        CorpusError: A corpus is missing or damaged.
    """
    return speech_baseline(root, cache, settings) | text_baseline(root, settings)


def speech_baseline(root: Path, cache: Path, settings: OpenSettings) -> dict[str, Any]:
    """One model a corpus, as a user of one corpus would train it, on the folds of ``crossval``."""
    utterances = read_manifests(root, settings.speech.corpora)
    features = _egemaps(utterances, cache)
    labels = np.array([EMOTIONS.index(u.label) for u in utterances])
    corpora = np.array([u.corpus for u in utterances])
    folds = speaker_folds(utterances, settings.folds, settings.validation_share, settings.seed)
    figures = {}
    for name, values in (
        ("plain", features),
        ("speaker oracle", _per_speaker(features, utterances)),
    ):
        for corpus in settings.speech.corpora:
            counts = np.zeros((len(EMOTIONS), len(EMOTIONS)), np.int64)
            for fold in folds:
                train = [i for i in _taught(fold) if corpora[i] == corpus]
                test = [i for i in fold.test if corpora[i] == corpus]
                if len(np.unique(labels[train])) < 2:
                    raise CorpusError(
                        f"{corpus}: the training speakers of a fold have one class. A baseline learns "
                        "to tell two at least."
                    )
                counts += confusion(labels[test], _machine(values, labels, train, test))
            figures[f"eGeMAPS + SVM, {corpus}, {name}"] = _figures(counts)
    return figures


def session_baseline(
    utterances: Sequence[Utterance], folds: Sequence[Fold], cache: Path
) -> list[dict[str, list[str]]]:
    """All baselines on the paper's folds.

    Args:
        utterances: With audio; without words they are an empty sentence.
        folds: Of :func:`~training.folds.session_folds`.
        cache: Folder for the features.

    Returns:
        For each fold, by name in :data:`SESSION_BASELINES`, the class that each of its test
        utterances was judged to be.
    """
    features = _egemaps(utterances, cache)
    by_speaker = _per_speaker(features, utterances)
    labels = np.array([EMOTIONS.index(u.label) for u in utterances])
    judged = []
    for fold in tqdm(folds, desc="baseline", mininterval=5):
        predicted = (
            _machine(features, labels, _taught(fold), fold.test),
            _machine(by_speaker, labels, _taught(fold), fold.test),
            reader([utterances[i] for i in _taught(fold)], [utterances[i] for i in fold.test]),
        )
        judged.append(
            {
                name: [EMOTIONS[label].value for label in values]
                for name, values in zip(SESSION_BASELINES, predicted, strict=True)
            }
        )
    return judged


def _taught(fold: Fold) -> tuple[int, ...]:
    """A baseline needs no validation set: it trains on those utterances, too."""
    return (*fold.train, *fold.validation)


def _machine(
    values: NDArray[np.float64],
    labels: NDArray[np.int64],
    train: Sequence[int],
    test: Sequence[int],
) -> NDArray[np.int64]:
    """A support vector machine's classes of the test rows."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    train, test = list(train), list(test)
    scaler = StandardScaler().fit(values[train])
    machine = SVC(C=3.0, class_weight="balanced")
    machine.fit(scaler.transform(values[train]), labels[train])
    return np.asarray(machine.predict(scaler.transform(values[test])), np.int64)


def reader(train: Sequence[Utterance], test: Sequence[Utterance]) -> NDArray[np.int64]:
    """Classes of the test sentences by TF-IDF of words and pairs, and logistic regression."""
    from sklearn.dummy import DummyClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    labels = [EMOTIONS.index(u.label) for u in train]
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(C=3.0, max_iter=1000, class_weight="balanced"),
    )
    try:
        model.fit([u.text or "" for u in train], labels)
    except ValueError:  # no word occurs twice, as where the recogniser heard next to nothing
        model = DummyClassifier().fit(train, labels)
    return np.asarray(model.predict([u.text or "" for u in test]), np.int64)


def _per_speaker(
    features: NDArray[np.float64], utterances: Sequence[Utterance]
) -> NDArray[np.float64]:
    normalised = features.copy()
    speakers = np.array([u.speaker for u in utterances])
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        deviation = features[rows].std(axis=0)
        normalised[rows] = (features[rows] - features[rows].mean(axis=0)) / (deviation + 1e-6)
    return normalised


def _egemaps(utterances: Sequence[Utterance], cache: Path) -> NDArray[np.float64]:
    """Functionals of each utterance, from the cache where they were computed before."""
    import opensmile

    path = cache / f"egemaps-{cache_key(utterances, 'eGeMAPSv02', version('opensmile'))}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    rows = []
    for utterance in tqdm(utterances, desc="eGeMAPS", mininterval=5):
        assert utterance.audio is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows.append(
                smile.process_signal(load_audio(utterance.audio, 16_000), 16_000).to_numpy()[0]
            )
    features = np.nan_to_num(np.stack(rows).astype(np.float64))
    with written_whole(path) as draft:
        np.save(draft, features)
    return features


def text_baseline(root: Path, settings: OpenSettings) -> dict[str, Any]:
    """Trained on each tested corpus' own ``train.csv``, and on all of them; tested on ``dev.csv``."""
    everything = [
        u for name in settings.text.corpora for u in read_texts(root / name / "train.csv")
    ]
    figures = {}
    for corpus in settings.text.tests:
        tested = read_texts(root / corpus / "dev.csv")
        own = [u for u in everything if u.corpus == corpus]
        for name, trained in (("own corpus", own), ("all corpora", everything)):
            predicted = reader(trained, tested)
            truth = np.array([EMOTIONS.index(u.label) for u in tested])
            figures[f"TF-IDF + logistic regression, {corpus}, {name}"] = _figures(
                confusion(truth, predicted)
            )
    return figures


def _figures(counts: NDArray[np.int64]) -> dict[str, float]:
    return {
        "WA": round(weighted_accuracy(counts), 4),
        "UA": round(unweighted_accuracy(counts), 4),
    }
