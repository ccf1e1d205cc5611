"""What is left out while the work comes late: in which order, and that it is over when the work is in time again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from config.loader import SettingsError, build
from monitor.asr import AsrSettings, VoskEngine
from monitor.capture import CaptureSettings, DeviceSource
from monitor.events import AudioFrame, AudioGap, Samples
from monitor.settings import MonitorSettings
from monitor.shedding import WINDOW_S, Shedding, SheddingSettings
from tests.monitor.test_honesty import assembled
from tests.monitor.test_pipeline import Notebook
from tests.support.degraded import recognise_with
from tests.support.realtime import InRealTime
from tests.support.speech import spoken

HAPPY = spoken("i am so happy today", before_s=0.5, after_s=1.0)
NOW_S = 100.0


def test_provisional_verdicts_are_left_out_before_words_are() -> None:
    shedding = Shedding(SheddingSettings(provisional_ms=150, words_ms=500))
    assert not shedding.leaves_out_provisional(NOW_S)
    shedding.note(0.2, NOW_S)
    assert shedding.leaves_out_provisional(NOW_S)
    assert not shedding.leaves_out_words(NOW_S)
    shedding.note(0.6, NOW_S)
    shedding.note(0.1, NOW_S)  # the worst counts
    assert shedding.leaves_out_words(NOW_S)
    assert (shedding.provisional, shedding.words) == (1, 1)


@pytest.mark.parametrize("noted_s", [0.0, 0.9 * WINDOW_S])
def test_a_delay_counts_for_a_moment_and_no_longer(noted_s: float) -> None:
    shedding = Shedding()
    shedding.note(0.0, NOW_S)
    shedding.note(9.0, NOW_S + noted_s)
    assert shedding.late_s(NOW_S + noted_s + WINDOW_S) == 9.0
    assert shedding.late_s(NOW_S + noted_s + 2.1 * WINDOW_S) == 0.0


def test_where_memory_is_short_no_provisional_verdict_is_given_however_prompt_the_work() -> None:
    shedding = Shedding()
    shedding.sparing = True
    assert shedding.leaves_out_provisional(NOW_S)
    assert not shedding.leaves_out_words(NOW_S)


def test_a_limit_that_every_hiccup_would_pass_is_refused_with_the_reason() -> None:
    with pytest.raises(SettingsError, match=r"shedding\.words_ms \(5\) must lie between"):
        build(MonitorSettings, overrides={"shedding.words_ms": 5})


class Slow(VoskEngine):
    """Takes three times as long as what it hears, in the first two seconds."""

    slow = False

    def begin(self, start: int) -> None:
        self.slow = start < 2 * 16_000
        super().begin(start)

    def feed(self, samples: Samples) -> None:
        if self.slow:
            time.sleep(0.3)
        super().feed(samples)


def test_utterance_that_begins_while_the_recogniser_is_late_goes_without_words_and_says_so(
    tmp_path: Path,
) -> None:
    # The second begins soon after the first; before the third there is time to catch up.
    talk = np.concatenate([HAPPY, HAPPY, np.zeros(2 * 16_000, np.float32), HAPPY])
    parts = assembled(tmp_path, talk)
    (stream,) = parts.streams
    stream._source = InRealTime(talk)
    recognise_with(stream, Slow, AsrSettings(late_s=30.0))
    notebook = Notebook()
    parts.pipeline._publishers = [notebook]
    asyncio.run(parts.pipeline.run())
    first, second, third = notebook.of("emotion.utterance")
    assert first["transcript"] is not None
    assert second["transcript"] is None
    assert second["classifiers"]["speech"] is not None
    assert third["transcript"] is not None
    (degraded,) = notebook.of("monitor.degraded")
    assert degraded["component"] == "recogniser"
    assert "late" in degraded["reason"]
    assert len(notebook.of("monitor.recovered")) == 1


def test_a_recording_that_can_wait_keeps_its_words_however_slow_the_recogniser(
    tmp_path: Path,
) -> None:
    parts = assembled(tmp_path, np.concatenate([HAPPY, HAPPY]))
    (stream,) = parts.streams
    recognise_with(stream, Slow)
    notebook = Notebook()
    parts.pipeline._publishers = [notebook]
    asyncio.run(parts.pipeline.run())
    assert all(heard["transcript"] is not None for heard in notebook.of("emotion.utterance"))


def test_audio_that_waits_too_long_is_dropped_but_for_the_newest_and_no_stream_holds_up_the_loop() -> (
    None
):
    source = DeviceSource(CaptureSettings(backlog_ms=800))
    for number in range(60):  # 1.2 s of it, before anybody listens
        source._take.receive(np.full((320, 1), number, np.float32), False, 0.0, 0.0)
    source.stop()

    async def main() -> tuple[list[AudioFrame | AudioGap], int]:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(others())
        heard = [audio async for audio in source]
        beside.cancel()
        return heard, turns

    heard, turns = asyncio.run(main())
    gap, *frames = heard
    assert isinstance(gap, AudioGap)
    assert (gap.start, gap.reason) == (0, "backlog")
    assert gap.length == 35 * 320  # of 40 blocks that may wait, the newest five stayed
    assert len(frames) >= 25
    assert turns >= 24
