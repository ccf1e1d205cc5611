"""``--doctor``: the program itself on good and on broken machines, and what it makes of a sound."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config.loader import build
from monitor.doctor.finding import Finding, Status, exit_code, page
from monitor.doctor.kept import journal
from monitor.doctor.microphones import judged
from monitor.doctor.reach import broker, port
from monitor.events import Samples
from monitor.publish.journal import Journal, JournalSettings, journal_path
from monitor.settings import MonitorSettings
from tests.support.broker import Mosquitto
from tests.support.monitor_process import Finished, run_monitor
from tests.support.processes import free_port
from tests.support.speech import spoken, write_wav
from tests.support.virtual_microphone import VirtualMicrophone

NO_SUCH_SERVER = {"PULSE_SERVER": "unix:/nowhere"}


def findings_of(done: Finished) -> dict[str, Any]:
    """Each part's finding, of a run with JSON; nothing else is printed."""
    tree = json.loads(done.output)
    assert tree["exit_code"] == done.code
    assert tree["usable"] == (done.code == 0)
    assert "Traceback" not in done.log
    return {finding["part"]: finding for finding in tree["findings"]}


def examined(microphone: VirtualMicrophone, *flags: str | Path) -> tuple[int, dict[str, Any]]:
    done = run_monitor(
        *("--doctor", "--log-format", "json", *flags), environment=microphone.environment
    )
    return done.code, findings_of(done)


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """More speech than the doctor listens to."""
    return write_wav(tmp_path / "talk.wav", np.tile(spoken("leave me alone, i am so happy"), 5))


def test_a_machine_without_a_microphone_gets_a_page_of_words_with_the_remedy(
    virtual_microphone: VirtualMicrophone,
) -> None:
    environment = {**virtual_microphone.environment, **NO_SUCH_SERVER}
    done = run_monitor("--doctor", "--ws-port", "0", environment=environment)
    said = done.output.decode()
    assert done.code == 3
    assert "PROBLEM devices     No input device" in said
    assert "Remedy: Plug a microphone in" in said
    assert "1 problem to solve first." in said
    assert "Traceback" not in said + done.log
    assert "OK      utterance   The test sentence was judged" in said


def test_a_machine_where_all_is_well_is_measured_and_judged_to_the_last_stage(
    virtual_microphone: VirtualMicrophone, talk: Path, mosquitto: Mosquitto
) -> None:
    with virtual_microphone.playing(talk):
        code, found = examined(virtual_microphone, "--ws-port", "0", "--mqtt-url", mosquitto.url)
    assert code == 0
    assert found["microphone"]["status"] == "ok", found["microphone"]
    figures = found["microphone"]["figures"]
    assert figures["heard_ms"] == 3_000
    assert -40 < figures["level_dbfs"] < -5
    assert not figures["muted"]
    assert {"default", "fakemic"} <= {d["name"] for d in found["devices"]["figures"]["devices"]}
    assert found["model"]["figures"]["digest"].startswith("sha256:")
    assert found["recogniser"]["figures"]["digest"].startswith("sha256:")
    latency = found["utterance"]["figures"]["latency_ms"]
    assert set(latency) == {"endpoint", "asr", "inference", "publish", "total"}
    assert 280 <= latency["endpoint"] < 2000
    assert latency["inference"] > 0, "nothing is prepared ahead: what each stage takes is seen"
    assert "what are you doing today" in found["utterance"]["text"]
    assert found["broker"]["status"] == "ok"


def test_test_sentence_leaves_nothing_behind(
    virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    voice, audio = tmp_path / "voice.npz", tmp_path / "audio"
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'[adaptation]\nstate_file = "{voice}"\n[record]\nfolder = "{audio}"\n', "utf-8"
    )
    examined(virtual_microphone, "--ws-port", "0", "--config", settings)
    assert not voice.exists(), "the voice of the sentence is none that was heard"
    assert not audio.exists()


def test_a_muted_microphone_is_a_problem_although_it_delivers(
    virtual_microphone: VirtualMicrophone, talk: Path
) -> None:
    virtual_microphone.control("set-source-mute", "mic", "1")
    try:
        with virtual_microphone.playing(talk):
            code, found = examined(virtual_microphone, "--ws-port", "0", "--device", "fakemic")
    finally:
        virtual_microphone.control("set-source-mute", "mic", "0")
    assert code == 3
    assert "Every sample is zero: it is muted." in found["microphone"]["text"]
    assert "Unmute it" in found["microphone"]["remedy"]


def test_the_code_is_that_of_the_first_part_that_fails_and_all_are_told(
    virtual_microphone: VirtualMicrophone, talk: Path, tmp_path: Path
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        virtual_microphone.playing(talk),
    ):
        port = taken.getsockname()[1]
        code, found = examined(
            virtual_microphone,
            *("--model", tmp_path, "--ws-port", str(port)),
            *("--mqtt-url", f"mqtt://user:secret@127.0.0.1:{free_port()}"),
        )
    assert code == 4
    problems = {part for part, finding in found.items() if finding["status"] == "problem"}
    assert problems == {"model", "utterance", "port", "broker"}
    assert all(found[part]["remedy"] for part in problems)
    assert f"127.0.0.1:{port} cannot be listened on" in found["port"]["text"]
    assert "secret" not in json.dumps(found)


def test_a_monitor_that_wants_no_microphone_needs_none(
    virtual_microphone: VirtualMicrophone,
) -> None:
    environment = {**virtual_microphone.environment, **NO_SUCH_SERVER}
    flags = ("--doctor", "--device", "none", "--ws-port", "0", "--log-format", "json")
    found = findings_of(done := run_monitor(*flags, environment=environment))
    assert done.code == 0
    assert found["devices"]["status"] == "note"
    assert "microphone" not in found, "there is none to listen to"
    assert found["journal"]["status"] == "ok"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n", "utf-8")
    path.chmod(0o600)
    return path


def port_of(**changed: Any) -> Finding:
    settings = MonitorSettings()
    return port(replace(settings, websocket=replace(settings.websocket, **{"port": 0} | changed)))


def test_a_port_that_others_reach_is_fine_with_a_token(token: Path) -> None:
    assert port_of(host="0.0.0.0", token_file=token).status is Status.OK


def test_a_token_that_others_may_read_is_a_problem(token: Path) -> None:
    token.chmod(0o644)
    refused = port_of(token_file=token)
    assert (refused.status, refused.exit_code) == (Status.PROBLEM, 2)
    assert "chmod 600" in refused.text


def test_a_certificate_that_is_none_is_a_problem(token: Path) -> None:
    refused = port_of(tls_certificate=token, tls_key=token)
    assert refused.exit_code == 2
    assert "websocket.tls_certificate" in refused.text


def test_a_host_that_is_no_name_is_a_problem(token: Path) -> None:
    refused = port_of(host="a..b", token_file=token)
    assert refused.exit_code == 5
    assert "a..b:0 cannot be listened on" in refused.text


def test_a_port_that_no_web_server_holds_is_a_problem_and_no_monitor() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    async def main() -> Finding:
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            taken = server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(port_of, port=taken)

    found = asyncio.run(main())
    assert found.exit_code == 5
    assert found.figures["monitor_runs"] is False


def journal_finding(path: Path | str) -> Finding:
    return asyncio.run(
        journal(MonitorSettings(node="node", journal=JournalSettings(path=str(path))))
    )


def test_a_journal_that_cannot_be_made_is_a_problem() -> None:
    found = journal_finding("/proc/nowhere/journal")
    assert (found.status, found.exit_code) == (Status.PROBLEM, 2)
    assert "--journal /proc/nowhere/journal: cannot be written" in found.text
    assert "'off'" in found.remedy


def test_a_journal_that_is_missing_is_not_made(tmp_path: Path) -> None:
    assert journal_finding(tmp_path / "folder" / "journal").status is Status.OK
    assert list(tmp_path.iterdir()) == []


def test_a_journal_of_another_machine_is_a_problem_and_ones_own_is_not(tmp_path: Path) -> None:
    async def begin(node: str) -> None:
        async with Journal(tmp_path / node, node, JournalSettings()):
            pass

    for node in ("node", "other"):
        asyncio.run(begin(node))
    assert journal_finding(tmp_path / "node").status is Status.OK
    found = journal_finding(tmp_path / "other")
    assert found.exit_code == 2
    assert "belongs to node other" in found.text


def test_a_journal_that_another_monitor_writes_is_a_problem_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    own = journal_path("node", "mic")

    async def main() -> tuple[Finding, Finding]:
        settings = MonitorSettings(node="node")
        named = replace(settings, journal=JournalSettings(path=str(own)))
        async with Journal(own, "node", JournalSettings()):
            return await journal(named), await journal(settings)

    named, unnamed = asyncio.run(main())
    assert named.exit_code == 2
    assert (unnamed.status, unnamed.exit_code) == (Status.NOTE, 0)
    assert "in memory only" in unnamed.text


def test_a_journal_that_is_off_is_told() -> None:
    assert journal_finding("off").status is Status.NOTE


def sine(amplitude: float, seconds: float = 3.0) -> Samples:
    time_s = np.arange(round(seconds * 16_000)) / 16_000
    return (amplitude * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "status", "words"),
    [
        (np.zeros(48_000, np.float32), Status.PROBLEM, "muted"),
        (np.clip(sine(3.0), -1, 1), Status.NOTE, "clipped"),
        (sine(0.2), Status.NOTE, "soft speech drowns"),
        (sine(0.0005), Status.NOTE, "loud enough"),
        (np.concatenate([sine(0.001, 1), sine(0.3, 2)]), Status.OK, "clipped 0.0%"),
    ],
)
def test_a_sound_is_judged_by_what_would_become_of_speech_in_it(
    samples: Samples, status: Status, words: str
) -> None:
    finding = judged("mic", samples, 0, MonitorSettings())
    assert finding.status is status
    assert words in finding.text
    assert bool(finding.remedy) == (status is not Status.OK)


def test_levels_are_those_of_the_sound() -> None:
    figures = judged("mic", sine(0.1), 320, MonitorSettings()).figures
    assert figures["level_dbfs"] == pytest.approx(-23.0, abs=0.1)
    assert figures["peak_dbfs"] == pytest.approx(-20.0, abs=0.1)
    assert figures["noise_dbfs"] == pytest.approx(-23.0, abs=0.3)
    assert figures["lost_ms"] == 20


def test_notes_alone_leave_the_monitor_usable() -> None:
    findings = [Finding("a", Status.OK, "fine"), Finding("b", Status.NOTE, "so so", "be better")]
    assert exit_code(findings) == 0
    assert page(findings).endswith("The monitor can work here.\n")
    findings += [Finding("c", Status.PROBLEM, "bad", "mend it", 5)]
    findings += [Finding("d", Status.PROBLEM, "worse", "mend it", 3)]
    assert exit_code(findings) == 5
    assert "2 problems to solve first" in page(findings)


def test_setting_of_the_broker_that_cannot_be_used_has_the_code_of_a_setting(
    tmp_path: Path,
) -> None:
    given = {"mqtt.url": "mqtt://host", "mqtt.password_file": tmp_path / "missing"}
    finding = asyncio.run(broker(build(MonitorSettings, overrides=given)))
    assert (finding.part, finding.exit_code) == ("broker", 2)
    assert "mqtt.password_file" in finding.text
    assert "Correct this setting" in finding.remedy
