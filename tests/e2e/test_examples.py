"""The clients of docs/clients.md, as they are pasted: with a monitor that is killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from monitor.assembly import DEMO
from monitor.events import SpeechBegan
from monitor.publish.websocket import WebSocketSettings
from tests.monitor.publish.test_websocket import subscribed
from tests.support.broker import running_mosquitto
from tests.support.happenings import STATE, UTTERANCE, announce, encoded, in_memory
from tests.support.monitor_process import DEADLINE_S, RunningMonitor, running_monitor
from tests.support.port import on_port
from tests.support.processes import free_port
from tests.support.speech import silence, spoken, write_wav
from tests.support.virtual_microphone import VirtualMicrophone

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SENTENCES = ["leave me alone", "i am so happy today"]


def test_page_of_clients_shows_the_files_that_are_run_here() -> None:
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    shown = dict(re.findall(r"`(examples/\S+)`:\n\n```\w+\n(.*?)```", page, flags=re.DOTALL))
    files = {f"examples/{path.name}": path.read_text("utf-8") for path in EXAMPLES.iterdir()}
    assert shown == files


# --- with a monitor ----------------------------------------------------------------------------


@dataclass(slots=True)
class Client:
    """A program of the page, and the lines that it has printed."""

    lines: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, line: str) -> None:
        self.lines.append(line)
        self.news.set()

    async def until(self, count: int, wanted: str) -> None:
        """Wait until so many lines hold what is wanted."""
        while sum(wanted in line for line in self.lines) < count:
            self.news.clear()
            await self.news.wait()


@asynccontextmanager
async def client(
    *command: str | Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """A client as a program of its own."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    seen = Client()

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            seen.take(line.decode().rstrip())

    reading = asyncio.create_task(read())
    try:
        yield seen
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


@asynccontextmanager
async def restarted(folder: Path, port: int, *flags: str | Path) -> AsyncIterator[Any]:
    """A monitor that is killed on leaving; the journal stays."""
    said = [spoken(text, before_s=0.3, after_s=0.6) for text in SENTENCES]
    talk = write_wav(folder / "talk.wav", np.concatenate([*said, silence(100)]))  # never waited out
    flags = ("--input", talk, "--pace", "realtime", "--ws-port", str(port), *flags)
    environment = {"XDG_STATE_HOME": str(folder)}
    async with running_monitor(*flags, "--node", "robot", environment=environment) as monitor:
        yield monitor
        await monitor.end(signal.SIGKILL)


async def followed(folder: Path, command: list[str]) -> list[str]:
    """What a client has printed of a monitor that was killed after its first utterance, and of the next run."""
    port = free_port()
    async with asyncio.timeout(4 * DEADLINE_S), AsyncExitStack() as stack:
        async with restarted(folder, port) as monitor:
            await monitor.port()
            seen = await stack.enter_async_context(client(*command, f"ws://127.0.0.1:{port}", "0"))
            await seen.until(1, " emotion.utterance")
        async with restarted(folder, port):
            await seen.until(3, " emotion.utterance")
    return seen.lines


def told_once(lines: list[str]) -> list[int]:
    """The numbers of all lines but those of a state, which may come ahead of its place, and of provisional events."""
    numbered = [line.split() for line in lines if line[0].isdigit()]
    return [int(number) for number, kind, *_ in numbered if kind != "emotion.state"]


def of_states(lines: list[str]) -> set[int]:
    return {int(line.split()[0]) for line in lines if " emotion.state " in line}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("language", ["python", "node"])
def test_client_in_another_program_misses_nothing_over_a_kill(
    language: str, tmp_path: Path
) -> None:
    python = [sys.executable, str(EXAMPLES / "follow.py")]
    command = in_node() if language == "node" else python
    lines = asyncio.run(followed(tmp_path, command))
    numbers = told_once(lines)
    assert numbers == sorted(set(numbers))
    everything = set(numbers) | of_states(lines)
    assert everything == set(range(1, max(everything) + 1))
    assert sum(" monitor.started" in line for line in lines) == 2


def in_node() -> list[str]:
    """The client in JavaScript."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    return [node, "--experimental-websocket", "--no-warnings", str(EXAMPLES / "print.mjs")]


def test_client_in_javascript_is_told_only_news_however_many_streams_it_has_met() -> None:
    """It is interrupted after the current state, and again after more streams than an address can name."""
    port, command = free_port(), in_node()
    of_mic = encoded(STATE, *[SpeechBegan(1, 0)] * 3)
    began = [encoded(*[SpeechBegan(1, 0)] * 2, stream=f"call-{n:027d}") for n in range(250)]

    async def main() -> list[str]:
        async with (
            asyncio.timeout(DEADLINE_S),
            in_memory() as journal,
            client(*command, f"ws://127.0.0.1:{port}") as seen,
        ):
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                announce(journal, publisher, *of_mic)
                await seen.until(1, " emotion.state")
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                await subscribed(publisher)
                announce(journal, publisher, *(event for event, _ in began))
                await seen.until(250, " speech.started")
            journal.append(began[0][1])
            async with on_port(WebSocketSettings(port=port), journal):
                await seen.until(251, " speech.started")
            return seen.lines

    lines = asyncio.run(main())
    assert [line.split()[0].lstrip("0") for line in lines] == [*251 * ["1"], "2"]


def test_client_in_javascript_goes_on_after_the_first_state_of_a_stream_that_had_none() -> None:
    port, command = free_port(), in_node()
    events = encoded(STATE, *[SpeechBegan(1, 0)] * 2)

    async def main() -> list[str]:
        async with (
            asyncio.timeout(DEADLINE_S),
            in_memory() as journal,
            client(*command, f"ws://127.0.0.1:{port}") as seen,
        ):
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                await subscribed(publisher)
                await asyncio.sleep(0.6)  # what comes later is no welcome
                announce(journal, publisher, events[0])
                await seen.until(1, " emotion.state")
            journal.append(events[1])
            async with on_port(WebSocketSettings(port=port), journal) as publisher:
                await subscribed(publisher)
                announce(journal, publisher, events[2])
                await seen.until(2, " speech.started")
            return seen.lines

    lines = asyncio.run(main())
    assert [line.split()[0].lstrip("0") for line in lines] == ["1", "2", "3"]


@contextmanager
def serving_examples(took: Any) -> Iterator[int]:
    """The folder of examples over HTTP; what a page posts is handed over."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(EXAMPLES))

        def do_POST(self) -> None:
            took(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            if not self.path.startswith("/page.html"):
                super().do_GET()
                return
            body = (EXAMPLES / "page.html").read_bytes() + REPORTER
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


REPORTER = b"""<script>
  new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((item) =>
    fetch("/seen", { method: "POST", body: item.textContent }))))
    .observe(document.querySelector("#heard"), { childList: true });
</script>"""


@pytest.mark.timeout(240)
def test_page_shows_each_utterance_in_a_browser_over_a_kill(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed: there is no browser to open the page in")

    async def main() -> list[str]:
        seen, loop, port = Client(), asyncio.get_running_loop(), free_port()
        with serving_examples(lambda line: loop.call_soon_threadsafe(seen.take, line)) as pages:
            origin = f"http://127.0.0.1:{pages}"
            address = f"{origin}/page.html?monitor=ws://127.0.0.1:{port}&since=0"
            flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            profile = f"--user-data-dir={tmp_path / 'profile'}"
            stay = "--remote-debugging-port=0"
            async with (
                asyncio.timeout(4 * DEADLINE_S),
                client(browser, *flags, profile, stay, address),
            ):
                for run in (1, 2):
                    async with restarted(tmp_path, port, "--allow-origin", origin):
                        await seen.until(2 * run - 1, ": ")
            return seen.lines

    lines = asyncio.run(main())
    words = [line.partition(": ")[2] for line in lines]
    assert len(words) >= 3
    # The first run, however far it came before it was killed, and then the second.
    told = {
        tuple(first + second)
        for first in (SENTENCES[:1], SENTENCES)
        for second in (SENTENCES[:1], SENTENCES)
    }
    assert tuple(words) in told


@pytest.mark.parametrize("source", ["file", "microphone"])
def test_program_that_speaks_to_a_monitor_prints_words_and_emotions(
    source: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    talk = spoken("leave me alone", before_s=0.5, after_s=1.5)
    path = write_wav(tmp_path / "talk.wav", talk)
    environment: dict[str, str] = {}
    playing: Any = contextlib.nullcontext
    if source == "microphone":
        virtual: VirtualMicrophone = request.getfixturevalue("virtual_microphone")
        environment, playing = dict(virtual.environment), lambda: virtual.playing(path)

    async def main() -> tuple[list[str], list[Any]]:
        flags = ["--device", "none", "--ws-port", "0"]
        async with asyncio.timeout(2 * DEADLINE_S), running_monitor(*flags) as monitor:
            url = f"ws://127.0.0.1:{await monitor.port()}/audio?stream=kitchen"
            given = [str(path)] if source == "file" else []
            command = [sys.executable, str(EXAMPLES / "speak.py"), url, *given]
            async with client(*command, environment=environment) as seen:
                await monitor.wait_for("monitor.started")
                with playing():
                    await seen.until(1, "leave me")
            return seen.lines, await monitor.wait_for("emotion.utterance")

    lines, utterances = asyncio.run(main())
    told = utterances[0]
    assert told["source"].endswith("/kitchen")
    assert lines[0] == f"{told['data']['label']} {told['data']['transcript']['text']}"


def test_program_that_speaks_to_a_monitor_refuses_a_recording_in_stereo(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.zeros((1_600, 2), np.int16), 16_000)

    async def main() -> tuple[int | None, str]:
        async with running_monitor("--device", "none", "--no-asr", "--ws-port", "0") as monitor:
            url = f"ws://127.0.0.1:{await monitor.port()}/audio"
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, EXAMPLES / "speak.py", url, path), stderr=asyncio.subprocess.PIPE
            )
            _, said = await process.communicate()
            return process.returncode, said.decode()

    code, said = asyncio.run(main())
    assert code == 1
    assert said.startswith(f"{path}: not PCM16 mono. Convert it: ffmpeg")


@pytest.mark.timeout(240)
def test_mosquitto_sub_prints_each_utterance_as_it_was_announced(tmp_path: Path) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed")

    async def main() -> tuple[list[str], RunningMonitor]:
        with running_mosquitto(tmp_path) as broker:
            script = [EXAMPLES / "mosquitto_sub.sh", "127.0.0.1", str(broker.port)]
            async with asyncio.timeout(4 * DEADLINE_S), client("sh", *script) as seen:
                async with restarted(tmp_path, free_port(), "--mqtt-url", broker.url) as monitor:
                    await seen.until(2, "emotion.utterance")
                return seen.lines, monitor

    lines, monitor = asyncio.run(main())
    printed = {line.decode() for line in monitor.lines}
    assert set(lines) <= printed
    words = [json.loads(line)["data"]["transcript"]["text"] for line in lines]
    assert words == SENTENCES


@pytest.mark.timeout(240)
def test_node_red_shows_what_was_said_in_anger(tmp_path: Path) -> None:
    program = os.environ.get("STSER_NODE_RED")
    if not program:
        pytest.skip("STSER_NODE_RED names no node-red: there is nothing that runs the flow")
    home, port = tmp_path / "node-red", free_port()
    home.mkdir()
    flow = (EXAMPLES / "node-red.json").read_text("utf-8")

    async def main() -> tuple[list[str], list[str]]:
        with running_mosquitto(tmp_path) as broker:
            # Another port, and shown on standard output, too.
            own = flow.replace('"1883"', f'"{broker.port}"')
            (home / "flows.json").write_text(own.replace('"console": false', '"console": true'))
            command = [program, "--userDir", str(home), "--port", str(port), "flows.json"]
            async with asyncio.timeout(4 * DEADLINE_S), client(*command) as seen:
                await seen.until(1, "Connected to broker")
                flags = ["--input", DEMO, "--pace", "realtime", "--ws-port", "0"]
                async with running_monitor(*flags, "--mqtt-url", broker.url) as monitor:
                    await seen.until(1, "[debug:angry]")
                    utterances = monitor.of("emotion.utterance")
            return (
                [line.partition("[debug:angry] ")[2] for line in seen.lines if "[debug:" in line],
                [
                    utterance["data"]["transcript"]["text"]
                    for utterance in utterances
                    if utterance["data"]["label"] == "angry"
                ],
            )

    shown, angry = asyncio.run(main())
    assert shown == angry == ["i am so angry with you"]


# --- what other programs run -------------------------------------------------------------------


def matches(filter_: str, topic: str) -> bool:
    """Whether an MQTT topic filter without ``#`` takes a topic."""
    wanted, given = filter_.split("/"), topic.split("/")
    return len(wanted) == len(given) and all(
        w in {"+", g} for w, g in zip(wanted, given, strict=True)
    )


def value(tree: Any, path: str) -> Any:
    """A field by its path, as Node-RED writes it."""
    for key in path.split("."):
        tree = tree[key]
    return tree


def test_flow_of_node_red_is_joined_up_and_reads_fields_that_events_have() -> None:
    flow = json.loads((EXAMPLES / "node-red.json").read_text("utf-8"))
    nodes = {node["id"]: node for node in flow}
    assert len(nodes) == len(flow)
    for node in flow:
        assert node.get("z", "stser-tab") in nodes
        for target in (target for wires in node.get("wires", []) for target in wires):
            assert nodes[target]["z"] == node["z"]
    (source,) = (node for node in flow if node["type"] == "mqtt in")
    assert nodes[source["broker"]]["type"] == "mqtt-broker"
    assert matches(source["topic"], "stser/robot/mic/event/emotion.utterance")
    message = {"payload": json.loads(encoded(UTTERANCE)[0].body)}
    (sure,) = (node for node in flow if node["type"] == "switch")
    assert value(message, sure["property"]) == sure["rules"][0]["v"] == "angry"
    (shown,) = (node for node in flow if node["type"] == "debug")
    assert value(message, shown["complete"]) == "leave me"
    assert value(message, shown["statusVal"]) == 0.7


def test_automation_of_home_assistant_reads_fields_that_a_state_has() -> None:
    jinja2 = pytest.importorskip(
        "jinja2", reason="jinja2 is not installed: no template can be read"
    )
    rule = yaml.safe_load((EXAMPLES / "home-assistant.yaml").read_text("utf-8"))
    assert rule.keys() == {"alias", "mode", "triggers", "conditions", "actions"}
    (trigger,), (condition,), (action,) = rule["triggers"], rule["conditions"], rule["actions"]
    assert trigger["trigger"] == "mqtt"
    assert matches(trigger["topic"], "stser/robot/mic/state")
    told = json.loads(encoded(STATE)[0].body)
    strict = jinja2.Environment(undefined=jinja2.StrictUndefined)
    label = strict.from_string(trigger["value_template"]).render(value_json=told)
    assert (label, trigger["payload"]) == ("angry", "sad")
    sure = strict.from_string(condition["value_template"]).render(trigger={"payload_json": told})
    assert sure == "True"
    assert action["action"] == "light.turn_on"
