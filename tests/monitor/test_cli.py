"""What the program does before it listens: to itself, and where its standard streams are closed."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path

import pytest

from monitor.assembly import choose_event_output, choose_sources
from monitor.cli import leave_what_is_loaded
from monitor.errors import UsageError
from monitor.settings import MonitorSettings


class Loaded:
    """Garbage that only the collector can find."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_loaded_by_then_is_never_looked_at_again_and_what_comes_later_is() -> None:
    gc.disable()
    loaded = Loaded()
    before = weakref.ref(loaded)
    try:
        leave_what_is_loaded()
        assert gc.isenabled()
        later = Loaded()
        after = weakref.ref(later)
        del loaded, later
        gc.collect()
        assert before() is not None
        assert after() is None
    finally:
        gc.unfreeze()
        gc.enable()
        gc.collect()
    assert before() is None


def test_standard_input_that_the_shell_has_closed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="--input -: standard input is closed"):
        choose_sources(MonitorSettings(), ["-"], None)


def test_standard_output_that_the_shell_has_closed_is_refused_where_events_go_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(UsageError, match=r"standard output is closed.* --events"):
        choose_event_output("-", None, transcript=True)
    choose_event_output(str(tmp_path / "events.jsonl"), None, transcript=True)
