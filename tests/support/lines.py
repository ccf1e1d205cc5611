"""Waiting for what a thread of the monitor writes."""

from __future__ import annotations

import asyncio

from monitor.publish.lines import Lines


async def written(lines: Lines) -> None:
    """Wait until every line has been written."""
    while lines.waiting:
        await asyncio.to_thread(bool)
