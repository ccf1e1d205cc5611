"""Every check in turn.

Each is made with the part that the monitor itself would use, and none ends the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from monitor.doctor.finding import Finding, Status, problem
from monitor.doctor.installed import model, programs, recogniser
from monitor.doctor.kept import journal
from monitor.doctor.microphones import devices, microphone
from monitor.doctor.reach import broker, port
from monitor.doctor.rehearsal import utterance
from monitor.errors import MonitorError
from monitor.settings import MonitorSettings
from stser_core.errors import CheckpointError

CHECKS: Final[tuple[tuple[str, Callable[[MonitorSettings], Awaitable[Finding]]], ...]] = (
    ("microphone", microphone),
    ("utterance", utterance),
    ("journal", journal),
    ("broker", broker),
)


async def examine(settings: MonitorSettings) -> list[Finding]:
    """Make every check in turn; takes about ten seconds."""
    findings = [programs()]
    findings += [
        await asyncio.to_thread(check, settings) for check in (devices, model, recogniser, port)
    ]
    deaf = any(
        finding.part == "devices" and finding.status is not Status.OK for finding in findings
    )
    for part, ask in CHECKS:
        if part == "microphone" and deaf:
            continue
        try:
            findings.append(await ask(settings))
        except (MonitorError, CheckpointError) as error:
            findings.append(problem(part, error, "See the finding above that names its cause."))
    order = (
        "programs",
        "devices",
        "microphone",
        "model",
        "recogniser",
        "utterance",
        "journal",
        "port",
        "broker",
    )
    return sorted(findings, key=lambda finding: order.index(finding.part))
