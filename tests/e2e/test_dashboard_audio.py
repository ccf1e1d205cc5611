"""Speaking to the monitor through the dashboard, and several streams on it, in a real browser on a real monitor."""

from __future__ import annotations

import asyncio
import base64
import math
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.async_api import Browser, expect

from tests.support.browser import Dashboard, needs_chromium, open_browser, open_dashboard
from tests.support.monitor_process import DEADLINE_S, RunningMonitor, running_monitor
from tests.support.processes import free_port
from tests.support.speech import silence, spoken, write_wav

pytestmark = needs_chromium
expect.set_options(timeout=1000 * DEADLINE_S)

SENTENCES = ["leave me alone", "i am so happy today"]
NEWEST_FIRST = SENTENCES[::-1]
AXE = Path(__file__).parents[2] / "dashboard/node_modules/axe-core/axe.min.js"
NO_MICROPHONE = ("--device", "none", "--ws-port", "0", "--journal", "off", "--node", "node")

OWN_RATE_ONLY = """() => {
  const connect = AudioContext.prototype.createMediaStreamSource;
  AudioContext.prototype.createMediaStreamSource = function (stream) {
    if (this.sampleRate === 16000) throw new DOMException("another rate", "NotSupportedError");
    return connect.call(this, stream);
  };
}"""
"""As in a browser that connects a microphone at the rate of its device and no other."""

DROP = """({name, content}) => {
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer}));
}"""
"""As if a file were dragged from the desktop onto the page."""


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sentences with silence around each."""
    samples = np.concatenate([spoken(text, before_s=0.6, after_s=0.8) for text in SENTENCES])
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", samples)


@pytest.fixture(scope="module")
def long_talk(talk: Path) -> Path:
    """The same over and over, long enough for a slow machine to look at it while it goes on."""
    samples, _ = soundfile.read(talk, dtype="float32")
    return write_wav(talk.with_name("long-talk.wav"), np.tile(samples, 12))


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the module, for the browser lives on it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def browser(runner: asyncio.Runner, talk: Path) -> Iterator[Browser]:
    """Its microphone hears the two sentences."""
    opened = open_browser(talk)
    yield runner.run(opened.__aenter__())
    runner.run(opened.__aexit__(None, None, None))


@asynccontextmanager
async def on_monitor(
    browser: Browser, *flags: str | Path
) -> AsyncIterator[tuple[RunningMonitor, Dashboard]]:
    """A monitor and a page that is connected to it."""
    async with asyncio.timeout(3 * DEADLINE_S), running_monitor(*flags) as monitor:
        url = f"http://127.0.0.1:{await monitor.port()}/"
        async with open_dashboard(browser, url) as dashboard:
            await dashboard.live()
            yield monitor, dashboard


async def drop(dashboard: Dashboard, *files: Path) -> None:
    for file in files:
        content = base64.b64encode(file.read_bytes()).decode()
        await dashboard.page.evaluate(DROP, {"name": file.name, "content": content})


def as_format(talk: Path, ending: str, *options: str) -> Path:
    """The same sentences, as ffmpeg writes them."""
    path = talk.with_name(f"as-{ending}.{ending}")
    command = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(talk), *options, str(path)]
    subprocess.run(command, check=True)
    return path


async def nothing_to_object_to(dashboard: Dashboard) -> None:
    """Have axe look at what is shown, and see that it is no wider than the window."""
    wider = await dashboard.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wider <= 0
    if not AXE.exists():
        pytest.skip("axe-core is missing: npm ci in dashboard/")
    await dashboard.page.evaluate(AXE.read_text("utf-8"))
    found = await dashboard.page.evaluate("axe.run()")
    assert found["passes"], "nothing was looked at"
    assert [
        (rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]
    ] == []


# --- the microphone ----------------------------------------------------------------------------


def test_button_streams_the_microphone_of_the_browser_and_shows_its_verdicts(
    runner: asyncio.Runner, browser: Browser
) -> None:
    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (monitor, dashboard):
            page = dashboard.page
            await page.get_by_role("button", name="Speak").click()
            await expect(page.locator(".heard")).to_contain_text("leave me")
            await nothing_to_object_to(dashboard)
            await expect(dashboard.transcripts).to_have_text(NEWEST_FIRST)
            await page.get_by_role("button", name="Stop").click()
            await expect(page.get_by_role("button", name="Speak")).to_be_enabled()
            await expect(page.locator("#source")).to_have_text("node/browser")
            await monitor.wait_for("monitor.stopped")
            printed = [event["data"] for event in monitor.of("emotion.utterance")]
            assert [utterance["transcript"]["text"] for utterance in printed] == SENTENCES
            shares = page.locator(".utterance").first.get_by_role("img")
            posterior = printed[-1]["posterior"]
            leading = max(posterior, key=posterior.__getitem__)
            label = f"ensemble: {leading} {math.floor(100 * posterior[leading] + 0.5)} %"
            await expect(shares.first).to_have_attribute("aria-label", label)
            assert dashboard.problems == []

    runner.run(main())


def test_browser_that_cannot_resample_its_microphone_sends_it_at_its_own_rate(
    runner: asyncio.Runner, browser: Browser
) -> None:
    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (_, dashboard):
            await dashboard.page.evaluate(OWN_RATE_ONLY)
            await dashboard.page.get_by_role("button", name="Speak").click()
            await expect(dashboard.transcripts).to_have_text(NEWEST_FIRST)

    runner.run(main())


def test_what_was_said_last_is_judged_when_the_button_ends_the_stream(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    unfinished = write_wav(
        tmp_path / "unfinished.wav",
        np.concatenate([silence(0.6), spoken("leave me alone", after_s=0)]),
    )

    async def main() -> None:
        async with (
            open_browser(unfinished) as browser,
            on_monitor(browser, *NO_MICROPHONE, "--silence-ms", "5000") as (_, dashboard),
        ):
            await dashboard.page.get_by_role("button", name="Speak").click()
            await expect(dashboard.page.locator(".heard")).to_contain_text("leave me alone")
            await expect(dashboard.transcripts).to_have_count(0)
            await dashboard.page.get_by_role("button", name="Stop").click()
            await expect(dashboard.transcripts).to_have_text(["leave me alone"])

    runner.run(main())


def test_microphone_that_is_not_allowed_is_said_in_words(
    runner: asyncio.Runner, talk: Path
) -> None:
    async def main() -> None:
        async with (
            open_browser(talk, allowed=False) as browser,
            on_monitor(browser, *NO_MICROPHONE) as (_, dashboard),
        ):
            await dashboard.page.get_by_role("button", name="Speak").click()
            words = dashboard.page.get_by_text("The browser may not use the microphone")
            await expect(words).to_be_visible()
            await expect(dashboard.page.get_by_role("button", name="Speak")).to_be_enabled()

    runner.run(main())


def test_machine_without_a_microphone_is_said_in_words(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with (
            open_browser() as browser,
            on_monitor(browser, *NO_MICROPHONE) as (_, dashboard),
        ):
            await dashboard.page.context.grant_permissions(["microphone"])
            await dashboard.page.get_by_role("button", name="Speak").click()
            words = dashboard.page.get_by_text("This machine has no microphone")
            await expect(words).to_be_visible()

    runner.run(main())


def test_page_to_which_browsers_give_no_microphone_says_what_to_do(
    runner: asyncio.Runner, browser: Browser
) -> None:
    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (_, dashboard):
            page = dashboard.page
            await page.evaluate("Object.defineProperty(window, 'isSecureContext', {value: false})")
            await page.get_by_role("button", name="Speak").click()
            await expect(
                page.get_by_text("only to pages of this machine or over https")
            ).to_be_visible()

    runner.run(main())


def test_monitor_that_goes_away_while_somebody_speaks_is_said_in_words(
    runner: asyncio.Runner, browser: Browser
) -> None:
    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (monitor, dashboard):
            page = dashboard.page
            await page.get_by_role("button", name="Speak").click()
            await expect(page.locator(".heard")).to_contain_text("leave me")
            await monitor.end()
            await expect(page.get_by_text("The monitor has ended this stream")).to_be_visible()
            await expect(page.get_by_role("button", name="Speak")).to_be_enabled()

    runner.run(main())


def test_page_says_that_the_monitor_has_stopped_where_it_was_to_do_something(
    runner: asyncio.Runner, browser: Browser
) -> None:
    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (monitor, dashboard):
            page = dashboard.page
            await monitor.end()
            await expect(page.locator("#connection")).to_have_text("the monitor has stopped")
            await page.get_by_role("button", name="Speak").click()
            words = "The monitor has stopped. Start it again and this page goes on."
            await expect(page.locator(".speak").get_by_role("status")).to_have_text(words)
            for name in ("Mark", "Mute"):
                button = page.get_by_role("button", name=name, exact=True)
                await expect(button).to_be_disabled()
                await expect(button).to_have_attribute("title", words)
            await dashboard.show("Health")
            await expect(page.get_by_role("main")).to_contain_text(words)
            await expect(page.get_by_role("navigation")).not_to_contain_text("!")
            await expect(page.locator(".warning")).to_have_count(0)

    runner.run(main())


# --- recordings --------------------------------------------------------------------------------


def test_recordings_that_are_dropped_or_chosen_are_streams_of_their_own(
    runner: asyncio.Runner, browser: Browser, talk: Path
) -> None:
    stereo = as_format(talk, "wav", "-ar", "44100", "-ac", "2")
    dropped = [stereo, as_format(talk, "mp3"), as_format(talk, "ogg"), as_format(talk, "flac")]

    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (monitor, dashboard):
            await drop(dashboard, *dropped)
            await dashboard.page.locator("input[type=file]").set_input_files(talk)
            files = dashboard.page.get_by_role("list", name="Recordings").get_by_role("listitem")
            await expect(files.filter(has_text="done")).to_have_count(5)
            await nothing_to_object_to(dashboard)
            for stream in ("as-wav", "as-mp3", "as-ogg", "as-flac", "talk"):
                await dashboard.choose(stream)
                await expect(dashboard.transcripts).to_have_text(NEWEST_FIRST)
            await dashboard.choose("All")
            await expect(dashboard.transcripts.first).to_have_text(SENTENCES[1])
            await expect(dashboard.page.locator("#utterances-heading")).to_contain_text("10")
            sources = {event["source"] for event in monitor.of("emotion.utterance")}
            assert len(sources) == 5
            assert dashboard.problems == []

    runner.run(main())


def test_page_that_is_opened_late_has_what_was_said_in_streams_that_have_ended(
    runner: asyncio.Runner, browser: Browser, talk: Path
) -> None:
    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (monitor, dashboard):
            await drop(dashboard, talk, talk)
            await monitor.wait_for("monitor.stopped", 2)
            async with open_dashboard(browser, dashboard.page.url) as late:
                for stream in ("talk", "talk-2"):
                    await late.choose(stream)
                    await expect(late.transcripts).to_have_text(NEWEST_FIRST)

    runner.run(main())


def test_recording_is_heard_as_the_monitor_itself_hears_the_file(
    runner: asyncio.Runner, browser: Browser, talk: Path
) -> None:
    async def main() -> None:
        async with running_monitor("--input", talk, "--no-ws") as alone:
            own = [event["data"] for event in await alone.wait_for("emotion.utterance", 2)]
        async with on_monitor(browser, *NO_MICROPHONE) as (monitor, dashboard):
            await drop(dashboard, talk)
            sent = [event["data"] for event in await monitor.wait_for("emotion.utterance", 2)]
        for mine, theirs in zip(own, sent, strict=True):
            assert (mine["start_ms"], mine["end_ms"]) == (theirs["start_ms"], theirs["end_ms"])
            assert mine["posterior"] == pytest.approx(theirs["posterior"], abs=0.01)

    runner.run(main())


def test_file_that_the_browser_cannot_read_is_said_in_words(
    runner: asyncio.Runner, browser: Browser, tmp_path: Path, talk: Path
) -> None:
    name = "<img src=x onerror=window.pwned=1>.wav"
    text = tmp_path / name
    text.write_text("nothing that can be heard")

    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (_, dashboard):
            await drop(dashboard, text, talk)
            await expect(
                dashboard.page.get_by_text("This browser cannot read the file")
            ).to_be_visible()
            await expect(dashboard.transcripts).to_have_text(NEWEST_FIRST)
            await expect(dashboard.page.get_by_text(name)).to_be_visible()
            assert await dashboard.page.evaluate("window.pwned") is None
            await dashboard.page.get_by_role("button", name=f"Remove {name}").click()
            await expect(dashboard.page.get_by_text("This browser cannot read")).to_have_count(0)

    runner.run(main())


def test_recording_in_which_nobody_speaks_waits_for_nothing_once_it_has_ended(
    runner: asyncio.Runner, browser: Browser, tmp_path: Path
) -> None:
    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (_, dashboard):
            await drop(dashboard, write_wav(tmp_path / "quiet.wav", silence(1.0)))
            await expect(dashboard.state).to_have_text("nobody has spoken")
            await expect(dashboard.page.locator("#now")).to_contain_text("nothing was heard")
            await expect(dashboard.page.locator("#now")).not_to_contain_text("yet")
            await expect(dashboard.page.locator("#connection")).to_have_text("live")
            mark = dashboard.page.get_by_role("button", name="Mark", exact=True)
            await expect(mark).to_have_attribute("title", "Listening has ended here.")
            await expect(mark).to_be_disabled()

    runner.run(main())


def test_recording_that_was_chosen_last_and_its_problem_are_in_sight(
    runner: asyncio.Runner, browser: Browser, tmp_path: Path
) -> None:
    texts = [tmp_path / f"text-{number}.wav" for number in range(1, 9)]
    for text in texts:
        text.write_text("nothing that can be heard")

    async def main() -> None:
        async with on_monitor(browser, *NO_MICROPHONE) as (_, dashboard):
            choose = dashboard.page.locator("input[type=file]")
            files = dashboard.page.get_by_role("list", name="Recordings").get_by_role("listitem")
            await choose.set_input_files(texts[:7])
            last = files.nth(6).get_by_role("alert")
            await expect(last).to_be_in_viewport(ratio=1)
            await choose.set_input_files(texts[7])
            await expect(files.first).to_contain_text(["text-8.wav"])

    runner.run(main())


def test_stream_that_the_monitor_does_not_take_is_refused_in_its_words(
    runner: asyncio.Runner, browser: Browser, tmp_path: Path, talk: Path
) -> None:
    settings = tmp_path / "monitor.toml"
    settings.write_text("[audio]\nmax_streams = 1\n")

    async def main() -> None:
        flags = (*NO_MICROPHONE, "--config", settings)
        async with on_monitor(browser, *flags) as (_, dashboard):
            await dashboard.page.get_by_role("button", name="Speak").click()
            await expect(dashboard.page.locator(".heard")).to_contain_text("leave me")
            await drop(dashboard, talk)
            words = "The monitor says: 1 streams are the limit"
            await expect(dashboard.page.get_by_text(words)).to_be_visible()

    runner.run(main())


def test_token_goes_with_what_the_page_sends(
    runner: asyncio.Runner, browser: Browser, tmp_path: Path, talk: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)

    async def main() -> None:
        flags = (*NO_MICROPHONE, "--ws-token-file", token)
        async with asyncio.timeout(3 * DEADLINE_S), running_monitor(*flags) as monitor:
            url = f"http://127.0.0.1:{await monitor.port()}/"
            async with open_dashboard(browser, url) as dashboard:
                await dashboard.page.get_by_label("Token").fill(token.read_text().strip())
                await dashboard.page.keyboard.press("Enter")
                await dashboard.live()
                await drop(dashboard, talk)
                await expect(dashboard.transcripts).to_have_text(NEWEST_FIRST)

    runner.run(main())


# --- several streams ---------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 1280])
def test_two_streams_are_seen_together_and_alone_and_axe_finds_nothing_to_object_to(
    width: int, runner: asyncio.Runner, browser: Browser, long_talk: Path
) -> None:
    async def main() -> None:
        flags = ["--input", long_talk, "--stream", "hall", "--input", long_talk]
        flags += ["--stream", "kitchen", "--node", "node"]
        flags += ["--pace", "realtime", "--ws-port", "0", "--journal", "off"]
        async with asyncio.timeout(3 * DEADLINE_S), running_monitor(*flags) as monitor:
            url = f"http://127.0.0.1:{await monitor.port()}/"
            async with open_dashboard(browser, url, width=width) as dashboard:
                cards = dashboard.page.locator(".overview li")
                await expect(cards).to_have_count(2)
                await expect(
                    cards.locator(".level[data-speech=true] .level-fill")
                ).not_to_have_count(0)
                names = dashboard.page.locator(".utterance .stream-name")
                await expect(names.filter(has_text="hall")).not_to_have_count(0)
                await expect(names.filter(has_text="kitchen")).not_to_have_count(0)
                await nothing_to_object_to(dashboard)
                await dashboard.choose("kitchen")
                await expect(dashboard.page.locator("#now")).to_contain_text("speech, -")
                await expect(dashboard.transcripts.first).to_have_text(
                    re.compile("|".join(SENTENCES))
                )
                await expect(names).to_have_count(0)
                await nothing_to_object_to(dashboard)
                await dashboard.show("Session")
                await nothing_to_object_to(dashboard)
                await dashboard.choose("All")
                speakers = dashboard.page.get_by_role("table", name="Speaking time by stream")
                await expect(speakers.get_by_role("row")).to_have_count(2)
                await nothing_to_object_to(dashboard)

    runner.run(main())


def test_mark_and_mute_go_to_the_stream_that_is_looked_at(
    runner: asyncio.Runner, browser: Browser, talk: Path, tmp_path: Path
) -> None:
    quiet = write_wav(tmp_path / "quiet.wav", silence(60))

    async def main() -> None:
        flags = ["--input", quiet, "--input", quiet, "--stream", "hall", "--stream", "kitchen"]
        flags += ["--pace", "realtime", "--ws-port", "0", "--journal", "off"]
        async with on_monitor(browser, *flags) as (monitor, dashboard):
            await dashboard.choose("kitchen")
            await dashboard.page.get_by_label("What to mark").fill("the phone rang")
            await dashboard.page.keyboard.press("Enter")
            await dashboard.page.get_by_role("button", name="Mute").click()
            await expect(dashboard.page.get_by_role("button", name="Unmute")).to_be_visible()
            (mark,) = await monitor.wait_for("mark")
            (muted,) = await monitor.wait_for("device.muted")
            assert {mark["source"], muted["source"]} == {muted["source"]}
            assert muted["source"].endswith("/kitchen")
            await dashboard.choose("All")
            await expect(dashboard.page.locator(".overview li", has_text="muted")).to_have_count(1)
            await dashboard.show("Health")
            row = dashboard.page.get_by_role("row", name="kitchen")
            await expect(row).to_contain_text("muted")
            words = "kitchen is muted: nothing of it is heard until it is unmuted."
            await expect(dashboard.page.get_by_text(words)).to_be_visible()

    runner.run(main())


def test_health_says_that_the_broker_is_away_what_waits_and_what_to_do(
    runner: asyncio.Runner, browser: Browser
) -> None:
    async def main() -> None:
        flags = (*NO_MICROPHONE, "--mqtt-url", f"mqtt://127.0.0.1:{free_port()}")
        async with on_monitor(browser, *flags) as (_, dashboard):
            await dashboard.show("Health")
            main = dashboard.page.get_by_role("main")
            await expect(main).to_contain_text("The broker is not reached; 0 events wait for it")
            await expect(main).to_contain_text("not connected")

    runner.run(main())


def test_health_says_which_device_model_and_recogniser_hear(
    runner: asyncio.Runner, browser: Browser, long_talk: Path
) -> None:
    async def main() -> None:
        flags = ("--input", long_talk, "--pace", "realtime", "--ws-port", "0", "--node", "node")
        async with on_monitor(browser, *flags, "--stream", "hall", "--journal", "off") as (
            _,
            dashboard,
        ):
            await expect(dashboard.transcripts).not_to_have_count(0)
            await dashboard.show("Health")
            row = dashboard.page.get_by_role("row", name="hall")
            await expect(row).to_contain_text("long-talk.wav")
            await expect(row).to_contain_text("listening")
            main = dashboard.page.get_by_role("main")
            await expect(main).to_contain_text("stser-tiny-en (small, in the package)")
            await expect(main).to_contain_text("Clients1")
            await expect(main).to_contain_text("95 % within")
            await expect(main).to_contain_text("Journalin memory")

    runner.run(main())
