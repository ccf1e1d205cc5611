"""Pictures of the dashboard in docs/images/, from a real run on the bundled conversation.

Usage: python -m bench.screenshots
"""

from __future__ import annotations

import asyncio
import io
from contextlib import AsyncExitStack
from pathlib import Path

from PIL import Image
from playwright.async_api import Page

from tests.support.browser import open_browser, open_dashboard
from tests.support.monitor_process import running_monitor

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
CONVERSATION = ROOT / "monitor/demo/conversation.flac"
COLOURS = 256
SENTENCES = 6
"""The pictures are taken after so many."""


async def take(page: Page, name: str) -> None:
    """Save what is in sight with a palette, for pictures stay in the repository."""
    picture = Image.open(io.BytesIO(await page.screenshot()))
    picture.convert("RGB").quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)


async def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    flags = ["--input", CONVERSATION, "--pace", "realtime", "--ws-port", "0"]
    flags += ["--node", "demo", "--journal", "off"]
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(open_browser())
        monitor = await stack.enter_async_context(running_monitor(*flags))
        url = f"http://127.0.0.1:{await monitor.port()}/"
        light, dark, phone = [
            (await stack.enter_async_context(open_dashboard(browser, url, **settings))).page
            for settings in ({}, {"dark": True}, {"width": 390, "height": 844})
        ]
        await monitor.wait_for("emotion.utterance", SENTENCES)
        await monitor.wait_for("speech.started", SENTENCES + 1)
        await light.locator(".activity[data-speaking=true]").wait_for()
        await take(light, "dashboard")
        await take(phone, "dashboard-phone")
        await dark.locator(".utterance .open").first.click()
        await take(dark, "dashboard-detail-dark")
        await monitor.ended()
        await light.get_by_role("button", name="Session").click()
        await light.locator("main[data-view=session]").wait_for()
        await take(light, "dashboard-session")


if __name__ == "__main__":
    asyncio.run(main())
