"""Figures of one or more models as JSON, and as the page ``docs/results/recogniser.md``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from stser_core.ensemble import Stser
from stser_core.labels import EMOTIONS
from training.metrics import confusion, unweighted_accuracy, weighted_accuracy
from training.recogniser.evaluation import Recogniser, Score, in_quiet_room, score
from training.recogniser.evaluation_sets import LabelledSentence, evaluation_sets, labelled_speech
from training.recogniser.settings import RecogniserSettings
from training.recogniser.speech import Split

logger = logging.getLogger(__name__)

LABELLED: Final = ("meld_text", "goemotions")
"""Text corpora whose sentences are said, recognised and judged."""

Figures = dict[str, Any]


def measure(
    recognisers: Sequence[Recogniser],
    root: Path,
    settings: RecogniserSettings,
    side: Split,
    limit: int = 0,
) -> list[Figures]:
    """Figures of each model on the same audio; only the test side has the text branch's.

    Of each set at most ``limit`` utterances are recognised, taken at even distances; 0 takes all.
    """
    results: list[Figures] = [
        {
            "model": recogniser.folder.name,
            "words": len(recogniser.words) - 2,
            "size_mb": recogniser.size_bytes / 1e6,
            "load_ms": 1000 * recogniser.load_s,
            "sets": {},
            "text": {},
        }
        for recogniser in recognisers
    ]
    for name, utterances in evaluation_sets(root, settings, side).items():
        kept = list(utterances())
        kept = kept[:: -(-len(kept) // limit)] if limit else kept
        for recogniser, result in zip(recognisers, results, strict=True):
            scores = score(recogniser, kept)
            result["sets"][name] = {group: _row(one) for group, one in scores.items()}
            logger.info("%s, %s: %s", result["model"], name, result["sets"][name][""])
    if side == "test":
        text_branch = Stser.load(classifiers=("text",))
        for corpus in LABELLED:
            said = labelled_speech(root, corpus, settings)
            for recogniser, result in zip(recognisers, results, strict=True):
                result["text"][corpus] = worth_of_words(recogniser, text_branch, said)
    return results


def _row(one: Score) -> dict[str, float]:
    return {
        "utterances": one.utterances,
        "words": one.words,
        "wer": one.word_error_rate,
        "unknown": one.unknown / max(1, one.words),
        "exact": one.exact / max(1, one.utterances),
        "calibration_error": one.calibration_error(),
        "confidence": float(np.mean([c for c, _ in one.confidences])) if one.confidences else 0.0,
        "precision": float(np.mean([ok for _, ok in one.confidences])) if one.confidences else 0.0,
        "rtf": one.real_time_factor,
    }


def worth_of_words(
    recogniser: Recogniser, text_branch: Stser, said: Sequence[LabelledSentence]
) -> dict[str, float]:
    """WA and UA of the text classifier on the words as written and as recognised.

    A sentence of which nothing was recognised counts as wrong: the classifier has nothing to read.
    """
    rng = np.random.default_rng(0)
    truth = np.array([one.label for one in said])
    written = np.array([_emotion(text_branch, one.words) for one in said])
    heard = np.array(
        [
            _emotion(
                text_branch,
                [
                    word.word
                    for word in recogniser.recognise(in_quiet_room(one.spoken.samples, rng))
                ],
                otherwise=(one.label + 1) % len(EMOTIONS),
            )
            for one in said
        ]
    )
    matrices = {"written": confusion(truth, written), "recognised": confusion(truth, heard)}
    accuracies = {f"wa_{name}": weighted_accuracy(m) for name, m in matrices.items()}
    recalls = {f"ua_{name}": unweighted_accuracy(m) for name, m in matrices.items()}
    return {"sentences": len(said), **accuracies, **recalls}


def _emotion(text_branch: Stser, words: Sequence[str], otherwise: int = 0) -> int:
    verdict = text_branch.classify(None, words)
    if not verdict.modalities:
        return otherwise
    return int(np.argmax(verdict.posterior.probabilities))


def page(results: Sequence[Figures], command: str) -> str:
    """All figures as Markdown."""
    names = [str(result["model"]) for result in results]
    lines = ["# The embedded recogniser", "", f"Written by `{command}`.", ""]
    lines += [
        "Audio at -24 dBFS with a quiet room of -70 dBFS around it, one pass, one thread. Word error rate (WER)",
        "counts words outside the vocabulary as errors; `[unk]` is left out of what was heard, as the monitor does.",
        "",
    ]
    lines += _table(
        ["", *names],
        [
            ["words", *(f"{result['words']:,}" for result in results)],
            ["size, MB", *(f"{result['size_mb']:.1f}" for result in results)],
            ["load time, ms", *(f"{result['load_ms']:.0f}" for result in results)],
            ["real-time factor", *(f"{_mean_rtf(result):.3f}" for result in results)],
        ],
    )
    lines += ["## Word error rate", ""]
    rows = []
    for name, groups in results[0]["sets"].items():
        whole = groups[""]
        rows.append(
            [
                name,
                f"{whole['utterances']}",
                *(
                    f"{r['sets'][name]['']['wer']:.1%} ({r['sets'][name]['']['unknown']:.1%})"
                    for r in results
                ),
            ]
        )
    lines += ["In brackets: spoken words that the model does not have.", ""]
    lines += _table(["set", "utterances", *names], rows)
    lines += ["By group:", ""]
    lines += _table(
        ["set", "group", *names],
        [
            [name, group, *(f"{r['sets'][name][group]['wer']:.1%}" for r in results)]
            for name, groups in results[0]["sets"].items()
            for group in groups
            if group
        ],
    )
    lines += [
        "## Confidence",
        "",
        "Mean confidence of a word, share of the words heard that were said, and calibration error (ten bins).",
        "",
    ]
    lines += _table(
        ["set", *names],
        [
            [name, *(_confidence(r["sets"][name][""]) for r in results)]
            for name in results[0]["sets"]
        ],
    )
    lines += [
        "## What the words are worth",
        "",
        "WA / UA of the packaged text classifier on sentences said by unseen voices, as written and as recognised.",
        "",
    ]
    lines += _table(
        ["corpus", "sentences", "as written", *names],
        [
            [
                corpus,
                f"{row['sentences']}",
                f"{row['wa_written']:.3f} / {row['ua_written']:.3f}",
                *(
                    f"{r['text'][corpus]['wa_recognised']:.3f} / {r['text'][corpus]['ua_recognised']:.3f}"
                    for r in results
                ),
            ]
            for corpus, row in results[0]["text"].items()
        ],
    )
    return "\n".join(lines).rstrip() + "\n"


def _mean_rtf(result: Figures) -> float:
    return float(np.mean([groups[""]["rtf"] for groups in result["sets"].values()]))


def _confidence(row: Mapping[str, float]) -> str:
    return f"{row['confidence']:.2f}, {row['precision']:.2f}, {row['calibration_error']:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]
