"""``stser-train crossval --corpus iemocap``: the paper's protocol, from a corpus to its tables.

Chen and Zhao, section 3: five folds by session, trained on four and tested on the fifth; a fifth of
the training utterances, in whole dialogues, chooses when to stop. Each fold is written when it is
done; a run that was killed goes on with the next one and comes to the same result.
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

from stser_core.fusion import StserModel
from stser_core.labels import EMOTIONS
from stser_core.sizes import StserSettings
from training.folds import Fold, session_folds
from training.front_end import extract
from training.paired_data import PairedData
from training.paper_training import Tested, train_fold
from training.run_record import begin, corpus_hash, write_whole
from training.settings import PaperSettings
from training.speech_data import SpeechData
from training.text_encoder import TextEncoder
from training.utterance import Utterance

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PaperRun:
    """Where a run reads and writes."""

    root: Path
    """Folder of the corpus."""
    out: Path
    """Folder of the results."""
    cache: Path
    """Folder for log-mel."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""


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
        TrainingError: The results folder holds another run.
    """
    folds = session_folds(utterances, settings.validation_share, settings.seed)
    begin(
        run.out,
        {
            "settings": dataclasses.asdict(settings),
            "corpus": {
                "utterances": len(utterances),
                "hash": corpus_hash(utterances, run.root),
            },
            "text_encoder": encoder.digest,
            "device": run.device,
        },
    )
    data: PairedData | None = None
    for number, fold in enumerate(folds, start=1):
        path = run.out / f"fold-{number}.json"
        if path.is_file():
            logger.info("fold %d of %d: done before", number, len(folds))
            continue
        data = data or read_data(utterances, encoder, settings, run.cache)
        own = dataclasses.replace(settings, seed=settings.seed + number)
        torch.manual_seed(own.seed)
        sizes = StserSettings(
            speech=own.speech, text=encoder.sizes, classifier_dropout=own.classifier_dropout
        )
        model = StserModel(sizes)
        encoder.load_into(model)
        tested = train_fold(model, data, fold, own, run.device)
        write_whole(path, json.dumps(_record(utterances, fold, tested, run.root)) + "\n")
        logger.info("fold %d of %d: done", number, len(folds))
    return [
        json.loads((run.out / f"fold-{number}.json").read_text("utf-8"))
        for number in range(1, len(folds) + 1)
    ]


def read_data(
    utterances: Sequence[Utterance], encoder: TextEncoder, settings: PaperSettings, cache: Path
) -> PairedData:
    """Log-mel and tokens of all utterances."""
    mels = extract(utterances, settings.log_mel, cache)
    speech = SpeechData(utterances, {1.0: mels}, settings.adaptation)
    return PairedData(speech, encoder.tokenizer(), settings)


def _record(
    utterances: Sequence[Utterance], fold: Fold, tested: Tested, root: Path
) -> dict[str, Any]:
    def path_of(index: int) -> str:
        audio = utterances[index].audio
        return "" if audio is None else audio.relative_to(root).as_posix()

    return {
        "session": utterances[fold.test[0]].session,
        "labels": [emotion.value for emotion in EMOTIONS],
        "train_utterances": len(fold.train),
        "validation_utterances": len(fold.validation),
        "validation_dialogues": sorted({utterances[i].dialogue for i in fold.validation}),
        "curves": [dataclasses.asdict(epoch) for epoch in tested.curves],
        "test": [
            {
                "path": path_of(index),
                "speaker": utterances[index].speaker,
                "label": utterances[index].label.value,
                "posteriors": {
                    name: values[row].tolist() for name, values in tested.posteriors.items()
                },
            }
            for row, index in enumerate(fold.test)
        ],
    }
