"""The client and a monitor that is killed, and started again on the same port."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import numpy as np

from monitor.client import Event, MonitorClient
from tests.support.monitor_process import DEADLINE_S, RunningMonitor, running_monitor
from tests.support.processes import free_port
from tests.support.speech import spoken, write_wav


def test_client_has_every_event_once_and_in_order_over_a_kill(tmp_path: Path) -> None:
    sentences = ["leave me alone", "i am so happy today"] * 3
    samples = np.concatenate([spoken(text, before_s=0.3, after_s=0.6) for text in sentences])
    talk = write_wav(tmp_path / "talk.wav", samples)
    port = free_port()
    flags = ["--input", talk, "--pace", "realtime", "--ws-port", str(port), "--node", "robot"]
    client = MonitorClient(f"http://127.0.0.1:{port}/", since=0, wait_least_s=0.05, wait_most_s=0.2)

    async def follow(seen: list[Event], news: asyncio.Condition) -> None:
        async for event in client:
            async with news:
                seen.append(event)
                news.notify_all()

    async def until(
        enough: int,
        seen: list[Event],
        news: asyncio.Condition,
        following: asyncio.Task[None],
        monitor: RunningMonitor,
    ) -> None:
        def there() -> bool:
            return following.done() or sum(event.sequence is not None for event in seen) >= enough

        try:
            async with asyncio.timeout(2 * DEADLINE_S), news:
                await news.wait_for(there)
        except TimeoutError:
            raise AssertionError(f"{seen}\n{monitor.log}") from None

    async def main() -> list[Event]:
        seen: list[Event] = []
        news = asyncio.Condition()
        following = asyncio.create_task(follow(seen, news))
        for enough in (3, 7):
            environment = {"XDG_STATE_HOME": str(tmp_path)}
            async with running_monitor(*flags, environment=environment) as monitor:
                await until(enough, seen, news, following, monitor)
                await monitor.end(signal.SIGKILL)
        assert not following.done(), following.exception()
        following.cancel()
        return seen

    numbered = [event for event in asyncio.run(main()) if event.sequence is not None]
    # A provisional event has no number, and is never told again.
    assert [event.sequence for event in numbered] == list(range(1, len(numbered) + 1))
    assert sum(event.kind == "monitor.started" for event in numbered) == 2
    assert len({event.id for event in numbered}) == len(numbered)
    assert client.since == {"mic": len(numbered)}
