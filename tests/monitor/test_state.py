"""When the state follows the utterances, and when it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.events import SAMPLE_RATE_HZ, StateChanged
from monitor.state import EmotionState, StateSettings
from stser_core.posterior import EmotionPosterior
from tests.support.happenings import UTTERANCE

SETTINGS = StateSettings(weight=0.5, enter=0.45, margin=0.1, hold_ms=2_000)
CALM = (0.1, 0.1, 0.7, 0.1)
ANGRY = (0.7, 0.1, 0.1, 0.1)


def fed(
    *utterances: tuple[float, tuple[float, float, float, float]],
    settings: StateSettings = SETTINGS,
    abstained: tuple[str, ...] = (),
) -> list[StateChanged]:
    """The changes after utterances that end at so many seconds with such posteriors."""
    state = EmotionState(settings)
    changes = []
    for end_s, posterior in utterances:
        end = round(end_s * SAMPLE_RATE_HZ)
        changes.append(
            state.update(
                replace(
                    UTTERANCE,
                    segment=replace(UTTERANCE.segment, end=end),
                    verdict=replace(UTTERANCE.verdict, posterior=EmotionPosterior(posterior)),
                    abstained=abstained,
                )
            )
        )
    return [change for change in changes if change is not None]


def test_first_utterance_gives_the_first_state() -> None:
    (change,) = fed((1.5, CALM))
    assert (change.label, change.since, change.confidence) == ("neutral", 24_000, 0.7)


def test_one_other_utterance_does_not_flip_the_state_and_a_second_does() -> None:
    changes = fed((1, CALM), (4, ANGRY), (7, ANGRY), (10, ANGRY))
    assert [(change.label, change.since // SAMPLE_RATE_HZ) for change in changes] == [
        ("neutral", 1),
        ("angry", 7),
    ]
    assert changes[1].confidence == pytest.approx(0.55)


def test_state_holds_for_its_least_time_whatever_is_said() -> None:
    changes = fed((1, CALM), (1.5, ANGRY), (2, ANGRY), (2.9, ANGRY), (3, ANGRY))
    assert [(change.label, change.since) for change in changes] == [
        ("neutral", SAMPLE_RATE_HZ),
        ("angry", 3 * SAMPLE_RATE_HZ),
    ]


def test_lead_without_enough_of_the_posterior_changes_nothing() -> None:
    weak = (0.44, 0.2, 0.16, 0.2)
    assert len(fed((1, CALM), *((n, weak) for n in range(4, 40, 3)))) == 1


def test_lead_by_less_than_the_margin_changes_nothing() -> None:
    close = (0.5, 0.05, 0.41, 0.04)
    assert len(fed((1, CALM), *((n, close) for n in range(4, 40, 3)))) == 1


def test_utterances_that_abstained_leave_no_trace() -> None:
    assert fed((1, CALM), (4, ANGRY), abstained=("low_snr",)) == []


def test_posterior_of_the_state_stays_a_distribution() -> None:
    for change in fed((1, CALM), (4, ANGRY), (7, ANGRY)):
        assert sum(change.posterior.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["weight", "enter", "margin"])
def test_share_outside_zero_to_one_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"state\.{name} \(1\.5\)"):
        StateSettings(**{name: 1.5})


def test_negative_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"state\.hold_ms \(-1\)"):
        StateSettings(hold_ms=-1)
