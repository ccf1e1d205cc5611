"""The load benchmark counts what it says it counts."""

from __future__ import annotations

from bench.load import run, table


def test_streams_that_the_machine_carries_are_heard_whole_and_judged() -> None:
    figures = run(2, 6.0, seed=1, asr=False)
    assert figures.whole
    assert figures.utterances > 2
    assert figures.heard_pct == 100.0
    assert figures.provisional > 0
    assert f"| 2 | {figures.cores:.2f} |" in table([figures], asr=False)[2]
