"""``stser-train distil``: the whole way from a teacher's folder to an ALBERT's, step by step."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AlbertModel

from stser_core.checkpoint import TOKENIZER
from stser_core.text import TextTokenizer
from training.distil import student
from training.distil.learn import learn, student_states
from training.distil.sentences import Sentence, SentenceBatches, emotion_names, training_sentences
from training.distil.teacher import MAX_TOKENS, Teacher, mean_state, opinions, tune
from training.loop import text_accuracy
from training.mishearing import Confusions
from training.open_corpora import TextSplit, generator, read_text, text_files
from training.opinions import write_opinions
from training.run_record import begin, digest_of
from training.settings import OpenSettings

logger = logging.getLogger(__name__)

ALBERT, OPINIONS, _TEACHER = "albert", "opinions.safetensors", "teacher"


@dataclass(frozen=True, slots=True)
class _Corpora:
    """What every step of a run reads."""

    settings: OpenSettings
    split: TextSplit
    sentences: list[Sentence]
    confusions: Confusions

    def batches(self, tokenizer: TextTokenizer, purpose: int) -> SentenceBatches:
        text, distil = self.settings.text, self.settings.distil
        return SentenceBatches(
            self.sentences,
            tokenizer,
            dict(zip(text.corpora, text.corpus_shares, strict=True)),
            distil.batch,
            distil.no_class,
            text.mishearing,
            self.confusions,
            generator(self.settings, 7, purpose),
        )

    def accuracy(self, logits: NDArray[np.float32]) -> float:
        """Of logits of the validation sentences."""
        return text_accuracy(logits, self.split.data, self.split.validation)


def distil(teacher_folder: Path, root: Path, out: Path, settings: OpenSettings) -> Path:
    """Tune the teacher, ask its opinions, and teach the student; what ``out`` holds is not redone.

    Args:
        teacher_folder: A BERT sentence encoder as transformers saves it, with ``tokenizer.json``.
        root: Folder of the text corpora.
        out: Folder of the results: ``albert/`` and ``opinions.safetensors`` for
            ``stser-train fit``, and the tuned teacher.
        settings: All of them.

    Returns:
        The ALBERT's folder.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: The teacher cannot be used, or ``out`` holds another run.
    """
    torch.manual_seed(settings.seed)
    tokenizer = TextTokenizer.load(teacher_folder / TOKENIZER, MAX_TOKENS)
    split = read_text(root, settings, tokenizer)
    sentences = training_sentences(root, settings.text.corpora, split)
    corpora = _Corpora(settings, split, sentences, Confusions.read())
    teacher = Teacher.of_folder(teacher_folder, len(emotion_names(sentences)))
    begin(out, _decided_by(teacher_folder, root, settings))
    if not teacher.load(out / _TEACHER):
        _tune(teacher, tokenizer, corpora)
        teacher.save(out / _TEACHER)
    if not (out / OPINIONS).is_file():
        asked = _asked(split, settings)
        half = settings.distil.teacher.half_precision
        logits = opinions(teacher, [split.data.words[i] for i in asked], tokenizer, half=half)
        write_opinions(out / OPINIONS, split.data, asked, logits)
    if not (out / ALBERT / TOKENIZER).is_file():
        _teach(teacher, teacher_folder, tokenizer, corpora, out / ALBERT)
    return out / ALBERT


def _decided_by(teacher_folder: Path, root: Path, settings: OpenSettings) -> dict[str, Any]:
    """All that the student depends on."""
    text = settings.text
    return {
        "teacher": digest_of(sorted(path for path in teacher_folder.iterdir() if path.is_file())),
        "corpora": digest_of(text_files(root, settings)),
        "seed": settings.seed,
        "validation_share": settings.validation_share,
        "text": {
            "corpora": text.corpora,
            "corpus_shares": text.corpus_shares,
            "tests": text.tests,
            "mishearing": asdict(text.mishearing),
        },
        "distil": asdict(settings.distil),
    }


def _tune(teacher: Teacher, tokenizer: TextTokenizer, corpora: _Corpora) -> None:
    split, settings = corpora.split, corpora.settings.distil.teacher
    words = [split.data.words[i] for i in split.validation]

    def validate() -> float:
        half = settings.half_precision
        return corpora.accuracy(opinions(teacher, words, tokenizer, half=half))

    best = tune(teacher, iter(corpora.batches(tokenizer, 0)), validate, settings)
    logger.info("teacher: UA %.3f on validation sentences", best)


def _asked(split: TextSplit, settings: OpenSettings) -> list[int]:
    """So many training sentences of each corpus and class that none is asked about in vain."""
    cells: dict[tuple[str, int], list[int]] = defaultdict(list)
    for at in generator(settings, 7, 1).permutation(split.train):
        cells[split.data.utterances[at].corpus, int(split.data.labels[at])].append(int(at))
    return sorted(at for cell in cells.values() for at in cell[: settings.distil.opinions])


def _teach(
    teacher: Teacher, folder: Path, tokenizer: TextTokenizer, corpora: _Corpora, out: Path
) -> None:
    settings = corpora.settings.distil.student
    description = json.loads((folder / TOKENIZER).read_text("utf-8"))
    counts = student.piece_counts((s.words for s in corpora.sentences), tokenizer)
    kept = student.kept_pieces(description, counts, settings.least_count)
    smaller = student.smaller_tokenizer(description, kept)
    albert = student.untaught(teacher.encoder, kept, settings)
    left = student.fit_table(
        albert, teacher.encoder, kept, counts, settings, generator(corpora.settings, 7, 2)
    )
    logger.info("table: %d word pieces, %.1f %% of variance lost", len(kept), 100 * left)
    own = TextTokenizer.of(json.dumps(smaller), settings.max_tokens)

    def validate() -> float:
        return corpora.accuracy(_judged(albert, teacher, own, corpora.split))

    batches = iter(corpora.batches(own, 3))
    accuracy = learn(albert, teacher, kept, batches, validate, settings)
    logger.info("student under the teacher's heads: UA %.3f on validation sentences", accuracy)
    student.save(albert, smaller, out)


@torch.inference_mode()
def _judged(
    albert: AlbertModel, teacher: Teacher, tokenizer: TextTokenizer, split: TextSplit
) -> NDArray[np.float32]:
    logits = np.zeros((len(split.validation), 4), np.float32)
    for at, ids, mask in split.data.plain(split.validation, tokenizer):
        classes, _ = teacher.heads(mean_state(student_states(albert, ids, mask), mask))
        logits[at] = classes.numpy()
    return logits
