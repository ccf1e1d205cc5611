"""Muted, silent, clipped: announced when it has lasted, and once more when it is over."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.device_health import DeviceHealth
from monitor.events import (
    FRAME_SAMPLES,
    AudioFrame,
    DeviceClipping,
    DeviceHappening,
    DeviceMuted,
    DeviceSilent,
    Samples,
)

QUIET_AFTER_S = 2.0
SECOND = 50
"""Frames."""
RANDOM = np.random.default_rng(1)


def zeros(seconds: float) -> Samples:
    return np.zeros(round(seconds * SECOND) * FRAME_SAMPLES, np.float32)


def noise(seconds: float, dbfs: float) -> Samples:
    n = round(seconds * SECOND) * FRAME_SAMPLES
    return (RANDOM.standard_normal(n) * 10 ** (dbfs / 20)).astype(np.float32)


def clipped(seconds: float) -> Samples:
    return np.clip(noise(seconds, 0.0), -1, 1)


def said(*parts: Samples, health: DeviceHealth | None = None) -> list[DeviceHappening]:
    health = health or DeviceHealth(QUIET_AFTER_S)
    samples = np.concatenate(parts)
    return [
        happening
        for start in range(0, len(samples), FRAME_SAMPLES)
        for happening in health.push(AudioFrame(start, samples[start : start + FRAME_SAMPLES]), "m")
    ]


def test_zeros_are_muted_from_the_set_time_on_and_no_longer_with_the_first_other_sample() -> None:
    assert said(noise(1, -50), zeros(1.98)) == []
    assert said(noise(1, -50), zeros(2)) == [DeviceMuted("m", True, 1, 32_000)]
    assert said(zeros(5), noise(1, -50)) == [
        DeviceMuted("m", True, 1, 32_000),
        DeviceMuted("m", False, 1, 80_000),
    ]


def test_each_time_is_counted() -> None:
    happenings = said(zeros(3), noise(1, -50), zeros(3), noise(1, -50))
    assert [(h.count, h.active) for h in happenings if isinstance(h, DeviceMuted)] == [
        (1, True),
        (1, False),
        (2, True),
        (2, False),
    ]


def test_less_than_any_room_is_silent_but_a_quiet_room_is_not() -> None:
    assert said(noise(10, -70)) == []
    assert said(noise(3, -85), noise(1, -50)) == [
        DeviceSilent("m", True, 1, 32_000),
        DeviceSilent("m", False, 1, 48_000),
    ]


def test_what_is_muted_is_not_silent_at_the_same_time() -> None:
    active: set[type[DeviceHappening]] = set()
    kinds = []
    for happening in said(noise(3, -85), zeros(4), noise(3, -85), noise(1, -50)):
        assert isinstance(happening, DeviceMuted | DeviceSilent)
        kinds.append((type(happening), happening.active))
        (active.add if happening.active else active.discard)(type(happening))
        assert len(active) <= 1
    assert kinds == [
        (DeviceSilent, True),
        (DeviceSilent, False),
        (DeviceMuted, True),
        (DeviceMuted, False),
        (DeviceSilent, True),
        (DeviceSilent, False),
    ]


def test_what_fades_to_zeros_is_muted_and_never_silent() -> None:
    (happening,) = said(noise(1, -50), noise(0.2, -85), zeros(2.5))
    assert happening == DeviceMuted("m", True, 1, 32_000)


def test_a_level_that_is_too_high_is_clipping_until_it_was_lower_for_five_seconds() -> None:
    began, over = said(noise(1, -30), clipped(2), noise(4, -30), clipped(1), noise(6, -30))
    assert isinstance(began, DeviceClipping)
    assert isinstance(over, DeviceClipping)
    assert (began.active, over.active) == (True, False)
    # Normal noise at 0 dBFS is beyond full scale in 32 % of its samples.
    assert over.count == pytest.approx(0.32 * 3 * 16_000, rel=0.05)
    assert over.length == 7 * 16_000


def test_a_knock_is_not_clipping() -> None:
    knock = noise(0.02, -30)
    knock[:40] = 1.0
    assert said(noise(1, -30), knock, noise(3, -30)) == []


def test_a_device_that_comes_back_starts_afresh() -> None:
    health = DeviceHealth(QUIET_AFTER_S)
    assert len(said(zeros(1.9), health=health)) == 0
    health.interrupted()
    assert len(said(zeros(1.9), health=health)) == 0
    assert len(said(zeros(0.2), health=health)) == 1
