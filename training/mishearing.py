"""What a recogniser makes of words: missing, swapped, and confused with words of a like sound.

The confusions are counted, not invented: ``stser-train confusions`` has training sentences spoken by
synthetic voices and recognised, and counts what was heard for what. They are drawn as often as they
were counted.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final, Self

import numpy as np

from training.errors import TrainingError

CONFUSIONS: Final = Path(__file__).with_name("confusions.tsv")
"""What the recogniser in the package makes of the words of everyday English."""

_COLUMNS: Final = ("said", "heard", "times")
_LONGEST: Final = 3
"""Words that one confusion spans at most, on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishearing:
    """How often words are misheard in training."""

    confused: float = 0.5
    """Share of the sentences whose words pass through the counted confusions."""
    drop_word: float = 0.04
    """Chance of each word to go missing, in any sentence."""
    swap_words: float = 0.05
    """Chance of two neighbours to change places."""
    max_words: int = 18
    """Longest excerpt of a training sentence: speech comes in short utterances."""


@dataclass(frozen=True, slots=True, eq=False)
class Confusions:
    """Of one to three words said in a row: all that was heard for them, and how often."""

    heard: Mapping[tuple[str, ...], tuple[tuple[tuple[str, ...], ...], tuple[float, ...]]]
    """By words said: alternatives and their shares. What was heard right is among them."""

    @classmethod
    def none(cls) -> Self:
        """A recogniser without a fault."""
        return cls({})

    @classmethod
    def read(cls, path: Path = CONFUSIONS) -> Self:
        """A table that :func:`counted_table` gave.

        Raises:
            TrainingError: It is missing or damaged.
        """
        counts: dict[tuple[str, ...], Counter[tuple[str, ...]]] = {}
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file, delimiter="\t"):
                    said, heard = (tuple(row[name].split()) for name in _COLUMNS[:2])
                    counts.setdefault(said, Counter())[heard] += int(row["times"])
        except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise TrainingError(
                f"{path}: no table of confusions: {error!r}. Make it with stser-train confusions."
            ) from error
        return cls._of(counts)

    @classmethod
    def _of(cls, counts: Mapping[tuple[str, ...], Counter[tuple[str, ...]]]) -> Self:
        heard = {}
        for said in sorted(counts):
            items = sorted(counts[said].items(), key=lambda item: (-item[1], item[0]))
            times = np.array([n for _, n in items], float)
            heard[said] = (tuple(w for w, _ in items), tuple((times / times.sum()).tolist()))
        return cls(heard)


def counted_table(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> str:
    """The table as text: ``said``, ``heard``, ``times``, tab-separated, in order."""
    counts: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()
    for said, heard in pairs:
        counts.update(aligned(said, heard))
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows((" ".join(s), " ".join(h), n) for (s, h), n in sorted(counts.items()))
    return text.getvalue()


def aligned(
    said: Sequence[str], heard: Sequence[str]
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Which words were heard for which: single words heard right, and short spans heard wrong.

    Spans longer than three words on either side say nothing of single words and are left out, as
    are words heard where nothing was said.
    """
    pairs: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    matcher = SequenceMatcher(a=said, b=heard, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            pairs += [((word,), (word,)) for word in said[i:j]]
        elif j > i and j - i == m - k:
            pairs += [((one,), (other,)) for one, other in zip(said[i:j], heard[k:m], strict=True)]
        elif j > i and j - i <= _LONGEST and m - k <= _LONGEST:
            pairs.append((tuple(said[i:j]), tuple(heard[k:m])))
    return pairs


def misheard(
    words: Sequence[str], mishearing: Mishearing, confusions: Confusions, rng: np.random.Generator
) -> list[str]:
    """A training sentence as it may come out of a recogniser: 1 to ``max_words`` words."""
    heard = list(words)
    if confusions.heard and rng.random() < mishearing.confused:
        heard = _confused(heard, confusions, rng) or heard
    kept = [word for word in heard if rng.random() >= mishearing.drop_word] or heard
    if len(kept) > 2 and rng.random() < mishearing.swap_words:
        at = int(rng.integers(len(kept) - 1))
        kept[at], kept[at + 1] = kept[at + 1], kept[at]
    if len(kept) > mishearing.max_words:
        start = int(rng.integers(len(kept) - mishearing.max_words + 1))
        kept = kept[start : start + mishearing.max_words]
    return kept


def _confused(words: Sequence[str], confusions: Confusions, rng: np.random.Generator) -> list[str]:
    """Each span that the table knows gives way to something that was heard for it."""
    heard: list[str] = []
    at = 0
    while at < len(words):
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            known = confusions.heard.get(tuple(words[at : at + length]))
            if known is not None:
                alternatives, shares = known
                heard += alternatives[rng.choice(len(shares), p=shares)]
                break
        else:
            length = 1
            heard.append(words[at])
        at += length
    return heard
