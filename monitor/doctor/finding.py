"""What a check has found, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from monitor.errors import ModelError, MonitorError
from stser_core.errors import CheckpointError

WIDTH: Final = 100


class Status(StrEnum):
    """How a check has ended."""

    OK = "ok"
    NOTE = "note"
    """Works, but could be better, or has not been checked."""
    PROBLEM = "problem"
    """The monitor would not do its work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found."""

    part: str
    status: Status
    text: str
    remedy: str = ""
    """What to do about it; empty where there is nothing to do."""
    exit_code: int = 0
    """Of a problem: the code that the monitor itself would end with."""
    figures: dict[str, Any] = field(default_factory=dict)
    """For programs: the numbers in the text, and more."""


def problem(part: str, error: MonitorError | CheckpointError, remedy: str) -> Finding:
    """What an error of the monitor itself says, with the code that the monitor would end with."""
    code = error.exit_code if isinstance(error, MonitorError) else ModelError.exit_code
    return Finding(part, Status.PROBLEM, str(error), remedy, code)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 where the monitor would do its work, else the code of the first part that would not."""
    return next((finding.exit_code for finding in findings if finding.exit_code), 0)


def page(findings: Sequence[Finding]) -> str:
    """The findings for people, worst news marked, a remedy below each."""
    lines: list[str] = []
    for finding in findings:
        head = f"{finding.status.upper():8}{finding.part:12}"
        indent = " " * len(head)
        for number, paragraph in enumerate(finding.text.splitlines()):
            start = indent if number else head
            lines += textwrap.wrap(paragraph, WIDTH, initial_indent=start, subsequent_indent=indent)
        if finding.remedy:
            lines += textwrap.wrap(
                f"Remedy: {finding.remedy}", WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    n_problems = sum(finding.status is Status.PROBLEM for finding in findings)
    verdict = "The monitor can work here."
    if n_problems:
        verdict = f"{n_problems} problem{'s' if n_problems > 1 else ''} to solve first."
    return "\n".join([*lines, "", verdict, ""])


def as_json(findings: Sequence[Finding]) -> str:
    """The same for programs: one JSON object on one line."""
    code = exit_code(findings)
    tree = {
        "usable": code == 0,
        "exit_code": code,
        "findings": [
            {
                "part": finding.part,
                "status": finding.status.value,
                "text": finding.text,
                "remedy": finding.remedy,
                "exit_code": finding.exit_code,
                "figures": finding.figures,
            }
            for finding in findings
        ],
    }
    return json.dumps(tree, allow_nan=False) + "\n"
