"""Words to token identifiers, and back: what a transcript looks like to the tmodel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stser_core.errors import CheckpointError

PADDING: Final = 8
"""Tokens whose reading takes as long as one more call of the tmodel does by itself."""

_APOSTROPHES: Final = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'", "\u02bc": "'"})
_NOT_SPOKEN: Final = re.compile(r"\[[a-z ]*\]|<[a-z ]*>")  # [unk], [noise], <unk>
_PUNCTUATION: Final = re.compile(r"[^\w']|_")


def spoken_words(text: str) -> list[str]:
    """Words as a recogniser writes them: lower case, no punctuation but the apostrophe in a word.

    Corpora are read through this too, so that training sees what the monitor will see.
    """
    plain = _NOT_SPOKEN.sub(" ", text.lower().translate(_APOSTROPHES))
    words = (word.strip("'") for word in _PUNCTUATION.sub(" ", plain).split())
    return [word for word in words if word]


@dataclass(frozen=True, slots=True)
class TokenisedText:
    """One sentence for the tmodel."""

    ids: NDArray[np.int64]
    """``(tokens,)``, framed by the tokenizer's own start and end tokens."""
    word_of_token: tuple[int, ...]
    """Index of the word that each token belongs to; -1 for start and end."""


class TextTokenizer:
    """WordPiece vocabulary of a checkpoint."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    @classmethod
    def load(cls, path: Path, max_tokens: int, *, vocabulary: int | None = None) -> TextTokenizer:
        """Read ``tokenizer.json``.

        Args:
            path: A file of the ``tokenizers`` library.
            max_tokens: Longest sentence the tmodel takes, start and end included; the rest is cut.
            vocabulary: Word pieces that the tmodel knows; None leaves the file unchecked.

        Raises:
            CheckpointError: If the file cannot be read as a tokenizer, or has more word pieces.
        """
        try:
            loaded = cls.of(path.read_text("utf-8"), max_tokens)
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{path}: not a tokenizer file: {error}.") from error
        if vocabulary is not None and loaded.vocabulary_size > vocabulary:
            raise CheckpointError(
                f"{path}: has {loaded.vocabulary_size} word pieces, the tmodel knows {vocabulary}."
            )
        return loaded

    @classmethod
    def of(cls, content: str, max_tokens: int) -> TextTokenizer:
        """From the content of a ``tokenizer.json``."""
        return cls(Tokenizer.from_str(content), max_tokens)

    @property
    def vocabulary_size(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, words: Sequence[str]) -> TokenisedText:
        """Tokens of a transcript.

        Args:
            words: As recognised; each may become several tokens, or none (``[unk]``).
        """
        spoken = [" ".join(spoken_words(word)) for word in words]
        encoding = self._tokenizer.encode(spoken, is_pretokenized=True)
        words_of = tuple(-1 if word is None else int(word) for word in encoding.word_ids)
        return TokenisedText(np.array(encoding.ids, np.int64), words_of)


def pad_tokens(
    texts: Sequence[TokenisedText],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token identifiers and mask (1 = a token) of a batch, both int64 ``(batch, tokens)``."""
    longest = max(len(text.ids) for text in texts)
    ids = np.zeros((len(texts), longest), np.int64)
    mask = np.zeros((len(texts), longest), np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = text.ids
        mask[row, : len(text.ids)] = 1
    return ids, mask


def of_like_length(texts: Sequence[TokenisedText]) -> list[list[int]]:
    """Which texts to read in one call each, so that padding costs less than the calls it saves.

    Returns:
        Places in ``texts``, each once, the longest first; at most :data:`PADDING` tokens of padding in a call.
    """
    calls: list[list[int]] = []
    padding = PADDING
    for at in sorted(range(len(texts)), key=lambda at: -len(texts[at].ids)):
        padding += len(texts[calls[-1][0]].ids) - len(texts[at].ids) if calls else 1
        if padding > PADDING:
            calls.append([])
            padding = 0
        calls[-1].append(at)
    return calls
