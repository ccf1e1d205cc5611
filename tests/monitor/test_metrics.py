"""What Prometheus reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from monitor.events import Latency
from monitor.metrics import Metrics
from tests.support.happenings import EVERY, UTTERANCE, encoded


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and label values."""
    text = metrics.render(
        clients=3, streams=2, durable=True, waiting={"mqtt://broker:1883/stser": 7}
    )
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_events_and_utterances_are_counted_by_kind_and_label() -> None:
    metrics = Metrics()
    for event in encoded(*EVERY, UTTERANCE):
        metrics.count(event)
    found = samples(metrics)
    assert found["stser_events_total", "emotion.utterance"] == 3
    assert found["stser_utterances_total", "angry"] == 2
    assert found["stser_utterances_total", "uncertain"] == 1
    assert found["stser_abstained_total", "no_transcript"] == 1
    assert found["stser_audio_lost_seconds_total",] == pytest.approx(0.04)


def test_what_is_now_is_told_as_it_is() -> None:
    found = samples(Metrics())
    assert found["stser_websocket_clients",] == 3
    assert found["stser_streams",] == 2
    assert found["stser_journal_durable",] == 1
    assert found["stser_mqtt_waiting_events", "mqtt://broker:1883/stser"] == 7


def test_latency_falls_into_the_bucket_that_holds_it() -> None:
    metrics = Metrics()
    for total in (0.4, 2.0, 30.0, 9_000.0):
        latency = Latency(endpoint=0.0, asr=total, inference=0.0, publish=0.0)
        metrics.count(encoded(replace(UTTERANCE, latency=latency))[0])
    found = samples(metrics)
    assert found["stser_latency_seconds_bucket", "0.001", "asr"] == 1
    assert found["stser_latency_seconds_bucket", "0.0025", "asr"] == 2
    assert found["stser_latency_seconds_bucket", "0.05", "asr"] == 3
    assert found["stser_latency_seconds_bucket", "2.5", "asr"] == 3
    assert found["stser_latency_seconds_bucket", "+Inf", "asr"] == 4
    assert found["stser_latency_seconds_sum", "asr"] == pytest.approx(9.0324)
