"""Labelled sentences as the recogniser hears them: what the text branch is given in the monitor.

Synthetic voices say sentences of the text corpora in rooms from quiet to noisy, so that as many words
are lost as in live speech. Validation sentences are said by voices that neither the recogniser nor the
text branch is trained on, and that no test has.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tqdm import tqdm

from training.open_corpora import TextSplit, generator
from training.recogniser.evaluation import in_quiet_room
from training.recogniser.sentences import Sentence
from training.recogniser.speech import transcript
from training.recogniser.synthesis import lines, spoken
from training.settings import OpenSettings
from training.transcripts import VoskModel

Side = Literal["train", "valid"]
VOICES_OF: Final[Mapping[Side, str]] = {"train": "text", "valid": "valid"}
"""Sides of :data:`training.recogniser.synthesis.VOICES`."""
ROOM_DBFS: Final = (-60.0, -38.0)
"""Quietest and loudest room under speech of -24 dBFS: a third of the words of unheard voices is lost."""
WORDS: Final = range(2, 15)
"""Words of a sentence that is said."""
_BLOCK: Final = 200
"""Sentences that are given their voices together."""


@dataclass(frozen=True, slots=True)
class MisheardSentence:
    """A labelled sentence, and what was heard of it."""

    index: int
    """Of the sentence in the corpora."""
    said: Sentence
    heard: Sentence
    """``[unk]`` is left out; may be empty."""


def to_say(split: TextSplit, side: Side, each: int, settings: OpenSettings) -> list[int]:
    """Sentences that can be said as they are written, at most ``each`` of a corpus and class.

    Of all corpora and classes in turn, so that the first so many are balanced, too.
    """
    data = split.data
    indices = split.train if side == "train" else split.validation
    cells: dict[tuple[str, str], dict[Sentence, int]] = defaultdict(dict)
    for index in generator(settings, 9).permutation(indices):
        utterance = data.utterances[index]
        words = transcript(utterance.text or "")
        if len(words) in WORDS:
            cells[utterance.corpus, utterance.label].setdefault(words, int(index))
    turns = [list(cell.values())[:each] for _, cell in sorted(cells.items())]
    return [turn[at] for at in range(each) for turn in turns if at < len(turn)]


def heard_sentences(
    split: TextSplit, side: Side, each: int, recogniser: VoskModel, settings: OpenSettings
) -> Iterator[MisheardSentence]:
    """Have them said and heard; those that a synthesiser leaves without sound are left out.

    Args:
        split: The text corpora.
        side: Whose sentences, and by which voices.
        each: Sentences of each corpus and class, at most.
        recogniser: What hears.
        settings: Their seed draws sentences, voices, manners and rooms.

    Raises:
        TrainingError: A synthesiser is missing or fails.
    """
    indices = to_say(split, side, each, settings)
    said = [transcript(split.data.utterances[index].text or "") for index in indices]
    progress = tqdm(total=len(said), desc="sentences", mininterval=10)
    for first in range(0, len(said), _BLOCK):
        rng = generator(settings, 10, zlib.crc32(side.encode()), first)
        block = said[first : first + _BLOCK]
        places: dict[Sentence, list[int]] = defaultdict(list)  # some have been given two classes
        for index, words in zip(indices[first:], block, strict=False):
            places[words].append(index)
        for line, samples in spoken(lines(block, VOICES_OF[side], rng)):
            heard = recogniser.recognise(in_quiet_room(samples, rng, rng.uniform(*ROOM_DBFS)))
            words = tuple(word.word for word in heard)
            yield MisheardSentence(places[line.words].pop(0), line.words, words)
            progress.update()
    progress.close()
