"""The settings tree, and the file that lists it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from config.loader import SettingsError, build, load
from monitor.cli import main, parser, settings_from
from monitor.settings import MOVED, MonitorSettings

LISTED = Path(__file__).parents[2] / "config" / "monitor.toml"


def names(kind: type, prefix: str = "") -> set[str]:
    """Dotted names of every setting."""
    found: set[str] = set()
    for field in dataclasses.fields(kind):
        factory = field.default_factory
        if isinstance(factory, type) and dataclasses.is_dataclass(factory):
            found |= names(factory, f"{field.name}.")
        else:
            found.add(prefix + field.name)
    return found


def listed() -> set[str]:
    """Dotted names in the file, those commented out included."""
    found, table = set(), ""
    for line in LISTED.read_text("utf-8").splitlines():
        if header := re.match(r"\[(\w+)\]", line):
            table = header.group(1) + "."
        elif key := re.match(r"(?:# )?(\w+) = ", line):
            found.add(table + key.group(1))
    return found


def test_the_listed_defaults_are_the_defaults() -> None:
    assert load(LISTED, MonitorSettings) == MonitorSettings()


def test_every_setting_is_listed_and_no_other() -> None:
    assert listed() == names(MonitorSettings)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"segmenter.silence_ms": -5}, r"segmenter\.silence_ms \(-5\) must not be negative"),
        ({"node": "a/b"}, r"node \('a/b'\) must be made of letters"),
        ({"stream": ""}, r"stream \(''\)"),
        ({"ensemble.classifiers": ()}, r"ensemble\.classifiers must name at least one"),
        ({"ensemble.classifiers": ("speech", "speech")}, "names one twice"),
        ({"ensemble.classifiers": ("voice",)}, r"classifiers\[0\] \('voice'\) must be one of"),
        ({"websocket.port": 70_000}, r"websocket\.port \(70000\) must be from 0 to 65535"),
        ({"mqtt.prefix": "a/#"}, r"mqtt\.prefix"),
        (
            {"journal.path": "~no-such-user/x"},
            r"journal\.path \('~no-such-user/x'\) names a user who has no",
        ),
        ({"adaptation.state_file": "~no-such-user/x"}, r"adaptation\.state_file .* no home"),
        ({"mqtt.url": "localhost"}, r"mqtt\.url: not the address of a broker"),
        ({"capture.device": 0.5}, r"device \(0\.5\) must be a whole number or text in quotes"),
        ({"capture.device": [0.5]}, r"device\[0\] \(0\.5\) must be a whole number or text"),
        ({"stream": 5}, r"stream \(5\) must be text in quotes, got int"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_dotted_name(
    overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        build(MonitorSettings, overrides=overrides)


def test_setting_of_the_broker_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[mqtt]\nurl = "localhost"\n', "utf-8")
    with pytest.raises(SettingsError, match=r"settings\.toml:2: mqtt\.url: .*Write mqtt://"):
        load(path, MonitorSettings)


def test_the_digest_follows_the_settings_but_never_the_password() -> None:
    plain = build(MonitorSettings).digest()
    with_broker = build(MonitorSettings, overrides={"mqtt.url": "mqtt://a:secret@host"})
    assert with_broker.digest() == plain
    assert build(MonitorSettings, overrides={"stream": "desk"}).digest() != plain


def test_printed_settings_are_a_settings_file_of_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--print-config"]) == 0
    path = tmp_path / "settings.toml"
    path.write_text(capsys.readouterr().out, "utf-8")
    assert load(path, MonitorSettings) == MonitorSettings()


def test_settings_file_of_an_older_version_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[mqtt]\noutbox_events = 10000\nprefix = "home"\n', "utf-8")
    settings = settings_from(parser().parse_args(["--config", str(path)]))
    assert settings.mqtt.prefix == "home"
    assert "settings.toml:2: mqtt.outbox_events: is no setting any more" in caplog.text


def test_every_setting_that_has_moved_is_none_any_more_and_leads_to_one_that_is() -> None:
    assert not MOVED.keys() & names(MonitorSettings)
    assert {moved.to for moved in MOVED.values()} - {None} <= names(MonitorSettings)
