"""``stser-train tables``: the figures of all commands side by side, as Markdown and pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.errors import TrainingError
from training.figures import draw_coverage, draw_reliability
from training.held_out import CLASSIFIERS, HEARD, RELIABLE_AFTER

CORPORA: Final = {"ravdess": "RAVDESS", "emodb": "Emo-DB", "nemo": "nEMO"}
COMMANDS: Final = ("crossval", "left-out", "robustness", "baseline")
"""Whose results the page is made of."""


@dataclass(frozen=True, slots=True)
class Results:
    """What the commands found, as they wrote it."""

    crossval: Mapping[str, Any]
    left_out: Mapping[str, Any]
    robustness: Mapping[str, Any]
    baseline: Mapping[str, Any]
    name: str
    """Name and version of the shipped checkpoint."""
    notes: Mapping[str, Any]
    """Of its manifest."""

    @classmethod
    def read(cls, folders: Mapping[str, Path], name: str, notes: Mapping[str, Any]) -> Results:
        """From the folder of each of :data:`COMMANDS`.

        Raises:
            TrainingError: A file is missing.
        """
        found = {command: _read(folders[command], command) for command in COMMANDS}
        return cls(
            found["crossval"],
            found["left-out"],
            found["robustness"],
            found["baseline"],
            name,
            notes,
        )


def _read(folder: Path, command: str) -> Mapping[str, Any]:
    path = folder / f"{command}.json"
    try:
        return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]
    except OSError as error:
        raise TrainingError(
            f"{path}: not there. Run stser-train {command} --out {folder} first."
        ) from error


def tables(results: Results) -> str:
    """The page docs/results/training.md."""
    parts = [
        _INTRODUCTION.format(name=results.name),
        "## Speech classifier, UA\n\n" + _SPEECH + speech_table(results),
        "## Women and men\n\nUA after 10 utterances heard.\n\n" + gender_table(results),
        "## A corpus left out\n\n" + _LEFT_OUT + left_out_table(results),
        "## Noise, rooms, telephones\n\n" + _ROBUSTNESS + robustness_table(results),
        "## Text classifier\n\n" + _TEXT + text_table(results),
        "## Bimodal classifier and ensemble\n\n" + _PAIRS + pairs_table(results),
        "## Calibration and abstention\n\n" + _RELIABILITY + reliability_table(results) + _PICTURES,
    ]
    return "\n".join(parts)


_INTRODUCTION = """\
# Training results of {name}

Written by `stser-train tables` from the output of these commands, on the corpora named in
[LICENSE-weights.md](../../LICENSE-weights.md) below `$STSER_DATA` (`make model` runs the first,
`make figures` all others):

    stser-train fit --out stser_core/weights/stser-open
    stser-train crossval
    stser-train left-out
    stser-train robustness --each 6
    stser-train baseline
    stser-train tables

WA is the share of correct utterances, UA the mean recall over the four classes, ECE the expected
calibration error in 15 bins. All figures are speaker-independent: five folds by speaker over all three
corpora at once, validation speakers drawn from the training speakers, temperatures found on them.
Chance is .25.
"""
_SPEECH = """\
One STSER model a fold, trained on all three corpora. *n heard*: utterances of the unseen
speaker that the adaptation had heard before, without labels. The baseline (openSMILE
eGeMAPSv02 and an RBF support vector machine) is trained on each corpus alone; *oracle*
normalises with all of the test speaker's utterances, which no live monitor can know.

"""
_LEFT_OUT = """\
Trained on the other two corpora, tested on all of this one: another language, other actors, other
rooms. ECE after 10 utterances heard.

"""
_ROBUSTNESS = """\
The models of the five folds on their test speakers, 10 utterances heard in the same condition, one of
every six utterances of each speaker and class. Noises are recordings that training never heard; rooms
are recorded responses, where training knows synthetic ones. *Kept*: share of the clean UA.

"""
_TEXT = """\
Sentences of the corpora's `dev.csv`, lower-cased and without punctuation, as a recogniser
writes. The baseline reads the sentences as they are, punctuation included.

"""
_PAIRS = """\
No open corpus has English speech whose words carry the emotion, too. So each utterance of a
held-out speaker (10 heard) is paired with a held-out sentence of the same label. This says
whether fusion works, and nothing of how often voice and words agree in life.

"""
_RELIABILITY = """\
Speech: all corpora, 3 utterances heard. Coverage is the share of verdicts that are at least as confident
as the bound. Bounds that validation asks for, below which verdicts are more often wrong than right:
"""
_PICTURES = """
![Confidence against accuracy](../images/model/reliability.png)
![Accuracy against coverage](../images/model/coverage.png)

[coverage.csv](../images/model/coverage.csv) has the second picture as numbers.
"""


def speech_table(results: Results) -> str:
    """UA by corpus and utterances heard, baselines beside it, and ECE."""
    folds, others = results.crossval["speech"], results.baseline
    rows = [["corpus", *(f"{n} heard" for n in HEARD), "ECE", "baseline", "baseline, oracle"]]
    for corpus, name in CORPORA.items():
        theirs = [
            others[f"eGeMAPS + SVM, {corpus}, {kind}"]["UA"] for kind in ("plain", "speaker oracle")
        ]
        ours = [folds[f"{corpus}, {n} heard"] for n in HEARD]
        ece = ours[HEARD.index(10)]["ECE"]
        rows.append([name, *map(_f, (*(each["UA"] for each in ours), ece, *theirs))])
    spread = ", ".join(
        f"{name} {folds[f'{corpus}, 0 heard']['UA sd']:.3f}" for corpus, name in CORPORA.items()
    )
    return _table(rows) + f"\nDeviation of UA over the folds, nothing heard: {spread}.\n"


def gender_table(results: Results) -> str:
    """UA by corpus and gender."""
    folds = results.crossval["speech"]
    genders = sorted({key.split(", ")[2] for key in folds if key.count(", ") == 2})
    rows = [["corpus", *genders]]
    for corpus, name in CORPORA.items():
        found = [folds.get(f"{corpus}, 10 heard, {gender}") for gender in genders]
        rows.append([name, *("-" if each is None else _f(each["UA"]) for each in found)])
    return _table(rows)


def left_out_table(results: Results) -> str:
    """UA by corpus left out and utterances heard."""
    found = results.left_out["speech"]
    rows = [["tested on", *(f"{n} heard" for n in HEARD), "ECE"]]
    for corpus, name in CORPORA.items():
        ours = [found[f"{corpus}, {n} heard"] for n in HEARD]
        rows.append([name, *(_f(each["UA"]) for each in ours), _f(ours[HEARD.index(10)]["ECE"])])
    return _table(rows)


def robustness_table(results: Results) -> str:
    """UA by condition and corpus, and what is kept of the clean one."""
    clean = results.robustness["clean"]["UA"]
    rows = [["", *CORPORA.values(), "mean", "kept"]]
    for condition, found in results.robustness.items():
        rows.append(
            [
                condition,
                *(_f(found[corpus]) for corpus in CORPORA),
                _f(found["UA"]),
                f"{100 * found['UA'] / clean:.0f} %",
            ]
        )
    return _table(rows)


def text_table(results: Results) -> str:
    """WA and UA of the text classifier on test sentences."""
    rows = [
        [
            "corpus",
            "sentences",
            "WA",
            "UA",
            "TF-IDF on this corpus, UA",
            "TF-IDF on all corpora, UA",
        ]
    ]
    for corpus, found in results.notes["text_test"].items():
        theirs = [
            results.baseline[f"TF-IDF + logistic regression, {corpus}, {kind}"]["UA"]
            for kind in ("own corpus", "all corpora")
        ]
        rows.append(
            [corpus, str(found["sentences"]), *map(_f, (found["WA"], found["UA"], *theirs))]
        )
    return _table(rows)


def pairs_table(results: Results) -> str:
    """WA, UA and ECE of each classifier and of their average on pairs."""
    rows = [["", "WA", "UA", "ECE"]]
    for name in (*CLASSIFIERS, "STSER"):
        found = results.crossval["pairs"][name]
        rows.append([name, *(_f(found[key]) for key in ("WA", "UA", "ECE"))])
    return _table(rows)


def reliability_table(results: Results) -> str:
    """Bounds, calibration errors, and accuracy at some coverages."""
    voice, bounds = results.crossval["reliability"], results.crossval["pairs"]["bounds"]
    rows = [["bound on confidence", "speech: coverage", "right", "pairs: coverage", "right"]]
    pairs = {row[0]: row for row in results.crossval["pairs"]["STSER"]["coverage"]}
    for bound, covered, right in voice["coverage"]:
        if round(1000 * bound) % 50 == 0 and bound in pairs:
            rows.append([f"{bound:.2f}", *map(_f, (covered, right, *pairs[bound][1:]))])
    return (
        f"confidence {voice['least confidence']:.2f} (speech alone), "
        f"{bounds['least confidence']:.2f} (pairs), agreement {bounds['least agreement']:.2f} (pairs).\n"
        f"ECE: speech {voice['ECE']:.3f} (after {RELIABLE_AFTER} utterances heard), a corpus left out "
        f"{results.left_out['reliability']['ECE']:.3f}, STSER on pairs "
        f"{results.crossval['pairs']['STSER']['ECE']:.3f}.\n\n" + _table(rows)
    )


def draw(results: Results, folder: Path) -> None:
    """Reliability diagram and coverage as PNG and SVG, coverage as CSV, too."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {
        "speech, held-out speakers": results.crossval["reliability"],
        "speech, corpus left out": results.left_out["reliability"],
        "pairs, STSER": results.crossval["pairs"]["STSER"],
    }
    draw_reliability(folder / "reliability", {k: v["diagram"] for k, v in kinds.items()})
    draw_coverage(folder / "coverage", {k: v["coverage"] for k, v in kinds.items()})
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["verdicts", "least confidence", "coverage", "accuracy"])
    for kind, found in kinds.items():
        lines.writerows(
            [kind, f"{bound:g}", f"{share:.4f}", f"{right:.4f}"]
            for bound, share, right in found["coverage"]
        )
    (folder / "coverage.csv").write_text(text.getvalue(), "utf-8")


def _table(rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body, ""])


def _f(value: float) -> str:
    return f"{value:.3f}"
