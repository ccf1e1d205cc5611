"""The dashboard in a real browser, on a real monitor or on the publisher that serves it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import xmlschema
from playwright.async_api import Browser, expect

from monitor.commands import Command, CommandDesk, Mark, Mute
from monitor.events import (
    DeviceOverflow,
    Happening,
    SpeechBegan,
    Transcript,
    UtteranceEmotion,
    WireEvent,
    Word,
)
from monitor.publish.emotionml import NAMESPACE
from monitor.publish.journal import Journal
from monitor.publish.websocket import WebSocketPublisher, WebSocketSettings
from monitor.publish.wire import WireEncoder
from stser_core.explain import Salience
from stser_core.posterior import EmotionPosterior
from tests.support.browser import Dashboard, needs_chromium, open_browser, open_dashboard
from tests.support.happenings import (
    NOON,
    SEGMENT,
    STARTED,
    STATE,
    UTTERANCE,
    announce,
    in_memory,
)
from tests.support.monitor_process import DEADLINE_S, running_monitor
from tests.support.port import on_port
from tests.support.processes import free_port
from tests.support.speech import spoken, write_wav
from tests.support.standards import standard

pytestmark = needs_chromium
expect.set_options(timeout=1000 * DEADLINE_S)

SENTENCES = ["leave me alone", "i am so happy today"]
AXE = Path(__file__).parents[2] / "dashboard/node_modules/axe-core/axe.min.js"
MANY = 10_000

SCROLL_BY = """px => {
  const list = document.querySelector(".scroller");
  const start = scrollY + list.getBoundingClientRect().top;
  list.scrollTop = px;
  scrollTo(0, start + px);
}"""
"""Goes so far down the list, whether it scrolls or the page does."""

CARDS = """cards => {
  const rects = cards.map((card) => card.getBoundingClientRect());
  const ends = cards.map((card) => card.querySelector(".figures").getBoundingClientRect().bottom);
  return [
    rects.map(({ height }) => height),
    rects.map(({ bottom }, i) => bottom - ends[i]),
    rects.slice(1).map(({ top }, i) => Math.round(top - rects[i].bottom)),
  ];
}"""
"""How high each card is, how much of it is empty, and how far it is to the next, in pixels."""

HOSTILE = [
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    '"><svg onload=window.pwned=1>',
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}",
    "\u202egnirts desrever \x00 \u2028 \ud83d\ude00 " + "w" * 2_000,
]


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sentences with silence around each."""
    samples = np.concatenate([spoken(text, before_s=0.6, after_s=0.6) for text in SENTENCES])
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", samples)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the module, for the browser lives on it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def browser(runner: asyncio.Runner) -> Iterator[Browser]:
    opened = open_browser()
    yield runner.run(opened.__aenter__())
    runner.run(opened.__aexit__(None, None, None))


@dataclass(slots=True)
class Station:
    """A publisher with a browser on it; the test says what is announced."""

    publisher: WebSocketPublisher
    journal: Journal
    browser: Browser
    commands: list[Command]
    encoder: WireEncoder

    def announce(self, *happenings: Happening) -> list[WireEvent]:
        events = [self.encoder.encode(happening) for happening in happenings]
        announce(self.journal, self.publisher, *events)
        return events

    @asynccontextmanager
    async def page(self, **settings: Any) -> AsyncIterator[Dashboard]:
        """A page that is connected and has said nothing bad at its end."""
        async with open_dashboard(self.browser, self.publisher.url, **settings) as dashboard:
            await dashboard.live()
            yield dashboard
            assert dashboard.problems == []


Visit = Callable[[Station], Awaitable[None]]
OnStation = Callable[..., None]


@pytest.fixture
def on_station(runner: asyncio.Runner, browser: Browser) -> OnStation:
    """Runs a visit on a publisher of its own."""

    async def station(visit: Visit, deadline_s: float, settings: WebSocketSettings) -> None:
        desk, commands = CommandDesk(), list[Command]()
        desk.open(commands.append)
        async with (
            asyncio.timeout(deadline_s),
            in_memory() as journal,
            on_port(settings, journal, desk) as publisher,
        ):
            encoder = WireEncoder("node", "mic", clock=lambda: NOON)
            await visit(Station(publisher, journal, browser, commands, encoder))

    def run(visit: Visit, deadline_s: float = 3 * DEADLINE_S, **settings: Any) -> None:
        runner.run(station(visit, deadline_s, WebSocketSettings(port=0, **settings)))

    return run


def said(
    number: int,
    text: str = "leave me",
    label: str = "angry",
    *,
    weighed: bool = True,
    **changed: Any,
) -> UtteranceEmotion:
    """An utterance of two seconds, three seconds after the one before."""
    shares = dict.fromkeys(("angry", "happy", "neutral", "sad"), 0.1)
    shares[label if label != "uncertain" else "angry"] = 0.7
    start = 48_000 * number
    start_s = start / 16_000
    heard = text.split()
    return replace(
        UTTERANCE,
        segment=replace(
            SEGMENT,
            utterance=number,
            start=start,
            end=start + 32_000,
            speech_end=start + 32_000,
            closed_at=start + 38_400,
        ),
        transcript=Transcript(
            tuple(
                Word(word, start_s + 0.2 * i, start_s + 0.2 * i + 0.2, 0.9)
                for i, word in enumerate(heard)
            )
        ),
        verdict=replace(
            UTTERANCE.verdict,
            posterior=EmotionPosterior(tuple(shares.values())),
            salience=Salience(
                hop_ms=100,
                speech=(0.05,) * 20,
                words=tuple(
                    (5 if i == 0 else 1) / (len(heard) + 4) for i in range(len(heard) * weighed)
                ),
            ),
        ),
        **changed,
    )


# --- on a real monitor -------------------------------------------------------------------------


def test_words_and_bars_of_a_recording_appear_on_the_page(
    talk: Path, runner: asyncio.Runner, browser: Browser
) -> None:
    async def main() -> None:
        flags = ["--input", talk, "--pace", "realtime", "--ws-port", "0", "--node", "page"]
        async with (
            asyncio.timeout(3 * DEADLINE_S),
            running_monitor(*flags) as monitor,
        ):
            url = f"http://127.0.0.1:{await monitor.port()}/"
            async with open_dashboard(browser, url) as dashboard:
                await expect(dashboard.transcripts).to_have_text(SENTENCES[::-1])
                printed = monitor.of("emotion.utterance")[-1]["data"]
                bars = dashboard.page.locator(".utterance").first.get_by_role("img")
                leading = max(printed["posterior"], key=printed["posterior"].__getitem__)
                share = round(100 * printed["posterior"][leading])
                await expect(bars.first).to_have_attribute(
                    "aria-label", f"ensemble: {leading} {share} %"
                )
                await expect(bars).to_have_count(4)
                await expect(dashboard.page.locator("#source")).to_have_text("page/mic")

    runner.run(main())


def test_page_keeps_a_mark_that_cannot_go_and_catches_up_when_a_killed_monitor_is_back(
    talk: Path, runner: asyncio.Runner, browser: Browser
) -> None:
    async def main() -> None:
        flags = ["--input", talk, "--pace", "realtime", "--node", "again"]
        flags += ["--ws-port", str(free_port())]
        async with asyncio.timeout(4 * DEADLINE_S):
            async with running_monitor(*flags) as first:
                url = f"http://127.0.0.1:{await first.port()}/"
                context = open_dashboard(browser, url)
                dashboard = await context.__aenter__()
                await expect(dashboard.transcripts.first).to_have_text(SENTENCES[0])
                await first.end(signal.SIGKILL)
            await dashboard.page.locator("#connection[data-status=lost]").wait_for()
            mark = dashboard.page.get_by_label("What to mark")
            await mark.fill("the phone rang")
            await mark.press("Enter")
            await expect(dashboard.page.locator(".commands .warning")).to_contain_text(
                "not reachable"
            )
            await expect(mark).to_have_value("the phone rang")
            async with running_monitor(*flags) as second:
                await second.wait_for("emotion.utterance", 2)
                await expect(dashboard.transcripts).to_have_text([*SENTENCES[::-1], SENTENCES[0]])
                notes = dashboard.page.locator("#utterances .note")
                await expect(notes.filter(has_text="listening has begun")).to_have_count(2)
                await expect(notes.filter(has_text="missed")).to_have_count(0)
            await context.__aexit__(None, None, None)

    runner.run(main())


# --- what is shown -----------------------------------------------------------------------------


def test_state_is_shown_large_and_who_speaks_is_said(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            station.announce(STATE, SpeechBegan(1, 0))
            await expect(dashboard.state).to_have_text("angry")
            await expect(dashboard.page.locator(".activity")).to_have_text("someone is speaking")

    on_station(visit)


def test_page_that_is_opened_late_is_told_what_went_before(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        station.announce(STARTED, said(1, "long ago"), STATE)
        async with station.page() as dashboard:
            await expect(dashboard.transcripts).to_have_text(["long ago"])
            await expect(dashboard.state).to_have_text("angry")

    on_station(visit)


def test_heavy_words_are_marked_and_the_reasons_of_an_abstention_are_words(
    on_station: OnStation,
) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            station.announce(said(1, "leave me alone", abstained=("low_snr", "too_short")))
            row = dashboard.page.locator(".utterance")
            await expect(row.locator("mark")).to_have_text(["leave"])
            await expect(row.locator(".why")).to_have_text("too noisy, too short to judge")
            await expect(row.locator(".label")).to_have_text("uncertain")

    on_station(visit)


def test_keyboard_alone_opens_an_utterance_goes_to_the_next_and_closes_it(
    on_station: OnStation,
) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            station.announce(said(1), said(2))
            await expect(dashboard.page.locator(".utterance")).to_have_count(2)
            button = dashboard.page.locator(".utterance .open").first
            await button.focus()
            await dashboard.page.keyboard.press("Enter")
            heading = dashboard.page.get_by_role("heading", name="Utterance 2", exact=True)
            await expect(heading).to_be_focused()
            await dashboard.page.keyboard.press("ArrowDown")
            await expect(dashboard.page.locator("#detail-heading")).to_have_text("Utterance 1")
            await dashboard.page.keyboard.press("Escape")
            await expect(dashboard.page.locator(".detail")).to_have_count(0)
            await expect(button).to_be_focused()

    on_station(visit)


def test_arrow_keys_choose_in_a_list_while_an_utterance_is_open(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            station.announce(said(1), said(2))
            await dashboard.page.locator(".utterance .open").first.click()
            span = dashboard.page.get_by_label("Time shown")
            await span.focus()
            await dashboard.page.keyboard.press("ArrowDown")
            await expect(span).to_have_value("120")
            await expect(dashboard.page.locator("#detail-heading")).to_have_text("Utterance 2")

    on_station(visit)


def test_filter_and_search_leave_what_matches(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            station.announce(said(1, "leave me"), said(2, "so happy", "happy"), said(3, "me too"))
            await expect(dashboard.transcripts).to_have_count(3)
            await dashboard.page.get_by_role("searchbox").fill("ME")
            await expect(dashboard.transcripts).to_have_text(["me too", "leave me"])
            await dashboard.page.get_by_role("searchbox").fill("")
            await dashboard.page.get_by_role("button", name="angry", exact=True).click()
            await expect(dashboard.transcripts).to_have_text(["so happy"])

    on_station(visit)


def test_paused_page_stands_still_and_goes_back_to_live(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            station.announce(said(1, "before"))
            await expect(dashboard.transcripts).to_have_text(["before"])
            await dashboard.page.get_by_role("button", name="Pause").click()
            station.announce(said(2, "after"))
            to_live = dashboard.page.get_by_role("button", name="Jump to live")
            await expect(to_live).to_contain_text("1 new")
            await expect(dashboard.transcripts).to_have_text(["before"])
            await to_live.click()
            await expect(dashboard.transcripts).to_have_text(["after", "before"])

    on_station(visit)


@pytest.mark.parametrize(("width", "middle"), [(390, "word24"), (1280, "word19")])
def test_rows_in_sight_stay_where_they_are_while_newer_ones_come(
    width: int, middle: str, on_station: OnStation
) -> None:
    async def visit(station: Station) -> None:
        async with station.page(width=width) as dashboard:
            long = "and so on " * 10
            station.announce(
                *(said(number, f"word{number} {number % 3 * long}") for number in range(1, 41))
            )
            row = dashboard.page.locator(".utterance", has_text=middle)
            await expect(dashboard.page.locator("#utterances-heading")).to_contain_text("40")
            await dashboard.page.evaluate(SCROLL_BY, 1900)
            await expect(row).to_be_in_viewport(ratio=1)
            before = await row.bounding_box()
            station.announce(said(41, "word41"), said(42, "word42"))
            await expect(dashboard.page.locator("#utterances-heading")).to_contain_text("42")
            assert await row.bounding_box() == before

    on_station(visit)


def test_card_on_a_phone_is_as_high_as_what_is_in_it_and_the_page_alone_scrolls(
    on_station: OnStation,
) -> None:
    async def visit(station: Station) -> None:
        async with station.page(width=390) as dashboard:
            page = dashboard.page
            station.announce(
                *(said(n, f"word{n} " + "and so on " * (n % 2 * 10)) for n in range(1, 41))
            )
            await expect(page.locator("#utterances-heading")).to_contain_text("40")
            await page.evaluate(SCROLL_BY, 2_500)
            await expect(page.locator(".utterance", has_text="word17")).to_be_in_viewport(ratio=1)
            heights, empty, gaps = await page.locator(".utterance").evaluate_all(CARDS)
            assert max(heights) - min(heights) > 15
            assert max(empty) < 12
            assert set(gaps) == {8}
            assert (
                await page.locator(".scroller").evaluate("e => e.scrollHeight - e.clientHeight")
                == 0
            )
            to_live = page.get_by_role("button", name="Jump to live")
            await to_live.click()
            await expect(page.locator(".utterance", has_text="word40")).to_be_in_viewport(ratio=1)
            await expect(to_live).to_be_hidden()

    on_station(visit)


def test_what_was_missed_is_said_where_it_is_missing(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            station.announce(said(1), DeviceOverflow("USB microphone", 2, 640))
            note = dashboard.page.locator("#utterances .note")
            await expect(note).to_contain_text(["40 ms of audio were lost"])
            await dashboard.show("Health")
            await expect(dashboard.page.get_by_role("main")).to_contain_text("Close other programs")

    on_station(visit)


def test_marks_and_mute_reach_the_monitor(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            await dashboard.page.get_by_label("What to mark").fill("the phone rang")
            await dashboard.page.keyboard.press("Enter")
            await dashboard.page.get_by_role("button", name="Mute").click()
            async with asyncio.timeout(DEADLINE_S):
                while len(station.commands) < 2:
                    await dashboard.page.evaluate("0")
            assert station.commands == [Mark("the phone rang"), Mute()]

    on_station(visit)


def test_session_view_counts_and_saves_what_was_heard(
    tmp_path: Path, on_station: OnStation
) -> None:
    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            events = station.announce(said(1), said(2, "so happy", "happy"))
            await dashboard.show("Session")
            share = dashboard.page.get_by_role("row", name="angry").first
            await expect(share).to_contain_text("50 %")
            files = {}
            for name in ("CSV", "JSON Lines", "Picture (PNG)"):
                async with dashboard.page.expect_download() as download:
                    await dashboard.page.get_by_role("button", name=name).click()
                path = tmp_path / name.replace(" ", "-")
                await (await download.value).save_as(path)
                files[name] = path.read_bytes()
            assert files["JSON Lines"] == b"".join(event.body + b"\n" for event in events)
            assert files["CSV"].count(b"\r\n") == 3
            assert b",so happy\r\n" in files["CSV"]
            assert files["Picture (PNG)"].startswith(b"\x89PNG")

    on_station(visit)


def test_saved_emotionml_is_what_the_schema_of_the_w3c_accepts_whatever_was_said(
    tmp_path: Path, on_station: OnStation
) -> None:
    schema = xmlschema.XMLSchema(str(standard("emotionml/emotionml.xsd")))
    path = tmp_path / "session.emotionml"

    async def visit(station: Station) -> None:
        async with station.page() as dashboard:
            station.announce(
                *(said(number, text) for number, text in enumerate(HOSTILE, 1)),
                said(7, abstained=("low_snr", "too_short")),
                replace(said(8), transcript=None),
            )
            await dashboard.show("Session")
            async with dashboard.page.expect_download() as download:
                await dashboard.page.get_by_role("button", name="EmotionML").click()
            await (await download.value).save_as(path)

    on_station(visit)
    schema.validate(str(path))
    root = ET.parse(path).getroot()
    emotions = root.findall(f"{{{NAMESPACE}}}emotion")
    assert len(emotions) == 8
    texts = ["".join(emotion.itertext()).strip() for emotion in emotions]
    assert texts[: len(HOSTILE) - 1] == HOSTILE[:-1]
    first = emotions[0].findall(f"{{{NAMESPACE}}}category")
    assert {c.get("name"): c.get("confidence") for c in first} == {
        "angry": "0.7",
        "happy": "0.1",
        "neutral": "0.1",
        "sad": "0.1",
    }
    assert emotions[0].get("expressed-through") == "voice text"


def test_token_is_asked_for_where_one_is_needed(tmp_path: Path, on_station: OnStation) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)

    async def visit(station: Station) -> None:
        station.announce(said(1, "a secret"))
        async with open_dashboard(station.browser, station.publisher.url) as dashboard:
            field = dashboard.page.get_by_label("Token")
            for guess in ("wrong", token.read_text().strip()):
                await field.fill(guess)
                await dashboard.page.keyboard.press("Enter")
                if guess == "wrong":
                    await expect(field).to_have_value("")
            station.announce(STATE)
            await expect(dashboard.transcripts).to_have_text(["a secret"])

    on_station(visit, token_file=token)


# --- what must not happen ----------------------------------------------------------------------


def test_hostile_transcripts_stay_text(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        async with station.page(height=2_000) as dashboard:
            station.announce(
                *(said(number, text) for number, text in enumerate(HOSTILE, 1)),
                *(said(number, text, weighed=False) for number, text in enumerate(HOSTILE, 7)),
                replace(STARTED, notice=HOSTILE[0], recogniser=HOSTILE[1]),
                STATE,
            )
            page = dashboard.page
            for text in HOSTILE[:5]:
                row = page.locator(".utterance").filter(has_text=text)
                await expect(row).to_have_count(2)
                await row.first.get_by_role("button").click()
                await expect(page.locator(".detail .transcript")).to_contain_text(text)
            await dashboard.show("Session")
            await dashboard.show("Health")
            for text in HOSTILE[:2]:
                await expect(page.get_by_role("main")).to_contain_text(text)
            assert await page.evaluate("window.pwned") is None
            assert await page.locator("#page :is(img, script, iframe, object)").count() == 0
            overflow = "document.documentElement.scrollWidth - innerWidth"
            assert await page.evaluate(overflow) <= 0, "a long word widens the page"

    on_station(visit)


def test_page_asks_nothing_of_any_other_host(on_station: OnStation) -> None:
    async def visit(station: Station) -> None:
        asked: list[str] = []
        context = await station.browser.new_context()
        page = await context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        await page.goto(station.publisher.url)
        await page.locator("#connection[data-status=live]").wait_for()
        await context.close()
        own = station.publisher.url
        foreign = [
            url
            for url in asked
            if not url.startswith((own, own.replace("http", "ws"), "data:image/svg+xml"))
        ]
        assert asked
        assert foreign == []

    on_station(visit)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_to_object_to(width: int, dark: bool, on_station: OnStation) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is missing: npm ci in dashboard/")

    async def visit(station: Station) -> None:
        async with station.page(width=width, dark=dark) as dashboard:
            station.announce(
                STARTED,
                said(1),
                said(2, "so happy", "happy"),
                said(3, "what", abstained=("low_snr",)),
                STATE,
                DeviceOverflow("USB microphone", 2, 640),
            )
            await expect(dashboard.transcripts).to_have_count(3)
            await dashboard.page.evaluate(AXE.read_text("utf-8"))
            for view in ("Live", "Session", "Health", "Live"):
                await dashboard.show(view)
                found = await dashboard.page.evaluate("axe.run()")
                assert found["passes"], "nothing was looked at"
                assert [
                    (rule["id"], [node["html"] for node in rule["nodes"]])
                    for rule in found["violations"]
                ] == []
            await dashboard.page.locator(".utterance .open").first.click()
            found = await dashboard.page.evaluate("axe.run()")
            assert [rule["id"] for rule in found["violations"]] == []

    on_station(visit)


FRAME_TIMES = """async () => {
  const list = document.querySelector(".scroller");
  const medians = [];
  for (let round = 0; round < 3; round++) {
    const frames = [];
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < 30; i++) {
      list.scrollTop += 137;
      const now = await new Promise(requestAnimationFrame);
      frames.push(now - last);
      last = now;
    }
    medians.push(frames.sort((a, b) => a - b)[15]);
  }
  list.scrollTop = 0;
  return Math.min(...medians);
}"""
"""Milliseconds from frame to frame while the list scrolls; the best of three, for other programs run, too."""


@pytest.mark.timeout(300)
def test_ten_thousand_utterances_scroll_as_smoothly_as_a_hundred(
    record_property: Callable[[str, object], None], on_station: OnStation
) -> None:
    labels = ["angry", "happy", "neutral", "sad"]

    async def visit(station: Station) -> None:
        async with station.page() as dashboard:

            async def grow(first: int, last: int) -> float:
                station.announce(
                    *(
                        said(number, f"word{number} me", labels[number % 4])
                        for number in range(first, last + 1)
                    )
                )
                count = dashboard.page.locator("#utterances-heading .count")
                await expect(count).to_have_text(str(last), timeout=200_000)
                frame_ms: float = await dashboard.page.evaluate(FRAME_TIMES)
                record_property(f"frame_ms_of_{last}", frame_ms)
                return frame_ms

            few, many = await grow(1, 100), await grow(101, MANY)
            assert many < 2 * few + 20
            assert await dashboard.page.locator("#utterances li").count() < 40
            await dashboard.page.get_by_role("searchbox").fill("word7777")
            await expect(dashboard.transcripts).to_have_text(["word7777 me"])

    on_station(visit, queue_events=MANY, deadline_s=280)
