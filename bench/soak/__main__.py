"""Run, print, and write where asked to.

python -m bench.soak [--minutes 5] [--hours 0] [--streams 2] [--only with|without] [--seed 1] [--markdown]
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys

from bench.soak.report import PAGE, page, section
from bench.soak.run import soak


def main() -> int:
    """Run, print, and write where asked to; 1 where a promise was broken."""
    flags = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    flags.add_argument(
        "--minutes", type=float, default=5.0, help="wall time of each run; 0 for no limit"
    )
    flags.add_argument("--hours", type=float, default=0.0, help="of audio; 0 for no limit")
    flags.add_argument("--streams", type=int, default=1, help="in one process")
    flags.add_argument("--only", choices=("with", "without"), help="the recogniser")
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--markdown", action="store_true", help="rewrite docs/results/soak.md")
    given = flags.parse_args()
    reports = []
    for recogniser in {"with": (True,), "without": (False,)}.get(given.only, (False, True)):
        running = soak(
            given.minutes, given.hours, given.seed, recogniser=recogniser, streams=given.streams
        )
        reports.append(asyncio.run(running))
        sys.stdout.write("\n".join(section(reports[-1])))
        sys.stdout.flush()
    if given.markdown:
        arguments = shlex.join(argument for argument in sys.argv[1:] if argument != "--markdown")
        PAGE.write_text(page(reports, arguments, given.seed), "utf-8")
    return 0 if all(all(report.checks().values()) for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
