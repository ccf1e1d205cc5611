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
from training.held_out import CLASSIFIERS, HEARD, of_one_mood
from training.robustness import FOLDS

CORPORA: Final = {"ravdess": "RAVDESS", "emodb": "Emo-DB", "nemo": "nEMO"}
Figures = Mapping[str, Any]
COMMANDS: Final = ("crossval", "left-out", "held-out", "robustness", "baseline")
"""Whose results the page is made of."""


@dataclass(frozen=True, slots=True)
class Results:
    """What the commands found, as they wrote it."""

    crossval: Mapping[str, Any]
    left_out: Mapping[str, Any] | None
    """None where it was not measured, and so on."""
    held_out: Mapping[str, Any] | None
    robustness: Mapping[str, Any] | None
    baseline: Mapping[str, Any]
    name: str
    """Name and version of the shipped checkpoint."""
    notes: Mapping[str, Any]
    """Of its manifest."""

    @classmethod
    def read(cls, folder: Path, name: str, notes: Mapping[str, Any]) -> Results:
        """From the folders of :data:`COMMANDS` in one folder.

        Raises:
            TrainingError: ``crossval`` or ``baseline`` is missing, a file is damaged, ``robustness`` does
                not say what it judged, or ``held-out`` judged another checkpoint.
        """
        found = {command: _read(folder / command / f"{command}.json") for command in COMMANDS}
        crossval, baseline = found["crossval"], found["baseline"]
        if crossval is None or baseline is None:
            missing = "crossval" if crossval is None else "baseline"
            raise TrainingError(f"{folder / missing}: no results. Run stser-train {missing} first.")
        if found["robustness"] is not None and "judged" not in found["robustness"]:
            raise TrainingError(
                f"{folder / 'robustness'}: does not say what was judged, as earlier versions did not. "
                "Run stser-train robustness again."
            )
        held_out = found["held-out"]
        if held_out is not None and held_out.get("judged") != name:
            raise TrainingError(
                f"{folder / 'held-out'}: judged {held_out.get('judged', 'what it does not say')}; the page "
                f"is on {name}. Run stser-train held-out without --checkpoint."
            )
        return cls(
            crossval,
            found["left-out"],
            held_out,
            found["robustness"],
            baseline,
            name,
            notes,
        )


def _read(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]
    except ValueError as error:
        raise TrainingError(
            f"{path}: no results can be read ({error}). Run stser-train {path.stem} again."
        ) from error


def tables(results: Results) -> str:
    """The page docs/results/training.md."""
    return "\n".join(
        [
            _INTRODUCTION.format(name=results.name),
            *sections(results, "##"),
            pictures("../"),
            "## Sounds that are no speech\n\n" + unlike(results),
        ]
    )


def sections(results: Results, level: str) -> list[str]:
    """The tables that the model card has, too, each with its heading and what it means."""
    return [
        f"{level} Speech classifier, UA\n\n"
        + _SPEECH
        + speech_table(results.crossval["speech"], results.baseline),
        f"{level} Speakers set apart\n\n" + held_out(results),
        f"{level} A corpus left out\n\n" + left_out(results),
        f"{level} Noise, rooms, telephones\n\n" + robustness(results),
        f"{level} Text classifier\n\n" + _TEXT + text_table(results),
        f"{level} Bimodal classifier and ensemble\n\n" + _PAIRS + pairs_table(results),
        f"{level} Calibration and abstention\n\n" + _RELIABILITY + reliability(results),
    ]


_INTRODUCTION = """\
# Training results of {name}

Written by `stser-train tables` from the output of these commands, on the corpora named in
[LICENSE-weights.md](../../LICENSE-weights.md) below `$STSER_DATA` ([docs/teacher.md](../teacher.md) on WHISPER;
`make text-model` finds MINILM and distils, `make model TAUGHT=...` trains, `make figures TAUGHT=...` measures):

    stser-train distil --teacher MINILM --out runs/distil
    stser-train pretrain --teacher WHISPER --config config/train_taught.toml --read runs/read.npz \\
        --out runs/smodel.safetensors
    stser-train hear --teacher WHISPER --config config/train_taught.toml --out runs/hearing.safetensors
    TAUGHT="--smodel runs/smodel.safetensors --hearing runs/hearing.safetensors --read runs/read.npz"
    stser-train left-out --config config/train_taught.toml $TAUGHT
    stser-train fit --config config/train_taught.toml $TAUGHT --strangers runs/left-out/left-out.json \\
        --albert runs/distil/albert --opinions runs/distil/opinions.safetensors --out stser_core/weights/stser-open
    stser-train crossval --config config/train_taught.toml $TAUGHT
    stser-train held-out --config config/train_taught.toml
    stser-train robustness --config config/train_taught.toml
    stser-train baseline
    stser-train tables

WA is the share of correct utterances, UA the mean recall over the four classes, ECE the expected
calibration error in 15 bins. All figures are speaker-independent. Chance is .25.
"""
_SPEECH = """\
Five folds by speaker over all three corpora at once, validation speakers drawn from the training speakers.
One model a fold, trained as the shipped one. *n heard*: utterances of the unseen speaker, of all classes alike, that
the adaptation had heard before, without labels; *10 neutral heard*: ten that were neutral, as most talk is, or as
many as the corpus has; *10 angry heard* likewise. The baseline (openSMILE
eGeMAPSv02 and an RBF support vector machine) is trained on each corpus alone; *oracle*
normalises with all of the test speaker's utterances, which no live monitor can know.

"""
_HELD_OUT = """\
The shipped model itself, on the {speakers} speakers that its training set apart to choose when to end: a little kinder
than a test. Its temperatures are those that were found on corpora left out, so that on these voices it is too modest.

"""
_LEFT_OUT = """\
Trained on the other two corpora, tested on all of this one: another language, other actors, other
rooms. ECE after 10 utterances heard, at the temperature that was found on the two other corpora when these were left
out; the shipped temperatures are found on all three likewise.

"""
_ROBUSTNESS = """\
{judged} ({utterances} utterances), 10 heard in the same condition. Noises are recordings
that training never heard; rooms are recorded responses. *Kept*: share of the clean UA.

"""
_JUDGED_FOLDS = "The test speakers of the five folds"
_JUDGED_CHECKPOINT = (
    "{name} itself, on the speakers that its training set apart to choose when to end"
)
_UNLIKE = """\
What the shipped model marks `not_like_training`. Speech: of the speakers that its training set apart; the bound was set
by them. Noise: of recordings that training never heard, of the kinds that it did (last fold of ESC-10).

"""
_CANNOT_TELL = "The shipped model cannot tell them: its training heard no noise.\n"
_MISSING = "Not measured for this version: `stser-train {command}` does.\n"
_TEXT = """\
Sentences of the corpora's `dev.csv`, lower-cased and without punctuation, as a recogniser
writes. The baseline reads the sentences as they are, punctuation included.

"""
_PAIRS = """\
None of the corpora used has English speech whose words carry the emotion, too. So each utterance of a
held-out speaker (10 heard) is paired with a held-out sentence of the same label. This says
whether fusion works, and nothing of how often voice and words agree in life.

"""
_RELIABILITY = """\
Speech: all corpora, 3 utterances heard; pairs: 10. Coverage is the share of verdicts that are at least as confident
as the bound. In pairs voice and words always agree, by construction, so that an average of three calibrated
classifiers is right more often than it says. A temperature for the average would mend that here, and make it too
sure of itself where voice and words differ, as they do in life; so there is none.

"""
_PICTURES = """\
![Confidence against accuracy]({up}images/model/reliability.png)
![Accuracy against coverage]({up}images/model/coverage.png)

[coverage.csv]({up}images/model/coverage.csv) has the second picture as numbers.
"""


def speech_table(found: Figures, baseline: Figures | None) -> str:
    """UA by corpus and utterances heard, baselines and the deviation over runs beside it, and ECE where it is known."""
    head = ["corpus", *(f"{heard} heard" for heard in [*HEARD, *of_one_mood()]), "ECE, 10 heard"]
    rows = [[*head, "baseline", "baseline, oracle"] if baseline is not None else head]
    for corpus, name in CORPORA.items():
        ours = [found[f"{corpus}, {n} heard"] for n in HEARD]
        row = [name, *(_f(each["UA"]) for each in ours)]
        row += [_f(found[f"{corpus}, {heard} heard"]["UA"]) for heard in of_one_mood()]
        row.append(_f(ours[HEARD.index(10)].get("ECE")))
        if baseline is not None:
            row += [
                _f(baseline[f"eGeMAPS + SVM, {corpus}, {kind}"]["UA"])
                for kind in ("plain", "speaker oracle")
            ]
        rows.append(row)
    deviations = {name: found[f"{corpus}, 0 heard"]["UA sd"] for corpus, name in CORPORA.items()}
    if not any(deviations.values()):  # one run a corpus
        return _table(rows)
    spread = ", ".join(f"{name} {deviation:.3f}" for name, deviation in deviations.items())
    return _table(rows) + f"\nDeviation of UA, nothing heard: {spread}.\n"


def gender_table(found: Figures) -> str:
    """UA by corpus and gender, 10 utterances heard."""
    genders = sorted({key.split(", ")[2] for key in found if key.count(", ") == 2})
    rows = [["10 heard", *genders]]
    for corpus, name in CORPORA.items():
        of_gender = [found.get(f"{corpus}, 10 heard, {gender}", {}) for gender in genders]
        rows.append([name, *(_f(each.get("UA")) for each in of_gender)])
    return _table(rows)


def held_out(results: Results) -> str:
    """The shipped model's own speakers set apart, and women and men among them."""
    if results.held_out is None:
        return _MISSING.format(command="held-out")
    found = results.held_out["speech"]
    speakers = len(results.notes["validation_speakers"])
    return (
        _HELD_OUT.format(speakers=speakers) + speech_table(found, None) + "\n" + gender_table(found)
    )


def left_out(results: Results) -> str:
    """UA by corpus left out and utterances heard."""
    if results.left_out is None:
        return _MISSING.format(command="left-out")
    return (
        _LEFT_OUT
        + speech_table(results.left_out["speech"], None)
        + f"\nPairs of such a voice and a held-out sentence of the same label:\n\n{_pairs(results.left_out)}"
    )


def robustness(results: Results) -> str:
    """UA by condition and corpus, and what is kept of the clean one."""
    if results.robustness is None:
        return _MISSING.format(command="robustness")
    judged, conditions = results.robustness["judged"], results.robustness["conditions"]
    who = _JUDGED_FOLDS if judged == FOLDS else _JUDGED_CHECKPOINT.format(name=judged)
    clean = conditions["clean"]
    rows = [["", *CORPORA.values(), "mean", "kept"]]
    for condition, found in conditions.items():
        each = [_f(found[corpus]) for corpus in CORPORA]
        kept = f"{100 * found['UA'] / clean['UA']:.0f} %"
        rows.append([condition, *each, _f(found["UA"]), kept])
    return _ROBUSTNESS.format(judged=who, utterances=clean["utterances"]) + _table(rows)


def unlike(results: Results) -> str:
    """Shares of speech and of noise that the shipped model calls unlike its training speech."""
    if results.held_out is None:
        return _MISSING.format(command="held-out")
    found = results.held_out["unlike"]
    if not found:
        return _CANNOT_TELL
    shares = [[kind, f"{100 * share:.1f} %"] for kind, share in found.items()]
    return _UNLIKE + _table([["", "marked"], *shares])


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
    return _pairs(results.crossval)


def _pairs(figures: Figures) -> str:
    rows = [["", "WA", "UA", "ECE"]]
    for name in (*CLASSIFIERS, "STSER"):
        found = figures["pairs"][name]
        rows.append([name, *(_f(found[key]) for key in ("WA", "UA", "ECE"))])
    return _table(rows)


def reliability(results: Results) -> str:
    """Calibration errors, and coverage and accuracy at some bounds on confidence."""
    voice, pairs = results.crossval["reliability"], results.crossval["pairs"]["STSER"]
    rows = [["bound on confidence", "speech: coverage", "right", "pairs: coverage", "right"]]
    of_pairs = {row[0]: row[1:] for row in pairs["coverage"]}
    rows += [
        [f"{bound:.2f}", *map(_f, (covered, right, *of_pairs[bound]))]
        for bound, covered, right in voice["coverage"]
        if round(1000 * bound) % 50 == 0 and bound in of_pairs
    ]
    bounds = results.crossval["pairs"]["bounds"]
    return (
        f"ECE: speech {voice['ECE']:.3f}, STSER on pairs {pairs['ECE']:.3f}. Bounds below which the verdicts "
        f"that set them are more often wrong than right: confidence {voice['least confidence']:.2f} for the "
        f"voice alone, {bounds['least confidence']:.2f} for pairs; agreement "
        f"{bounds['least agreement']:.2f}. The monitor's own bounds (`abstention`) are for both together; "
        "who hears voices alone may ask for more.\n\n" + _table(rows)
    )


def pictures(up: str) -> str:
    """Both pictures, as seen from a page ``up`` steps below ``docs``."""
    return _PICTURES.format(up=up)


def draw(results: Results, folder: Path) -> None:
    """Reliability diagram and coverage as PNG and SVG, coverage as CSV, too."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {
        "speech": results.crossval["reliability"],
        "pairs, STSER": results.crossval["pairs"]["STSER"],
    }
    if results.left_out is not None:
        kinds["speech, corpus left out"] = results.left_out["reliability"]
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


def _f(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
