"""The benchmark: ``python -m bench``, or ``make bench``, prints its figures as JSON.

``--write`` rewrites docs/results/benchmark.md with its pictures and JSON, and docs/results/clients.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from bench import clients
from bench.benchmark import FULL, QUICK, measure
from bench.page import page
from bench.pictures import draw

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "results"


def main() -> None:
    """Measure, print, and write where asked to."""
    flags = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    flags.add_argument("--quick", action="store_true", help="see that everything runs")
    flags.add_argument(
        "--only",
        default="",
        metavar="SECTION",
        help="one section alone; with --write, the others stay as they were",
    )
    flags.add_argument("--clients", type=int, default=1_000, help="subscribers at once")
    flags.add_argument("--seconds", type=float, default=60.0, help="of events for them")
    flags.add_argument("--write", action="store_true", help="rewrite the pages in docs/")
    given = flags.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    figures = measure(QUICK if given.quick else FULL, only=given.only)
    if given.only and given.write and (RESULTS / "benchmark.json").exists():
        figures = json.loads((RESULTS / "benchmark.json").read_text("utf-8")) | figures
    latency = RESULTS / "latency.json"
    if latency.exists():  # of ``python -m bench.latency``, for the table of goals
        figures["latency"] = json.loads(latency.read_text("utf-8"))
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    if given.write:
        (RESULTS / "benchmark.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        (RESULTS / "benchmark.md").write_text(page(figures), "utf-8")
        draw(figures, DOCS / "images")
    if given.only in ("", "clients") and not given.quick:
        delivery = clients.measure(given.clients, given.seconds)
        sys.stdout.write(json.dumps(delivery, indent=1) + "\n")
        if given.write:
            (RESULTS / "clients.md").write_text(clients.page(delivery), "utf-8")


if __name__ == "__main__":
    main()
