"""Attack all targets, or some; print, and write where asked to.

python -m bench.fuzz [--inputs 5000] [--seed 1] [--target NAME] [--markdown]
python -m bench.fuzz --coverage [--seconds 60] [--target NAME] [--markdown]   (guided; needs the extra fuzz)
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from bench.fuzz.attack import attack
from bench.fuzz.coverage import cover, covered
from bench.fuzz.report import guided_page, page, rewrite
from bench.fuzz.targets import COSTLY, TARGETS, clean_up


def main() -> int:
    """Attack, print, and write where asked to; 1 where something was found."""
    flags = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    flags.add_argument("--inputs", type=int, default=5_000)
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--target", choices=tuple(TARGETS), action="append")
    flags.add_argument("--coverage", action="store_true", help="guided by coverage (needs atheris)")
    flags.add_argument(
        "--seconds", type=float, default=60.0, help="of each target, with --coverage"
    )
    flags.add_argument("--in-process", choices=tuple(TARGETS), help=argparse.SUPPRESS)
    flags.add_argument("--markdown", action="store_true", help="rewrite docs/results/fuzz.md")
    given: Any = flags.parse_args()
    if given.in_process:
        cover(given.in_process, given.seconds)
        return 0
    return guide(given) if given.coverage else attack_all(given)


def guide(given: Any) -> int:
    """Every target, guided by coverage."""
    coverage = []
    for name in given.target or [name for name in TARGETS if name not in COSTLY]:
        coverage.append(covered(name, given.seconds))
        sys.stdout.write(f"{coverage[-1]}\n")
        sys.stdout.flush()
    if given.markdown:
        rewrite(guided=guided_page(coverage))
    return int(any(c.finding for c in coverage))


def attack_all(given: Any) -> int:
    """Every target, by mutation alone."""
    outcomes = []
    try:
        for name in given.target or TARGETS:
            inputs = given.inputs // 10 if name in COSTLY else given.inputs
            outcome = attack(name, inputs, given.seed)
            outcomes.append(outcome)
            sys.stdout.write(
                f"{name}: {outcome.inputs} inputs, {outcome.seconds:.0f} s, slowest "
                f"{outcome.slowest_s * 1000:.0f} ms, {len(outcome.findings)} findings\n"
            )
            for kind, data in outcome.findings.items():
                sys.stdout.write(f"  {kind}\n    {data[:300]!r}\n")
            sys.stdout.flush()
    finally:
        clean_up()
    if given.markdown:
        rewrite(attacks=page(outcomes, given.inputs, given.seed))
    return int(any(o.findings for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
