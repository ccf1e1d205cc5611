"""The whole recipe, from corpora to the folder that the package ships."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.errors import TrainingError
from training.recogniser import graph, synthesis
from training.recogniser.export import export, scratch
from training.recogniser.language_model import language_model, ngram_counts
from training.recogniser.lexicon import pronunciations
from training.recogniser.lfmmi import phone_bigram
from training.recogniser.phone_reader import opinions
from training.recogniser.phone_teacher import PhoneTeacher
from training.recogniser.prepare import Material, Prepared, material, prepare
from training.recogniser.sentences import vocabulary, word_counts
from training.recogniser.settings import RecogniserSettings
from training.recogniser.trainer import Run, checkpoint_path, load_network, train
from training.run_record import begin
from training.whole_file import write_whole

logger = logging.getLogger(__name__)

VALIDATION: Final = "validation.json"
"""The objective after each epoch of a run, and the epoch that was chosen by it."""


def check_programs() -> None:
    """Say in one line which Debian packages are missing.

    Raises:
        TrainingError: Some are.
    """
    missing = synthesis.missing_packages() + graph.missing_packages()
    if missing:
        raise TrainingError(
            f"Run this once, then try again:  sudo apt-get install -y --no-install-recommends {' '.join(missing)}"
        )


def build(
    root: Path,
    cache: Path,
    run_folder: Path,
    out: Path,
    settings: RecogniserSettings,
    whisper: Path | None = None,
) -> None:
    """Prepare, train, choose and export; each step goes on where it was stopped.

    Args:
        root: Folder of the corpora.
        cache: Folder for features that are computed once.
        run_folder: Folder for checkpoints.
        out: Folder of the finished model.
        settings: The recipe.
        whisper: Folder of a teacher; without one, training starts from nothing and takes much longer.

    Raises:
        CorpusError: A corpus is missing or damaged.
        TrainingError: A program is missing, the teacher cannot be used, or the run's folder holds another run.
    """
    check_programs()
    teacher = None if whisper is None else PhoneTeacher(whisper, settings.teacher)
    begin(run_folder, _trained_by(settings, teacher), "--run")
    found = material(root, settings)
    prepared = prepare(root, cache, settings, found, teacher)
    run = training_run(prepared, run_folder, settings)
    theirs = None if teacher is None else opinions(prepared, run, settings)
    validated = train(prepared, run, settings, theirs)
    epoch = best_epoch(validated, run_folder)
    logger.info("epoch %d is the best on validation (%.4f)", epoch, validated[epoch - 1])
    write_whole(
        run_folder / VALIDATION, json.dumps({"objective": validated, "epoch": epoch}, indent=1)
    )
    write_model(found, run, checkpoint_path(run_folder, epoch), out, settings)


def best_epoch(validated: Sequence[float], run_folder: Path) -> int:
    """The first epoch, counted from 1, with the least objective on validation.

    Raises:
        TrainingError: An objective is no finite number.
    """
    for epoch, objective in enumerate(validated, 1):
        if not np.isfinite(objective):
            raise TrainingError(
                f"{run_folder}: the objective after epoch {epoch} is {objective}: the weights are worth nothing. "
                "Lower training.learning_rate and give --run another folder."
            )
    return int(np.argmin(validated)) + 1


def _trained_by(settings: RecogniserSettings, teacher: PhoneTeacher | None) -> dict[str, Any]:
    """What decides the network; words and n-grams may change from one export of it to the next, not the corpora."""
    return {
        "seed": settings.seed,
        "speech": asdict(settings.speech),
        "said": list(settings.language.corpora),
        "network": asdict(settings.network),
        "training": asdict(settings.training),
        "teacher": None if teacher is None else asdict(settings.teacher) | {"of": teacher.digest},
    }


def training_run(prepared: Prepared, folder: Path, settings: RecogniserSettings) -> Run:
    """Pronunciations of all that is said in training or validation, and what phone follows which."""
    features = [prepared.training(0), prepared.valid()]
    lexicon = pronunciations({word for part in features for words in part.words for word in words})
    rng = np.random.default_rng((settings.seed, 5))
    return Run(folder, lexicon, phone_bigram(features[0].words, lexicon, rng))


def write_model(
    found: Material, run: Run, checkpoint: Path, out: Path, settings: RecogniserSettings
) -> None:
    """Graphs of the vocabulary and the language model, with a trained network, as Vosk reads them."""
    language = settings.language
    weights = dict(zip(language.corpora, language.weights, strict=True)) | {
        "read": language.read_weight
    }
    words = vocabulary(word_counts(found.said, weights), language.words)
    model = language_model(
        ngram_counts(found.said, weights, words, language.order, language.nothing), language
    )
    with scratch() as folder:
        graphs = graph.build(
            pronunciations(words),
            model,
            run.bigram,
            language.silence,
            language.unknown_cost,
            Path(folder),
        )
    size = export(out, load_network(checkpoint, settings.network), graphs)
    logger.info(
        "%s: %d words, %d n-grams, %.2f MB", out, len(words), len(model.probability), size / 1e6
    )
