"""``stser-train crossval --corpus iemocap``: the paper's protocol, from a corpus to its tables.

Chen and Zhao, section 3: five folds by session, trained on four and tested on the fifth; a fifth of
the training utterances, in whole dialogues, chooses when to stop. Each fold is written when it is
done, and its state meanwhile; a run that was killed goes on from there and comes to the same result.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from stser_core.sizes import StserSettings
from training.baseline import session_baseline
from training.compute import Compute
from training.errors import TrainingError
from training.folds import Fold, session_folds
from training.front_end import extract
from training.paired_data import PairedData
from training.paper_training import Keep, Tested, train_fold
from training.run_record import RECORD, begin, describe_corpus
from training.settings import PaperSettings
from training.speech_data import PLAIN, SpeechData
from training.text_encoder import TextEncoder
from training.utterance import Utterance
from training.whole_file import write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PaperRun:
    """Where a run reads, computes and writes."""

    root: Path
    """Folder of the corpus."""
    out: Path
    """Folder of the results; one and the same for all processes."""
    cache: Path
    """Folder for log-mel."""
    compute: Compute
    """Device, precision and processes."""
    words: str = "reference"
    """Where the words come from: ``reference``, or the recogniser's name and digest."""
    save_every_s: float = 30.0
    """Longest work that a kill costs, beside the epoch that was under way."""


def run_folds(
    utterances: Sequence[Utterance],
    encoder: TextEncoder,
    settings: PaperSettings,
    run: PaperRun,
) -> list[dict[str, Any]]:
    """Train and test every fold that the results folder does not hold yet.

    Args:
        utterances: With audio, text, session and dialogue.
        encoder: Where the tmodel starts from.
        settings: How to train.
        run: Where.

    Returns:
        Each fold as ``fold-N.json`` holds it: session, validation dialogues, curves, and for each
        test utterance its label and posteriors.

    Raises:
        CorpusError: The utterances do not make folds by session.
        TrainingError: The results folder holds another run, or is not common to all machines.
    """
    folds = session_folds(utterances, settings.validation_share, settings.seed)
    with run.compute.main_first():
        if run.compute.is_main:
            begin(run.out, _describe(utterances, encoder, settings, run))
        elif not (run.out / RECORD).is_file():
            raise TrainingError(
                f"{run.out}: the main process began there, and it is not to be seen here. --out must be "
                "a folder that all machines share."
            )
        todo = [n for n in run.compute.folds(len(folds)) if not _path(run, n).is_file()]
        data = read_data(utterances, encoder, settings, run.cache) if todo else None
    mine = run.compute.folds(len(folds))
    progress = tqdm(mine, desc="folds", position=0, disable=not run.compute.is_main)
    with logging_redirect_tqdm():
        for place in progress:
            if data is not None and place in todo:
                _run_fold(data, encoder, folds[place], settings, run, place)
            logger.info(
                "fold %d of %d: %s",
                place + 1,
                len(folds),
                "done" if place in todo else "done before",
            )
    run.compute.wait()
    return [json.loads(_path(run, place).read_text("utf-8")) for place in range(len(folds))]


def run_baseline(
    utterances: Sequence[Utterance], settings: PaperSettings, root: Path, cache: Path
) -> list[dict[str, Any]]:
    """The baselines on the same folds: each fold's test utterances, with what they were taken for.

    Raises:
        CorpusError: The utterances do not make folds by session, or audio cannot be decoded.
    """
    folds = session_folds(utterances, settings.validation_share, settings.seed)
    judged = session_baseline(utterances, folds, cache)
    return [
        {
            "session": utterances[fold.test[0]].session,
            "test": [
                {
                    **_of_utterance(utterances[index], root),
                    "baseline": {name: labels[row] for name, labels in by_name.items()},
                }
                for row, index in enumerate(fold.test)
            ],
        }
        for fold, by_name in zip(folds, judged, strict=True)
    ]


def _path(run: PaperRun, place: int) -> Path:
    return run.out / f"fold-{place + 1}.json"


def _describe(
    utterances: Sequence[Utterance], encoder: TextEncoder, settings: PaperSettings, run: PaperRun
) -> dict[str, Any]:
    """All that the result depends on."""
    return {
        "settings": dataclasses.asdict(settings),
        "corpus": describe_corpus(utterances, run.root),
        "words": run.words,
        "text_encoder": encoder.digest,
        "device": run.compute.device.type,
        "mixed_precision": run.compute.precision,
        "threads": torch.get_num_threads(),
        "processes_to_a_batch": run.compute.sharers,
    }


def _run_fold(
    data: PairedData,
    encoder: TextEncoder,
    fold: Fold,
    settings: PaperSettings,
    run: PaperRun,
    place: int,
) -> None:
    """Train and test one fold, or go on where it was killed, and write it."""
    own = dataclasses.replace(settings, seed=settings.seed + place + 1)
    torch.manual_seed(own.seed)
    sizes = StserSettings(
        speech=own.speech,
        text=dataclasses.replace(encoder.sizes, dropout=own.text_dropout),
        classifier_dropout=own.classifier_dropout,
    )
    model = StserModel(sizes)
    encoder.load_into(model)
    keep = Keep(run.out / f"fold-{place + 1}.safetensors", run.save_every_s)
    tested = train_fold(model, data, fold, own, run.compute, keep)
    if run.compute.writes:
        record = _record(data.utterances, fold, tested, run.root)
        write_whole(_path(run, place), json.dumps(record) + "\n")
        keep.path.unlink(missing_ok=True)


def read_data(
    utterances: Sequence[Utterance], encoder: TextEncoder, settings: PaperSettings, cache: Path
) -> PairedData:
    """Log-mel and tokens of all utterances."""
    mels = extract(utterances, settings.log_mel, cache)
    speech = SpeechData(utterances, {PLAIN: mels}, settings.adaptation)
    return PairedData(speech, encoder.tokenizer(), settings)


def _record(
    utterances: Sequence[Utterance], fold: Fold, tested: Tested, root: Path
) -> dict[str, Any]:
    return {
        "session": utterances[fold.test[0]].session,
        "labels": [emotion.value for emotion in EMOTIONS],
        "train_utterances": len(fold.train),
        "validation_utterances": len(fold.validation),
        "validation_dialogues": sorted({utterances[i].dialogue for i in fold.validation}),
        "curves": [dataclasses.asdict(epoch) for epoch in tested.curves],
        "test": [
            {
                **_of_utterance(utterances[index], root),
                "posteriors": {
                    name: values[row].tolist() for name, values in tested.posteriors.items()
                },
            }
            for row, index in enumerate(fold.test)
        ],
    }


def _of_utterance(utterance: Utterance, root: Path) -> dict[str, str]:
    audio = utterance.audio
    path = "" if audio is None else audio.relative_to(root).as_posix()
    return {"path": path, "speaker": utterance.speaker, "label": utterance.label.value}
