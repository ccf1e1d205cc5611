"""docs/results/fuzz.md: what was thrown, and what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.fuzz.attack import Outcome
from bench.fuzz.coverage import Coverage
from bench.fuzz.targets import TARGETS
from bench.machine import describe_machine

PAGE: Final = Path(__file__).parents[2] / "docs" / "results" / "fuzz.md"
GUIDED = "## Guided by coverage"
FOUND = "## What was found, and is mended"


def page(outcomes: list[Outcome], inputs: int, seed: int) -> str:
    """The results of :func:`attack` as Markdown."""
    machine = describe_machine()
    command = f'make fuzz ARGS="--inputs {inputs} --seed {seed}"'
    lines = [
        "# Hostile input",
        "",
        f"`{command}` on {machine['processor']}, {machine['cores']} cores. "
        "Each input is a valid one with one to eight mutations.",
        "",
        "| target | promise | inputs | s | slowest, ms | findings |",
        "|---|---|---:|---:|---:|---|",
    ]
    for o in outcomes:
        promise = (TARGETS[o.target].__doc__ or "").strip()
        found = "; ".join(o.findings) or "none"
        lines.append(
            f"| {o.target} | {promise} | {o.inputs:,} | {o.seconds:.0f} | {o.slowest_s * 1000:.0f} | {found} |"
        )
    total = sum(o.inputs for o in outcomes)
    return "\n".join([*lines, "", f"{total:,} inputs in all.", "", ""])


def guided_page(coverage: list[Coverage]) -> str:
    """The results of :func:`covered` as Markdown."""
    lines = [
        GUIDED,
        "",
        "`python -m bench.fuzz --coverage --markdown` (atheris): what reaches new code is mutated further.",
        "",
        "| target | inputs | s | edges reached | findings |",
        "|---|---:|---:|---:|---|",
        *(
            f"| {c.target} | {c.inputs:,} | {c.seconds:.0f} | {c.edges:,} | {c.finding or 'none'} |"
            for c in coverage
        ),
    ]
    total = sum(c.inputs for c in coverage)
    return "\n".join([*lines, "", f"{total:,} inputs in all.", "", ""])


def rewrite(attacks: str = "", guided: str = "") -> None:
    """Put new parts into the page; the others, and what is written there by hand, stay."""
    text = PAGE.read_text("utf-8")
    before, _, by_hand = text.partition(FOUND)
    old_attacks, _, old_guided = before.partition(GUIDED)
    kept = GUIDED + old_guided if old_guided else ""
    PAGE.write_text((attacks or old_attacks) + (guided or kept) + FOUND + by_hand, "utf-8")
