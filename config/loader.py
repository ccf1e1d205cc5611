"""TOML to frozen dataclasses: unknown keys, wrong types and bad values are refused by dotted name and line.

A settings class is a frozen dataclass whose fields are ``bool``, ``int``, ``float``, ``str``,
``Path``, an ``Enum``, a ``Literal``, a ``tuple[X, ...]`` of those, one of those ``| None``, or another such
dataclass (a TOML table). Rules between fields belong in ``__post_init__`` as :class:`SettingsError`
or ``ValueError``.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

Settings = TypeVar("Settings")


@dataclasses.dataclass(frozen=True, slots=True)
class Moved:
    """What has become of a setting that older files name."""

    to: str | None
    """Its dotted name now; None where it is gone and may be left out."""
    why: str
    """A sentence for whoever still has it."""


class SettingsError(ValueError):
    """A setting that cannot be used: says which, its value, the rule and the remedy."""


def load(
    path: Path,
    kind: type[Settings],
    *,
    overrides: Mapping[str, Any] | None = None,
    moved: Mapping[str, Moved] = types.MappingProxyType({}),
) -> Settings:
    """Read a settings file; what it does not name keeps the default of ``kind``.

    Args:
        path: A TOML file.
        kind: The frozen dataclass of the whole file.
        overrides: Values by dotted name that win over the file, such as command-line flags.
        moved: Settings of older files, by dotted name: they are taken as what they are now, with a warning.

    Raises:
        SettingsError: The file is missing, is not TOML, or a key or value breaks a rule.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot read the settings file ({error.strerror}). Check the path given to --config."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}: not UTF-8 text at byte {error.start}. Save the file as UTF-8."
        ) from error
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Besides TOMLDecodeError: a number of thousands of digits, brackets nested beyond the stack.
        raise SettingsError(f"{path}: not valid TOML: {error}.") from error
    try:
        for old, now in moved.items():
            if _move(tree, old, now):
                logger.warning("%s%s: %s: %s", path, _line_of(text, old), old, now.why)
        return build(kind, tree, overrides=overrides)
    except SettingsError as error:
        raise SettingsError(f"{path}{_line_of(text, str(error))}: {error}") from error


def build(
    kind: type[Settings],
    tree: Mapping[str, Any] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Make a settings object from a parsed TOML tree and overrides by dotted name.

    Raises:
        SettingsError: Naming the setting by its dotted name.
    """
    merged = _copy(tree or {})
    for dotted, value in (overrides or {}).items():
        *tables, key = dotted.split(".")
        table = merged
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return typing.cast(Settings, _dataclass(kind, merged, ""))


def user_path(path: str | Path, dotted: str) -> Path:
    """A path whose ``~`` or ``~name`` is the home that it stands for.

    Raises:
        SettingsError: There is no such home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SettingsError(
            f"{dotted} ({str(path)!r}) names a user who has no home. Write the whole path."
        ) from None


def _move(tree: dict[str, Any], old: str, now: Moved) -> bool:
    """Give a setting its name of today; False where the file does not have it.

    Raises:
        SettingsError: The file has both.
    """
    *tables, key = old.split(".")
    table: Any = tree
    for name in tables:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict) or key not in table:
        return False
    value = table.pop(key)
    if now.to is not None:
        *tables, key = now.to.split(".")
        table = tree
        for name in tables:
            table = table.setdefault(name, {})
        if key in table:
            raise SettingsError(f"{old} is called {now.to} now, and both are given. Remove {old}.")
        table[key] = value
    return True


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()
    }


def _dataclass(kind: type[Any], tree: Any, where: str) -> Any:
    if not isinstance(tree, Mapping):
        raise SettingsError(f"{where} must be a table of settings, got {tree!r}. Write [{where}].")
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind) if field.init}
    values: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{where}.{key}" if where else key
        if key not in known:
            raise SettingsError(
                f"{dotted} is not a setting. Known here: {', '.join(sorted(known))}."
            )
        values[key] = _value(hints[key], value, dotted)
    try:
        return kind(**values)
    except SettingsError:
        raise
    except (TypeError, ValueError) as error:
        raise SettingsError(str(error)) from error


def _value(kind: Any, value: Any, dotted: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(kind, value, dotted)
    if origin is typing.Literal:
        allowed = typing.get_args(kind)
        if value not in allowed:
            raise SettingsError(
                f"{dotted} ({value!r}) must be one of {', '.join(map(str, allowed))}."
            )
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise SettingsError(f"{dotted} ({value!r}) must be a list.")
        element = typing.get_args(kind)[0]
        return tuple(_value(element, item, f"{dotted}[{i}]") for i, item in enumerate(value))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if isinstance(value, kind):
            return value
        return _dataclass(kind, value, dotted)
    return _scalar(kind, value, dotted)


def _optional(kind: Any, value: Any, dotted: str) -> Any:
    if value is None:
        return None
    kinds = [member for member in typing.get_args(kind) if member is not type(None)]
    lists = [member for member in kinds if typing.get_origin(member) is tuple]
    if isinstance(value, list | tuple):
        kinds = lists or kinds
    elif len(kinds) > len(lists):
        kinds = [member for member in kinds if member not in lists]
    refused: list[SettingsError] = []
    for member in kinds:
        try:
            return _value(member, value, dotted)
        except SettingsError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    said = " or ".join(_SAID[member] for member in kinds)
    raise SettingsError(f"{dotted} ({value!r}) must be {said}, got {type(value).__name__}.")


def _scalar(kind: Any, value: Any, dotted: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            allowed = ", ".join(str(member.value) for member in kind)
            raise SettingsError(f"{dotted} ({value!r}) must be one of {allowed}.") from None
    if kind is Path and isinstance(value, str | Path):
        return user_path(value, dotted)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value, dotted)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SettingsError(
            f"{dotted} ({value!r}) must be {_SAID[kind]}, got {type(value).__name__}."
        )
    return value


def _finite(value: float, dotted: str) -> float:
    """A number that no comparison lets slip through."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SettingsError(f"{dotted} must be a finite number.")
    return number


_SAID = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    Path: "a path in quotes",
}


def _line_of(text: str, message: str) -> str:
    """``:LINE`` of the setting that a message starts with, or nothing where it is not in the file."""
    dotted = re.match(r"[\w.]+", message)
    if dotted is None:
        return ""
    *tables, key = dotted.group().split(".")
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([\w.\s]+?)\s*\]", line)
        if header:
            inside = [part.strip() for part in header.group(1).split(".")]
            if [*tables, key] == inside:
                return f":{number}"
        assignment = re.match(r"\s*([\w.\s]+?)\s*=", line)
        if assignment and [*inside, *assignment.group(1).split(".")] == [*tables, key]:
            return f":{number}"
    return ""
