"""``python -m bench``: every benchmark, as JSON; ``--markdown`` rewrites the pages in docs/results."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import clients, pipeline

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def main() -> None:
    """Measure, print, and write where asked to."""
    flags = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    flags.add_argument("--minutes", type=float, default=5.0, help="audio for the pipeline")
    flags.add_argument("--clients", type=int, default=1_000, help="subscribers at once")
    flags.add_argument("--seconds", type=float, default=60.0, help="of events for them")
    flags.add_argument(
        "--markdown", action="store_true", help="rewrite docs/results/pipeline.md and clients.md"
    )
    given = flags.parse_args()
    cost = pipeline.measure(given.minutes)
    delivery = clients.measure(given.clients, given.seconds)
    sys.stdout.write(json.dumps({"pipeline": cost, "clients": delivery}, indent=1) + "\n")
    if given.markdown:
        (RESULTS / "pipeline.md").write_text(pipeline.page(cost, given.minutes), "utf-8")
        (RESULTS / "clients.md").write_text(clients.page(delivery), "utf-8")


if __name__ == "__main__":
    main()
