"""Pictures of the dashboard in docs/images/, from real runs on the bundled conversation.

The second stream is a browser's: its microphone hears the same conversation from its middle on.

Usage: python -m bench.screenshots
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.async_api import Browser, Page

from tests.support.browser import Dashboard, open_browser, open_dashboard
from tests.support.monitor_process import RunningMonitor, running_monitor
from tests.support.speech import write_wav

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
CONVERSATION = ROOT / "monitor/demo/conversation.flac"
COLOURS = 256
SENTENCES = 6
"""The pictures are taken after so many."""
PHONE = {"width": 390, "height": 844}


async def take(page: Page, name: str) -> None:
    """Save what is in sight with a palette, for pictures stay in the repository."""
    picture = Image.open(io.BytesIO(await page.screenshot()))
    picture.convert("RGB").quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)


@asynccontextmanager
async def listening(name: str, recording: Path) -> AsyncIterator[tuple[RunningMonitor, str]]:
    """A monitor that hears the conversation, and the address of its page."""
    flags = ["--pace", "realtime", "--ws-port", "0", "--node", "demo", "--journal", "off"]
    flags += ["--input", str(recording), "--stream", name]
    async with running_monitor(*flags) as monitor:
        yield monitor, f"http://127.0.0.1:{await monitor.port()}/"


async def one_stream(browser: Browser) -> None:
    async with AsyncExitStack() as stack:
        monitor, url = await stack.enter_async_context(listening("mic", CONVERSATION))
        light, dark, phone = [
            (await stack.enter_async_context(open_dashboard(browser, url, **settings)))
            for settings in ({}, {"dark": True}, PHONE)
        ]
        await monitor.wait_for("emotion.utterance", SENTENCES)
        await monitor.wait_for("speech.started", SENTENCES + 1)
        await light.page.locator(".activity[data-speaking=true]").wait_for()
        await take(light.page, "dashboard")
        await take(phone.page, "dashboard-phone")
        await dark.page.locator(".utterance .open").first.click()
        await take(dark.page, "dashboard-detail-dark")
        await monitor.wait_for("emotion.utterance", SENTENCES + 1)
        await light.show("Session")
        await light.page.locator("main[data-view=session]").wait_for()
        await take(light.page, "dashboard-session")


async def two_streams(browser: Browser, recording: Path) -> None:
    async with (
        listening("desk", recording) as (monitor, url),
        open_dashboard(browser, url) as dashboard,
    ):
        await dashboard.live()
        await speak(dashboard)
        await monitor.wait_for("emotion.utterance", SENTENCES)
        await dashboard.show("Health")
        await dashboard.page.get_by_role("row", name="browser").wait_for()
        await take(dashboard.page, "dashboard-health")
        await dashboard.show("Live")
        await dashboard.choose("browser")
        await monitor.wait_for("emotion.utterance", 2 * SENTENCES)
        await dashboard.page.locator(".heard", has_text="“").wait_for()
        await take(dashboard.page, "dashboard-speak")
        await dashboard.choose("All")
        await dashboard.page.locator(".activity[data-speaking=true]").first.wait_for()
        await take(dashboard.page, "dashboard-streams")


async def speak(dashboard: Dashboard) -> None:
    await dashboard.page.get_by_role("button", name="Speak").click()
    await dashboard.page.get_by_role("button", name="Stop").wait_for()


async def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    samples, rate = soundfile.read(CONVERSATION, dtype="float32")
    assert rate == 16_000
    with tempfile.TemporaryDirectory() as folder:
        twice = write_wav(Path(folder, "desk.wav"), np.tile(samples, 2))
        from_its_middle = write_wav(
            Path(folder, "browser.wav"), np.roll(samples, len(samples) // 2)
        )
        async with open_browser(from_its_middle) as browser:
            await one_stream(browser)
            await two_streams(browser, twice)


if __name__ == "__main__":
    asyncio.run(main())
