"""``stser-train words``: the text classifier on test sentences as written and as recognised."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stser_core.ensemble import Stser
from stser_core.labels import EMOTIONS
from training.baseline import reader
from training.corpora import read_texts
from training.evaluate import Figures, evaluate, figures
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.recognised import recognised
from training.settings import OpenSettings
from training.text_data import written_as_heard
from training.transcripts import Recogniser
from training.utterance import Utterance

_HEAD = """\
# The text classifier on words as written and as recognised

Written by `stser-train words`. Sentences of each corpus' `dev.csv`, lower-cased and without punctuation: all of them;
those that are not word for word in the training part of any corpus, too, as short ones often are; then some, drawn
at random, as written and as the recogniser hears them from synthetic voices in a quiet room. Sentences of which
nothing was heard are left out of both. WA is the share of correct sentences, UA the mean recall over the four
classes (balanced accuracy), ECE the expected calibration error. TF-IDF: words and pairs with logistic regression,
trained on the same corpus' `train.csv`, lower-cased and without punctuation, too.

| corpus | words | sentences | WA | UA | ECE | TF-IDF, WA | TF-IDF, UA |
|---|---|---|---|---|---|---|---|
"""


def text_report(
    root: Path, stser: Stser, recogniser: Recogniser, sentences: int, settings: OpenSettings
) -> str:
    """A page of Markdown.

    Args:
        root: Folder of the corpora.
        stser: The checkpoint that is judged.
        recogniser: Hears synthetic voices.
        sentences: How many of each corpus are spoken.
        settings: Names the corpora.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: There is no flite, or Vosk cannot use its model.
    """
    lines = []
    training = {
        corpus: _plain(read_texts(root / corpus / "train.csv"))
        for corpus in dict.fromkeys((*settings.text.corpora, *settings.text.tests))
    }
    known = {u.text for corpus in settings.text.corpora for u in training[corpus]}
    for corpus in settings.text.tests:
        trained, tested = training[corpus], _plain(read_texts(root / corpus / "dev.csv"))
        order = np.random.default_rng(settings.seed).permutation(len(tested))[:sentences]
        some = [tested[i] for i in sorted(order)]
        found = recognised([(u.text or "").split() for u in some], recogniser)
        pairs = [(some[place], words) for place, words in found if words]
        said = [u for u, _ in pairs]
        heard = [dataclasses.replace(u, text=" ".join(words)) for u, words in pairs]
        kinds = {
            "as written": tested,
            "as written, new": [u for u in tested if u.text not in known],
            "some, written": said,
            "some, heard": heard,
        }
        for name, rows in kinds.items():
            if rows:
                lines.append(f"| {corpus} | {name} | {_row(stser, trained, rows)} |")
    return _HEAD + "\n".join(lines) + "\n"


def _plain(sentences: Sequence[Utterance]) -> list[Utterance]:
    """Without case and punctuation; sentences that have no word are left out."""
    words = [" ".join(written_as_heard(u.text or "")) for u in sentences]
    return [
        dataclasses.replace(u, text=text) for u, text in zip(sentences, words, strict=True) if text
    ]


def _row(stser: Stser, trained: Sequence[Utterance], rows: Sequence[Utterance]) -> str:
    ours = _of_text(figures(evaluate(rows, stser)))
    truth = np.array([EMOTIONS.index(u.label) for u in rows])
    theirs = confusion(truth, reader(trained, rows))
    values = (
        ours.weighted,
        ours.unweighted,
        ours.calibration_error,
        weighted_accuracy(theirs),
        unweighted_accuracy(theirs),
    )
    return " | ".join([str(len(rows)), *(f"{value:.3f}" for value in values)])


def _of_text(found: Sequence[Figures]) -> Figures:
    return next(each for each in found if each.name == "text")
