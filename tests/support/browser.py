"""Headless Chromium, which opens the dashboard as a person does."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, async_playwright

from tests.support.monitor_process import DEADLINE_S

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is missing: apt-get install chromium"
)


@asynccontextmanager
async def open_browser(
    microphone: Path | None = None, *, allowed: bool = True
) -> AsyncIterator[Browser]:
    """Chromium, which exists as long as this does.

    Args:
        microphone: A WAV file that its microphone hears once, from when it is opened; None for no microphone.
        allowed: Whether the user lets pages use it.
    """
    args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    if microphone is not None:
        args += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        ]
    if microphone is not None and allowed:
        args.append("--use-fake-ui-for-media-stream")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of the dashboard."""

    page: Page
    problems: list[str] = field(default_factory=list)
    """What the browser complained about: scripts that failed, and what the security policy refused."""

    @property
    def transcripts(self) -> Locator:
        """Words of the utterances in sight, the newest first."""
        return self.page.locator("#utterances .transcript")

    @property
    def state(self) -> Locator:
        return self.page.locator("#state")

    async def live(self) -> None:
        """Wait until the page is connected."""
        await self.page.locator("#connection[data-status=live]").wait_for()

    async def show(self, view: str) -> None:
        await self.page.get_by_role("navigation").get_by_role("button", name=view).click()

    async def choose(self, stream: str) -> None:
        """Look at one stream, or at ``All``."""
        buttons = self.page.get_by_role("region", name="Streams").get_by_role("button")
        name = re.compile(rf"^{re.escape(stream)}( ended)?$")
        await buttons.filter(has_text=name).click()


@asynccontextmanager
async def open_dashboard(
    browser: Browser, url: str, *, width: int = 1280, height: int = 800, dark: bool = False
) -> AsyncIterator[Dashboard]:
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        accept_downloads=True,
    )
    context.set_default_timeout(1000 * DEADLINE_S)
    dashboard = Dashboard(await context.new_page())

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            dashboard.problems.append(message.text)

    dashboard.page.on("console", heard)
    dashboard.page.on("pageerror", lambda error: dashboard.problems.append(str(error)))
    try:
        await dashboard.page.goto(url)
        yield dashboard
    finally:
        await context.close()
