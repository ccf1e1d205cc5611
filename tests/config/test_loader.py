"""The settings loader, against small TOML files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from config.loader import Moved, SettingsError, build, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Vad:
    onset_db: float = 9.0
    offset_db: float = 6.0
    hangover_ms: int = 400

    def __post_init__(self) -> None:
        if self.offset_db > self.onset_db:
            raise ValueError(f"vad.offset_db ({self.offset_db:g}) must not exceed vad.onset_db.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    vad: Vad = Vad()
    name: str = "mic"
    pace: Literal["realtime", "max"] = "max"
    token: Path | None = None
    origins: tuple[str, ...] = ()
    loud: bool = False


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, "utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(write(folder, text), Root)
    return str(caught.value)


def test_what_the_file_does_not_name_keeps_its_default(tmp_path: Path) -> None:
    assert load(write(tmp_path, "[vad]\nonset_db = 12\n"), Root) == Root(vad=Vad(onset_db=12.0))


def test_every_kind_of_value_arrives_as_its_type(tmp_path: Path) -> None:
    text = 'name = "desk"\npace = "realtime"\ntoken = "a/b"\norigins = ["x", "y"]\nloud = true\n'
    assert load(write(tmp_path, text), Root) == Root(
        name="desk", pace="realtime", token=Path("a/b"), origins=("x", "y"), loud=True
    )


def test_an_unknown_key_is_refused_with_its_line_and_the_known_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, '# a comment\nname = "x"\n[vad]\nonset_db = 9\nonest_db = 12\n')
    assert "settings.toml:5: vad.onest_db is not a setting" in message
    assert "onset_db" in message


def test_a_wrong_type_is_refused_by_dotted_name_and_value(tmp_path: Path) -> None:
    assert ":2: vad.hangover_ms ('long') must be a whole number" in refusal(
        tmp_path, '[vad]\nhangover_ms = "long"\n'
    )


@pytest.mark.parametrize("text", ["[vad]\nhangover_ms = true\n", "loud = 1\n", "vad = 3\n"])
def test_a_boolean_is_no_number_and_a_number_no_table(tmp_path: Path, text: str) -> None:
    assert "must be" in refusal(tmp_path, text)


def test_a_choice_outside_the_list_is_refused_with_the_list(tmp_path: Path) -> None:
    assert "pace ('fast') must be one of realtime, max" in refusal(tmp_path, 'pace = "fast"\n')


def test_a_rule_between_two_settings_is_reported_with_the_file_and_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, "[vad]\nonset_db = 3\noffset_db = 6\n")
    assert "settings.toml:3: vad.offset_db (6) must not exceed" in message


def test_a_missing_file_and_broken_toml_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot read"):
        load(tmp_path / "nowhere.toml", Root)
    assert "not valid TOML" in refusal(tmp_path, "name = \n")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "9" * 400])
def test_a_number_that_would_slip_through_every_comparison_is_refused(
    tmp_path: Path, value: str
) -> None:
    assert "vad.onset_db must be a finite number" in refusal(
        tmp_path, f"[vad]\nonset_db = {value}\n"
    )


@pytest.mark.parametrize("text", ["name = " + "[" * 20_000, "name = " + "9" * 5_000])
def test_what_exhausts_the_parser_is_refused_as_broken_toml(tmp_path: Path, text: str) -> None:
    assert "not valid TOML" in refusal(tmp_path, text)


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[vad]\nonset_db = 12\n")
    loaded = load(path, Root, overrides={"vad.hangover_ms": 250, "name": "desk"})
    assert loaded == Root(vad=Vad(onset_db=12.0, hangover_ms=250), name="desk")


def test_a_bad_override_is_refused_by_its_dotted_name() -> None:
    with pytest.raises(SettingsError, match=r"vad\.hangover_ms \(1\.5\) must be a whole number"):
        build(Root, overrides={"vad.hangover_ms": 1.5})


MOVED = {
    "vad.onset": Moved("vad.onset_db", "is called vad.onset_db now."),
    "vad.gone": Moved(None, "is no setting any more."),
    "title": Moved("vad.hangover_ms", "is called vad.hangover_ms now."),
}


def test_a_setting_of_an_older_file_is_taken_by_its_new_name_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "title = 500\n[vad]\nonset = 12\ngone = true\n")
    assert load(path, Root, moved=MOVED) == Root(vad=Vad(onset_db=12.0, hangover_ms=500))
    assert f"{path}:3: vad.onset: is called vad.onset_db now." in caplog.messages
    assert f"{path}:4: vad.gone: is no setting any more." in caplog.messages
    assert len(caplog.messages) == 3


def test_old_and_new_name_of_a_setting_at_once_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "[vad]\nonset_db = 9\nonset = 12\n")
    with pytest.raises(SettingsError, match=r"toml:3: vad\.onset is called .* both are given"):
        load(path, Root, moved=MOVED)


def test_old_name_whose_table_is_none_is_refused_as_ever(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="vad must be a table"):
        load(write(tmp_path, "vad = 3\n"), Root, moved=MOVED)
