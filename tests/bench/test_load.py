"""The load benchmark counts what it says it counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.capacity import LIMIT_MS, RULE
from bench.load import Figures, page, run, table


@pytest.fixture(scope="module")
def two() -> Figures:
    return run(2, 6.0, seed=1, asr=False)


def test_streams_that_the_machine_carries_are_heard_whole_and_judged(two: Figures) -> None:
    assert two.whole
    assert two.utterances > 2
    assert 0 < two.counted < two.utterances
    assert two.lost_s == 0.0
    assert two.audio_s == pytest.approx(2 * 6.0, abs=1.0)
    assert two.provisional > 0
    assert f" | {two.cores:.2f} | 100.0 % | {two.utterances} | - | " in table([two], asr=False)[2]


def test_a_row_says_by_its_own_figures_whether_so_many_streams_hold(two: Figures) -> None:
    prompt, late = (replace(two, p95_ms=LIMIT_MS + more) for more in (-1, 1))
    for figures, said in ((prompt, "yes"), (late, "no"), (replace(prompt, lost_s=0.1), "no")):
        assert table([figures], asr=False)[2].startswith(f"| 2 | {said} |")


def test_the_page_has_the_rule_of_the_benchmark(two: Figures) -> None:
    text = " ".join(page({"Without words": [two]}, 6.0).split())
    assert RULE in text
    assert "the most streams that hold; then" in text
    assert "as many as were asked for; then" in " ".join(page({}, 6.0, streams=2).split())
