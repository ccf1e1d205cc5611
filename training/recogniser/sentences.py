"""Text corpora to sentences as people say them, and the vocabulary that they suggest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from stser_core.text import spoken_words
from training.corpora.csv_manifest import read_rows

Sentence = tuple[str, ...]

_TORN_APOSTROPHE: Final = re.compile(
    r"(?<=\w)\s*['\u2019]\s*(?=(?:s|t|m|re|ve|ll|d)\b)", re.IGNORECASE
)
"""DailyDialog writes ``I ' m``."""
_END: Final = re.compile(r"[.!?;:\n]+(?=\W|$)|--+|\u2026")
_WRITTEN_ONLY: Final = re.compile(r"[0-9@#&$%<>\[\]{}/\\_*=+^~|]|https?:|www\.")
"""What nobody says as it is written; a sentence with it is left out."""
_WORD: Final = re.compile(r"[a-z]+(?:'[a-z]+)*$")
_WITH_APOSTROPHE: Final = (
    "i'm i've can't won't don't doesn't didn't isn't aren't wasn't weren't haven't hasn't hadn't "
    "couldn't shouldn't wouldn't ain't you're you've they're they've we've he's she's it'll that's "
    "what's there's let's"
)
_CONTRACTIONS: Final = {word.replace("'", ""): word for word in _WITH_APOSTROPHE.split()}
"""Typed without their apostrophe; only those that are no other word."""


def sentences(text: str) -> list[Sentence]:
    """Sentences of a written text as a recogniser would write them.

    Sentences with digits, links, placeholders or letters beyond ``a-z`` are left out: how they are
    said is not known.
    """
    found = []
    for part in _END.split(_TORN_APOSTROPHE.sub("'", text)):
        if _WRITTEN_ONLY.search(part):
            continue
        words = tuple(_CONTRACTIONS.get(word, word) for word in spoken_words(part))
        if words and all(_WORD.match(word) for word in words):
            found.append(words)
    return found


def read_sentences(path: Path) -> Iterator[Sentence]:
    """All sentences of the column ``text`` of a CSV file.

    Raises:
        CorpusError: The file cannot be read, or has no such column.
    """
    for row in read_rows(path, ("text",)):
        yield from sentences(row["text"])


def vocabulary(counts: Mapping[str, float], size: int) -> list[str]:
    """The ``size`` most frequent words, sorted; a tie at the edge goes to the alphabetically first."""
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return sorted(ranked[:size])


def word_counts(
    corpora: Mapping[str, Iterable[Sentence]], weights: Mapping[str, float]
) -> Counter[str]:
    """Weighted number of times that each word occurs over all corpora."""
    counts: Counter[str] = Counter()
    for name, corpus in corpora.items():
        weight = weights.get(name, 1.0)
        for sentence in corpus:
            for word in sentence:
                counts[word] += weight  # type: ignore[assignment]
    return counts
