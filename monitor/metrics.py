"""What the monitor has done so far, for Prometheus. Counted from the events themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from monitor.events import (
    SAMPLE_RATE_HZ,
    DeviceOverflow,
    MonitorDegraded,
    MonitorRecovered,
    MonitorStopped,
    UtteranceEmotion,
    WireEvent,
)
from monitor.recorder import RecordingHealth

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
LATENCY_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper edges of the latency histogram's buckets."""


class Metrics:
    """Counters and a latency histogram; a few dozen numbers, whatever the running time."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._abstained: Counter[str] = Counter()
        self._latency = {stage: _Histogram() for stage in ("asr", "inference", "publish", "total")}
        self._audio_lost_s = 0.0
        self._faults: Counter[str] = Counter()
        self._degraded: dict[str, set[str]] = {"ensemble": set(), "recogniser": set()}
        """Sources of the streams that lack a component now."""

    def count(self, event: WireEvent) -> None:
        """Take an event into account."""
        self._kinds[event.kind] += 1
        match event.happening:
            case UtteranceEmotion() as utterance:
                self._labels[utterance.label] += 1
                self._abstained.update(utterance.abstained)
                for stage, histogram in self._latency.items():
                    histogram.observe(getattr(utterance.latency, stage) / 1000)
            case DeviceOverflow(lost=lost):
                self._audio_lost_s += lost / SAMPLE_RATE_HZ
            case MonitorDegraded(component=component):
                self._faults[component] += 1
                self._degraded[component].add(event.source)
            case MonitorRecovered(component=component):
                self._degraded[component].discard(event.source)
            case MonitorStopped():
                for sources in self._degraded.values():
                    sources.discard(event.source)

    def render(
        self,
        *,
        clients: int,
        streams: int,
        durable: bool,
        waiting: Mapping[str, int],
        recording: RecordingHealth | None = None,
    ) -> bytes:
        """OpenMetrics text.

        Args:
            clients: WebSocket clients now.
            streams: Streams that are heard now.
            durable: Whether the journal survives the process.
            waiting: Events that each consumer of the journal has not had yet.
            recording: How it goes; None where no audio is kept.
        """
        # Deferred: the library takes longer to import than the first request to answer.
        from prometheus_client import CollectorRegistry
        from prometheus_client.openmetrics.exposition import generate_latest

        metrics = [
            *self._counted(),
            *_now(clients, streams, durable, waiting),
            *(_recorded(recording) if recording is not None else ()),
        ]

        class Collector:
            def collect(self) -> Iterator[Metric]:
                yield from metrics

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector())
        text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
        return text

    def _counted(self) -> Iterator[Metric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, text, label, counts in (
            ("stser_events", "Events announced", "kind", self._kinds),
            ("stser_utterances", "Utterances judged", "label", self._labels),
            ("stser_abstained", "Reasons for 'uncertain'", "reason", self._abstained),
            ("stser_component_faults", "Times that a part began to fail", "part", self._faults),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for value in sorted(counts):
                family.add_metric([value], counts[value])
            yield family
        yield CounterMetricFamily(
            "stser_audio_lost_seconds", "Audio lost before the VAD", value=self._audio_lost_s
        )
        degraded = GaugeMetricFamily(
            "stser_degraded_streams", "Streams whose last utterance lacked a part", labels=["part"]
        )
        for component, sources in self._degraded.items():
            degraded.add_metric([component], len(sources))
        yield degraded
        latency = HistogramMetricFamily(
            "stser_latency_seconds",
            "From the VAD's decision (total: from the last word) to the event",
            labels=["stage"],
        )
        for stage, histogram in self._latency.items():
            latency.add_metric([stage], histogram.buckets(), histogram.sum_s)
        yield latency


def _now(clients: int, streams: int, durable: bool, waiting: Mapping[str, int]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    yield GaugeMetricFamily("stser_websocket_clients", "WebSocket clients", value=clients)
    yield GaugeMetricFamily("stser_streams", "Streams that are heard", value=streams)
    yield GaugeMetricFamily(
        "stser_journal_durable", "1 where events survive the process", value=int(durable)
    )
    family = GaugeMetricFamily(
        "stser_mqtt_waiting_events", "Events that a broker has not had yet", labels=["broker"]
    )
    for consumer in sorted(waiting):
        family.add_metric([consumer], waiting[consumer])
    yield family


def _recorded(recording: RecordingHealth) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily(
        "stser_recording",
        "1 while audio is kept; 0 once the disk has failed",
        int(recording.active),
    )
    for name, text, value in (
        ("stser_recorded_seconds", "Audio kept, all streams", recording.written_s),
        ("stser_recording_lost_seconds", "Audio that the disk was too slow for", recording.lost_s),
    ):
        yield CounterMetricFamily(name, text, value=value)


class _Histogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, value_s: float) -> None:
        at = sum(value_s > bound for bound in LATENCY_BOUNDS_S)
        self._counts[at] += 1
        self.sum_s += value_s

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as the format wants them."""
        total, found = 0, []
        for bound, count in zip((*map(str, LATENCY_BOUNDS_S), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found
