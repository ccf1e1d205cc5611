"""The folder that Vosk loads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from training.recogniser.acoustic_model import AcousticModel
from training.recogniser.features import MFCC_CONF, SUBSAMPLING
from training.recogniser.graph import Graphs
from training.recogniser.kaldi_model import KALDI_PHONES, write_model

MODEL_CONF: Final = f"""--min-active=100
--max-active=1000
--beam=8.0
--lattice-beam=6.0
--max-mem=500000
--acoustic-scale=0.8
--frame-subsampling-factor={SUBSAMPLING}
--endpoint.silence-phones=1
--endpoint.rule2.min-trailing-silence=0.5
--endpoint.rule3.min-trailing-silence=0.75
--endpoint.rule4.min-trailing-silence=1.0
"""
"""How widely Vosk searches, and when it thinks that an utterance is over."""

_POSITIONS: Final = {"B": "begin", "E": "end", "I": "internal", "S": "singleton"}


def export(folder: Path, network: AcousticModel, graphs: Graphs) -> int:
    """Write all files of a model; returns their size in bytes."""
    (folder / "graph" / "phones").mkdir(parents=True, exist_ok=True)
    for name in ("am", "conf"):
        (folder / name).mkdir(exist_ok=True)
    write_model(folder / "am" / "final.mdl", network)
    (folder / "conf" / "mfcc.conf").write_text(MFCC_CONF, "utf-8")
    (folder / "conf" / "model.conf").write_text(MODEL_CONF, "utf-8")
    (folder / "graph" / "HCLr.fst").write_bytes(graphs.words_to_states)
    (folder / "graph" / "Gr.fst").write_bytes(graphs.language)
    words = {0: "<eps>", **graphs.word_of_label}
    lines = [f"{word} {label}\n" for label, word in sorted(words.items())]
    (folder / "graph" / "words.txt").write_text("".join(lines), "utf-8")
    # No label needs to be told apart after determinisation; the file must name one all the same.
    (folder / "graph" / "disambig_tid.int").write_text(f"{2 * len(KALDI_PHONES) + 1}\n", "utf-8")
    boundaries = ["nonword", *(_POSITIONS[name[-1]] for name in KALDI_PHONES[1:])]
    lines = [f"{number} {kind}\n" for number, kind in enumerate(boundaries, 1)]
    (folder / "graph" / "phones" / "word_boundary.int").write_text("".join(lines), "utf-8")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for files on the way."""
    return tempfile.TemporaryDirectory(prefix="recogniser-")
