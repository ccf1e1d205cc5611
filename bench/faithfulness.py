"""Is the salience of an event faithful: does what weighs most change the verdict most when it is taken away?

    STSER_DATA=FOLDER python -m bench.faithfulness

writes docs/results/faithfulness.md, and faithfulness.json beside it. The most salient tenth of an utterance's 100 ms
bins is cut out of its log-mel, or its heaviest word out of its text; beside it, a random tenth or a random other
word. The change is the total variation distance between the posteriors before and after. Seeded.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from bench.machine import describe_machine
from bench.vad_tracks import data_folder
from monitor.events import SAMPLE_RATE_HZ
from stser_core.ensemble import Stser, Verdict
from stser_core.features import LogMel, log_mel

RESULTS: Final = Path(__file__).parents[1] / "docs" / "results"
SPEECH: Final = {"ravdess/manifest": 150, "emodb/manifest": 150, "nemo/manifest": 150}
TEXT: Final = {"meld_text/dev": 600}
"""Tables of corpora, and rows taken of each."""
DRAWS: Final = 5
"""Random deletions for each salient one."""
RESAMPLES: Final = 2_000


def rows(corpora: dict[str, int]) -> Iterator[dict[str, str]]:
    """So many rows of each corpus, spread evenly over its manifest."""
    for corpus, wanted in corpora.items():
        path = data_folder() / f"{corpus}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
        n = min(wanted, len(found))
        for i in range(n):
            row = found[i * len(found) // n]
            yield row | {"path": str(path.parent / row.get("path", ""))}


def distance(one: Verdict, other: Verdict) -> float:
    """Total variation between two posteriors, from 0 (the same) to 1."""
    a, b = one.posterior.as_dict(), other.posterior.as_dict()
    return sum(abs(a[name] - b[name]) for name in a) / 2


def without(frames: LogMel, bins: NDArray[np.intp], frames_per_bin: int) -> LogMel:
    """A log-mel with some bins cut out."""
    kept = np.ones(len(frames), bool)
    for number in bins:
        kept[number * frames_per_bin : (number + 1) * frames_per_bin] = False
    return frames[kept]


def speech_changes(ensemble: Stser, rng: np.random.Generator) -> list[tuple[float, float]]:
    """For each utterance, the change by its most salient tenth and by a random one."""
    settings = ensemble.log_mel_settings
    found = []
    for row in rows(SPEECH):
        samples, rate_hz = soundfile.read(row["path"], dtype="float32")
        heard = log_mel(soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ), settings)
        whole = ensemble.classify(heard, None)
        shares = np.array(whole.salience.speech)
        frames_per_bin = (
            whole.salience.hop_ms * settings.sample_rate_hz // 1000 // settings.hop_length
        )
        n = max(1, round(len(shares) / 10))
        if len(shares) < 2 * n:
            continue

        def change(bins: NDArray[np.intp]) -> float:
            return distance(whole, ensemble.classify(without(heard, bins, frames_per_bin), None))  # noqa: B023

        random = [change(rng.permutation(len(shares))[:n]) for _ in range(DRAWS)]
        found.append((change(np.argsort(shares)[-n:]), float(np.mean(random))))
    return found


def word_changes(ensemble: Stser, rng: np.random.Generator) -> list[tuple[float, float]]:
    """For each text, the change by its heaviest word and by a random other one."""
    found = []
    for row in rows(TEXT):
        words = row["text"].split()
        if len(words) < 4:
            continue
        whole = ensemble.classify(None, words)
        heaviest = int(np.argmax(whole.salience.words))
        others = [i for i in range(len(words)) if i != heaviest]
        drawn = rng.choice(others, min(DRAWS, len(others)), replace=False)
        changes = [
            distance(whole, ensemble.classify(None, words[:i] + words[i + 1 :]))
            for i in (heaviest, *drawn)
        ]
        found.append((changes[0], float(np.mean(changes[1:]))))
    return found


def summary(changes: list[tuple[float, float]], rng: np.random.Generator) -> dict[str, float]:
    """Means, and the difference with its 95 % interval (bootstrap over utterances)."""
    pairs = np.array(changes)
    gain = pairs[:, 0] - pairs[:, 1]
    means = rng.choice(gain, (RESAMPLES, len(gain))).mean(axis=1)
    return {
        "utterances": len(pairs),
        "change by the most salient": float(pairs[:, 0].mean()),
        "change by random": float(pairs[:, 1].mean()),
        "difference": float(gain.mean()),
        "difference, from": float(np.percentile(means, 2.5)),
        "difference, to": float(np.percentile(means, 97.5)),
        "share where the most salient changes more": float(np.mean(gain > 0)),
    }


def page(figures: dict[str, Any]) -> str:
    """The figures as docs/results/faithfulness.md."""
    tables = figures["tables"]
    lines = [
        "# Is the salience faithful?",
        "",
        "`STSER_DATA=FOLDER python -m bench.faithfulness` wrote this page. What weighs most is taken away, and beside",
        "it as much at random; the change is the total variation distance between the posteriors, from 0 to 1.",
        "",
        "| | " + " | ".join(tables) + " |",
        "|---|" + "---|" * len(tables),
    ]
    lines += [
        f"| {name} | " + " | ".join(f"{table[name]:.4g}" for table in tables.values()) + " |"
        for name in next(iter(tables.values()))
    ]
    for name, table in tables.items():
        faithful = table["difference, from"] > 0
        lines += [
            "",
            f"{name.capitalize()}: {'faithful' if faithful else 'not shown to be faithful'}.",
        ]
    lines += ["", f"Weights: {figures['model']}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    ensemble, rng = Stser.load(), np.random.default_rng(11)
    model = ensemble.model_id
    figures: dict[str, Any] = {
        "machine": describe_machine(),
        "model": f"{model.name} {model.version} ({model.digest})",
        "tables": {
            "tenth of the audio": summary(speech_changes(ensemble, rng), rng),
            "heaviest word": summary(word_changes(ensemble, rng), rng),
        },
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "faithfulness.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (RESULTS / "faithfulness.md").write_text(page(figures), "utf-8")


if __name__ == "__main__":
    main()
