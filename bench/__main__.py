"""``python -m bench``: every benchmark, as JSON; ``--markdown`` rewrites the pages in docs/results."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import pipeline

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def main() -> None:
    """Measure, print, and write where asked to."""
    flags = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    flags.add_argument("--minutes", type=float, default=5.0, help="audio for the pipeline")
    flags.add_argument("--markdown", action="store_true", help="rewrite docs/results/pipeline.md")
    given = flags.parse_args()
    figures = pipeline.measure(given.minutes)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    if given.markdown:
        (RESULTS / "pipeline.md").write_text(pipeline.page(figures, given.minutes), "utf-8")


if __name__ == "__main__":
    main()
