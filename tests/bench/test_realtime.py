"""The streams that the benchmarks run within their own process."""

import asyncio
from pathlib import Path

import pytest

from bench.realtime import Stopwatch, live_pipeline
from config.loader import build
from monitor.settings import MonitorSettings
from tests.support.realtime import InRealTime
from tests.support.speech import spoken


def test_a_recording_in_real_time_is_judged_and_its_events_are_stamped(tmp_path: Path) -> None:
    given = {"asr.enabled": False, "journal.path": str(tmp_path / "journal.sqlite3")}
    source = InRealTime(spoken("we are here", before_s=0.4, after_s=0.9))
    stopwatch = Stopwatch()
    pipeline = live_pipeline(build(MonitorSettings, overrides=given), [source], stopwatch)
    asyncio.run(pipeline.run())
    ((judged_s, name, utterance),) = stopwatch.judged
    assert name == "/stser/bench/stream-1"
    assert judged_s - stopwatch.decided_s[name, utterance.segment.utterance] == pytest.approx(
        0.0, abs=1.0
    )
