"""``stser-train baseline``: what a user would otherwise pick, on the same folds and sentences.

Speech: openSMILE eGeMAPSv02 functionals and an RBF support vector machine, plain and with each
speaker's features normalised by that speaker's own mean and deviation (an oracle: all of the
speaker's utterances are known). Text: TF-IDF and logistic regression on the corpora that STSER
is trained on.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stser_core.labels import EMOTIONS
from training.corpora import read_manifest, read_texts
from training.folds import speaker_folds
from training.front_end import load_audio
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.settings import OpenSettings
from training.utterance import Utterance


def baseline(root: Path, cache: Path, settings: OpenSettings) -> dict[str, Any]:
    """WA and UA of all baselines, by name.

    Raises:
        CorpusError: A corpus is missing or damaged.
    """
    return speech_baseline(root, cache, settings) | text_baseline(root, settings)


def speech_baseline(root: Path, cache: Path, settings: OpenSettings) -> dict[str, Any]:
    """One model a corpus, as a user of one corpus would train it, on the folds of ``crossval``."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    utterances = [u for name in settings.speech.corpora for u in read_manifest(root / name)]
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
                # The baseline needs no validation set: it trains on those speakers, too.
                train = [i for i in (*fold.train, *fold.validation) if corpora[i] == corpus]
                test = [i for i in fold.test if corpora[i] == corpus]
                scaler = StandardScaler().fit(values[train])
                machine = SVC(C=3.0, class_weight="balanced")
                machine.fit(scaler.transform(values[train]), labels[train])
                predicted = machine.predict(scaler.transform(values[test]))
                counts += confusion(labels[test], predicted)
            figures[f"eGeMAPS + SVM, {corpus}, {name}"] = _figures(counts)
    return figures


def _per_speaker(features: NDArray[np.float64], utterances: list[Utterance]) -> NDArray[np.float64]:
    normalised = features.copy()
    speakers = np.array([u.speaker for u in utterances])
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        deviation = features[rows].std(axis=0)
        normalised[rows] = (features[rows] - features[rows].mean(axis=0)) / (deviation + 1e-6)
    return normalised


def _egemaps(utterances: list[Utterance], cache: Path) -> NDArray[np.float64]:
    path = cache / f"egemaps-{len(utterances)}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    import opensmile

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
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, features)
    return features


def text_baseline(root: Path, settings: OpenSettings) -> dict[str, Any]:
    """Trained on each tested corpus' own ``train.csv``, and on all of them; tested on ``dev.csv``."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    everything = [
        u for name in settings.text.corpora for u in read_texts(root / name / "train.csv")
    ]
    figures = {}
    for corpus in settings.text.tests:
        tested = read_texts(root / corpus / "dev.csv")
        own = [u for u in everything if u.corpus == corpus]
        for name, trained in (("own corpus", own), ("all corpora", everything)):
            model = make_pipeline(
                TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
                LogisticRegression(C=3.0, max_iter=1000, class_weight="balanced"),
            )
            model.fit([u.text for u in trained], [EMOTIONS.index(u.label) for u in trained])
            predicted = model.predict([u.text for u in tested])
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
