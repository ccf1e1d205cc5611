"""What Vosk searches: words as HMM states (``HCLr.fst``) and the language model (``Gr.fst``).

Vosk composes both while it decodes, looking ahead to the words that a state may still become. Debian's
OpenFst (package ``libfst-tools``) does the work on automata.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Final

import numpy as np

from training.errors import TrainingError
from training.recogniser.kaldi_model import KALDI_PHONE, KALDI_PHONES, forward_id, loop_id
from training.recogniser.language_model import END, START, UNKNOWN, LanguageModel, Ngram
from training.recogniser.lexicon import PHONES, SILENCE, Pronunciation
from training.recogniser.lfmmi import PhoneBigram

EPSILON: Final = 0
_FST_TOOLS: Final = ("fstcompile", "fstdeterminize", "fstconvert")
_LIKELY: Final = 0.005
"""Phone pairs rarer than this are left out of the loop that hears unknown words."""


@dataclass(frozen=True, slots=True)
class Arc:
    """One transition of an automaton."""

    source: int
    target: int
    heard: int
    """Input label; 0 is none."""
    word: int = EPSILON
    """Output label; 0 is none."""
    cost: float = 0.0

    def line(self) -> str:
        """As fstcompile reads it."""
        return f"{self.source}\t{self.target}\t{self.heard}\t{self.word}\t{self.cost:.4f}\n"


class Automaton:
    """Arcs and final states under construction."""

    def __init__(self) -> None:
        self.arcs: list[Arc] = []
        self.final: dict[int, float] = {}
        self._n_states = 0

    def state(self) -> int:
        self._n_states += 1
        return self._n_states - 1

    def arc(
        self, source: int, target: int, heard: int, word: int = EPSILON, cost: float = 0.0
    ) -> None:
        self.arcs.append(Arc(source, target, heard, word, cost))

    def phone_state(self, phone: str) -> int:
        """A new state that stays in a phone, by its Kaldi name, for as long as it sounds."""
        state = self.state()
        self.arc(state, state, loop_id(phone))
        return state

    def text(self, start: int) -> str:
        """As fstcompile reads it: the first line's state is where it starts."""
        arcs = sorted(self.arcs, key=lambda arc: arc.source != start)
        finals = [f"{state}\t{cost:.4f}\n" for state, cost in self.final.items()]
        return "".join([arc.line() for arc in arcs] + finals)


def missing_packages() -> list[str]:
    """Debian packages that building graphs needs and this machine lacks."""
    return [] if all(map(shutil.which, _FST_TOOLS)) else ["libfst-tools"]


def fst(command: str, given: bytes) -> bytes:
    """Run a pipe of OpenFst's programs, with its look-ahead and n-gram types loaded.

    Raises:
        TrainingError: A program is missing or fails.
    """
    libraries = "libfstlookahead.so.22 libfstngram.so.22"
    for step in command.split("|"):
        try:
            done = subprocess.run(  # noqa: S603
                step.split(),
                input=given,
                capture_output=True,
                check=True,
                env={**os.environ, "LD_PRELOAD": libraries},
            )
        except FileNotFoundError as error:
            raise TrainingError(
                "Graphs need: sudo apt-get install -y --no-install-recommends libfst-tools"
            ) from error
        except subprocess.CalledProcessError as error:
            raise TrainingError(f"{step.strip()}: {error.stderr.decode()[-500:]}") from error
        given = done.stdout
    return given


def positional(pronunciation: Pronunciation) -> list[str]:
    """Phones of a word by their Kaldi names."""
    names = [PHONES[phone] for phone in pronunciation]
    if len(names) == 1:
        return [f"{names[0]}_S"]
    return [f"{names[0]}_B", *(f"{name}_I" for name in names[1:-1]), f"{names[-1]}_E"]


def lexicon_tree(
    lexicon: Mapping[str, Sequence[Pronunciation]], word_id: Mapping[str, int], folder: Path
) -> str:
    """All words as one minimal deterministic automaton from phones to words, as text.

    Homophones differ by labels beyond those of the phones. The last phone of a word has a name of its
    own, so that no word is the beginning of another.
    """
    tree = Automaton()
    root, end = tree.state(), tree.state()
    tree.final[end] = 0.0
    said: dict[Pronunciation, int] = defaultdict(int)
    for word in sorted(word_id.keys() & lexicon.keys()):
        for pronunciation in lexicon[word]:
            labels = [KALDI_PHONE[name] for name in positional(pronunciation)]
            if said[pronunciation]:
                labels.append(len(KALDI_PHONES) + said[pronunciation])
            said[pronunciation] += 1
            state, output = root, word_id[word]
            for label in labels[:-1]:
                state, source = tree.state(), state
                tree.arc(source, state, label, output)
                output = EPSILON
            tree.arc(state, end, labels[-1], output)
    codex = folder / "labels.codex"
    minimal = fst(
        f"fstcompile | fstdeterminize | fstencode --encode_labels - {codex} | fstminimize",
        tree.text(root).encode(),
    )
    return fst(f"fstencode --decode - {codex} - | fstprint", minimal).decode()


def hmm_graph(tree: str, bigram: PhoneBigram, pause: float, unknown_id: int) -> str:
    """The tree's phones as HMM states, in a loop with pauses and unknown words, as text.

    Args:
        tree: What :func:`lexicon_tree` gives.
        bigram: Weighs the phones of unknown words.
        pause: Probability of a pause after a word.
        unknown_id: Label of ``[unk]``.
    """
    graph = Automaton()
    start, hub, after = graph.state(), graph.state(), graph.state()
    graph.final[hub] = 0.0
    for source, share in ((start, 0.5), (after, pause)):
        silent = graph.phone_state(SILENCE)
        graph.arc(source, hub, EPSILON, cost=-log(1 - share))
        graph.arc(source, silent, forward_id(SILENCE), cost=-log(share))
        graph.arc(silent, hub, EPSILON)
    _add_tree(graph, tree, hub, after)
    _add_unknown(graph, bigram, hub, after, unknown_id)
    return graph.text(start)


def _add_tree(graph: Automaton, tree: str, hub: int, after: int) -> None:
    rows = [[int(field) for field in line.split()[:4]] for line in tree.splitlines()]
    arcs = [row for row in rows if len(row) == 4]
    root = rows[0][0]
    entered: dict[int, set[int]] = defaultdict(set)
    for _, target, phone, _ in arcs:
        entered[target].add(phone if phone <= len(KALDI_PHONES) else EPSILON)
    own: dict[int, int] = {root: hub}
    inside: dict[tuple[int, int], int] = {}
    for state, phones in entered.items():
        if phones == {EPSILON} or len(phones) > 1:
            own[state] = graph.state()
        for phone in phones - {EPSILON}:
            inside[state, phone] = graph.phone_state(KALDI_PHONES[phone - 1])
            if state in own:
                graph.arc(inside[state, phone], own[state], EPSILON)
            else:
                own[state] = inside[state, phone]
    for source, target, phone, word in arcs:
        if EPSILON < phone <= len(KALDI_PHONES):
            label = forward_id(KALDI_PHONES[phone - 1])
            graph.arc(own[source], inside[target, phone], label, word)
        else:
            graph.arc(own[source], own[target], EPSILON, word)
    for row in rows:
        if len(row) < 4:
            graph.arc(own[row[0]], after, EPSILON)


def _add_unknown(
    graph: Automaton, bigram: PhoneBigram, hub: int, after: int, unknown_id: int
) -> None:
    """Two phones or more in a row that phones often are, as one word."""
    names = [phone for phone in PHONES if phone != SILENCE]
    follows = bigram.following[1:, 1:] / bigram.following[1:, 1:].sum(axis=1, keepdims=True)
    begins = bigram.following[0, 1:] / bigram.following[0, 1:].sum()
    inner = {name: graph.phone_state(f"{name}_I") for name in names}
    last = {name: graph.phone_state(f"{name}_E") for name in names}
    for index, name in enumerate(names):
        graph.arc(last[name], after, EPSILON)
        first = graph.phone_state(f"{name}_B")
        graph.arc(hub, first, forward_id(f"{name}_B"), unknown_id, -log(begins[index]))
        for other in np.flatnonzero(follows[index] > _LIKELY):
            following = names[other]
            cost = -log(follows[index, other])
            for source in (first, inner[name]):
                graph.arc(
                    source, inner[following], forward_id(f"{following}_I"), cost=cost - log(0.8)
                )
                graph.arc(
                    source, last[following], forward_id(f"{following}_E"), cost=cost - log(0.2)
                )


def grammar(model: LanguageModel, word_id: Mapping[str, int], unknown_cost: float) -> str:
    """The language model as an automaton whose arcs without a label back off, as text."""
    histories = {ngram[:-1] for ngram in model.probability}
    histories |= {history[n:] for history in histories for n in range(1, len(history) + 1)}
    graph = Automaton()
    state: dict[Ngram, int] = {(START,): graph.state()}
    for history in sorted(histories - {(START,)}, key=lambda history: (len(history), history)):
        state[history] = graph.state()

    def longest(ngram: Ngram) -> int:
        while ngram not in state:
            ngram = ngram[1:]
        return state[ngram]

    for ngram, log_probability in model.probability.items():
        source, word = state[ngram[:-1]], ngram[-1]
        cost = -log_probability + (unknown_cost if word == UNKNOWN else 0.0)
        if word == END:
            graph.final[source] = cost
        else:
            target = longest(ngram[-(model.order - 1) :])
            graph.arc(source, target, word_id[word], word_id[word], cost)
    for history, source in state.items():
        if history:
            graph.arc(source, longest(history[1:]), EPSILON, cost=-model.backoff.get(history, 0.0))
    return graph.text(state[START,])


@dataclass(frozen=True, slots=True)
class Graphs:
    """Both automata as Vosk reads them, and the words by their labels."""

    words_to_states: bytes
    language: bytes
    word_of_label: dict[int, str]


def build(
    lexicon: Mapping[str, Sequence[Pronunciation]],
    model: LanguageModel,
    bigram: PhoneBigram,
    pause: float,
    unknown_cost: float,
    folder: Path,
) -> Graphs:
    """Build both graphs with labels that look-ahead can sort.

    Args:
        lexicon: Pronunciations of the vocabulary.
        model: The language model.
        bigram: Weighs the phones of unknown words.
        pause: Probability of a pause after a word.
        unknown_cost: Added to the cost of ``[unk]``.
        folder: For files on the way.
    """
    words = sorted({ngram[0] for ngram in model.probability if len(ngram) == 1} - {END, UNKNOWN})
    word_id = {word: number for number, word in enumerate([UNKNOWN, *words], 1)}
    tree = lexicon_tree(lexicon, word_id, folder)
    pairs = folder / "relabel"
    states = fst(
        "fstcompile | fstarcsort --sort_type=olabel | "
        f"fstconvert --fst_type=olabel_lookahead --save_relabel_opairs={pairs}",
        hmm_graph(tree, bigram, pause, word_id[UNKNOWN]).encode(),
    )
    language = fst(
        f"fstcompile | fstrelabel --relabel_ipairs={pairs} --relabel_opairs={pairs} | "
        "fstarcsort --sort_type=ilabel | fstconvert --fst_type=ngram",
        grammar(model, word_id, unknown_cost).encode(),
    )
    relabelled = dict(_pairs(pairs.read_text("utf-8").splitlines()))
    labels = {relabelled.get(number, number): word for word, number in word_id.items()}
    return Graphs(states, language, labels)


def _pairs(lines: Iterable[str]) -> Iterable[tuple[int, int]]:
    for line in lines:
        old, new = line.split()
        yield int(old), int(new)
