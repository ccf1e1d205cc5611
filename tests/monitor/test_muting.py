"""When a mute by command takes effect, and how long it is said to have lasted."""

from __future__ import annotations

from monitor.events import DeviceMuted
from monitor.muting import Muting


def test_a_command_takes_effect_with_the_next_frame_and_is_told_once_each_way() -> None:
    muting = Muting()
    assert muting.follow("mic", 0) is None
    muting.wanted = True
    assert muting.follow("mic", 320) == DeviceMuted("mic", True, 1, 0, by="command")
    assert muting.follow("mic", 640) is None
    muting.wanted = False
    assert muting.follow("mic", 960) == DeviceMuted("mic", False, 1, 640, by="command")
    assert muting.follow("mic", 1_280) is None


def test_a_mute_that_is_taken_back_before_the_next_frame_has_never_been() -> None:
    muting = Muting()
    muting.wanted = True
    muting.wanted = False
    assert muting.follow("mic", 320) is None


def test_each_mute_counts_from_its_own_beginning() -> None:
    muting = Muting()
    told = []
    for now, wanted in [(320, True), (640, False), (960, True), (2_880, False)]:
        muting.wanted = wanted
        told.append(muting.follow("mic", now))
    assert [(muted.count, muted.length) for muted in told if muted is not None] == [
        (1, 0),
        (1, 320),
        (2, 0),
        (2, 1_920),
    ]
