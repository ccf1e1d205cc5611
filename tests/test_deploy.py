"""What is in ``deploy/``, held to the program that it starts and the numbers that it shows."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from monitor.cli import parser, settings_from
from monitor.metrics import Metrics
from tests.support.happenings import EVERY, encoded

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "stser-monitor.service"


def unit() -> configparser.RawConfigParser:
    read = configparser.RawConfigParser(strict=False)
    read.optionxform = str  # type: ignore[assignment]
    read.read(UNIT)
    return read


# --- systemd -----------------------------------------------------------------------------------


def test_unit_starts_the_program_with_flags_that_it_knows() -> None:
    program, *flags = shlex.split(unit()["Service"]["ExecStart"])
    assert Path(program).name == "stser-monitor"
    assert flags.pop() == "$STSER_FLAGS"
    given = parser().parse_args(flags)
    assert settings_from(given).capture.wait_for_device
    assert given.events == "/dev/null", "words must not reach the system's log"


def test_unit_expects_to_be_told_and_puts_the_journal_where_it_may_write() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert service["StateDirectory"] == "stser-monitor"
    assert "XDG_STATE_HOME=%S" in service["Environment"].split()


def analyse(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_unit_holds_nothing_that_systemd_does_not_know(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    # Only the program has to exist here.
    copy.write_text(
        UNIT.read_text("utf-8").replace("/opt/stser-monitor/bin/stser-monitor", "/bin/true")
    )
    done = analyse("verify", copy)
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, complaints) == (0, [])


def test_unit_is_as_hardened_as_systemd_calls_ok(tmp_path: Path) -> None:
    done = analyse("security", "--offline=true", "--threshold=20", UNIT)
    assert done.returncode == 0, done.stdout[-400:]


# --- Docker ------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile with what follows it."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line]


def test_image_runs_as_a_user_of_its_own_with_flags_that_the_program_knows() -> None:
    last = dict(instructions())
    assert last["USER"] == "10001"
    program, *flags = json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"])
    assert Path(program).name == "stser-monitor"
    settings = settings_from(parser().parse_args(flags))
    assert (settings.websocket.host, str(settings.websocket.token_file)) == (
        "0.0.0.0",
        "/run/token",
    )
    assert last["EXPOSE"] == str(settings.websocket.port)


def test_everything_that_is_copied_into_the_image_exists_and_is_let_through() -> None:
    let_through = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8")
    copied = [
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {"monitor", "stser_core", "pyproject.toml"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}\n" in let_through or source.startswith("LICENSE"), source


# --- Grafana -----------------------------------------------------------------------------------


def told() -> dict[str, set[str]]:
    """Names of all samples that the monitor can tell, with the names of their labels."""
    metrics = Metrics()
    for event in encoded(*EVERY):
        metrics.count(event)
    text = metrics.render(
        clients=1, streams=1, durable=True, waiting={"mqtt://127.0.0.1:1883/stser": 0}
    )
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {"instance", "job"}).update(sample.labels)
    return found


def test_dashboard_asks_for_numbers_that_the_monitor_tells() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "stser-monitor.json").read_text("utf-8"))
    known, used = told(), set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            asked = target["expr"]
            selectors = re.findall(r"\b(stser_\w+)\{(.*?)\}", asked)
            assert selectors, asked
            for name, labels in selectors:
                used.add(name)
                given = re.findall(r"(\w+)[=!]", labels)
                by = re.findall(r"by \(([\w, ]+)\)", asked)
                grouped = [label for group in by for label in group.split(", ")]
                shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
                assert {*given, *grouped, *shown} <= known[name], (asked, known[name])
                assert set(shown) <= set(grouped), asked
    counts = {name for name in known if not name.endswith(("_count", "_sum", "_created"))}
    assert used == counts, "every number of the monitor is on the dashboard"


def test_panels_of_the_dashboard_lie_beside_each_other() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "stser-monitor.json").read_text("utf-8"))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for one, other in combinations([panel["gridPos"] for panel in dashboard["panels"]], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart
    sources = {item["name"]: item["type"] for item in dashboard["templating"]["list"]}
    assert sources["source"] == "datasource"


def test_job_of_prometheus_asks_at_the_port_of_the_monitor() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    websocket = settings_from(parser().parse_args([])).websocket
    assert job["static_configs"][0]["targets"] == [f"{websocket.host}:{websocket.port}"]
    assert "metrics_path" not in job, "/metrics is what Prometheus asks for"
