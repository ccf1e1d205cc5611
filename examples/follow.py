"""Print what a monitor hears: python follow.py [URL [SINCE]]"""

import asyncio
import sys

from monitor.client import MonitorClient


async def main(url: str = "ws://127.0.0.1:8765", since: str | None = None) -> None:
    client = MonitorClient(url, since=None if since is None else int(since))
    async for event in client:
        print(event.sequence, event.kind, event.data.get("label", ""), flush=True)


asyncio.run(main(*sys.argv[1:]))
