"""What the program does to itself before it listens."""

from __future__ import annotations

import gc
import weakref

from monitor.cli import leave_what_is_loaded


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
