"""What the gateway counts: plain numbers on the hot path, Prometheus families when scraped.

Incrementing an int costs a tenth of what the client library's counters do, and there is one event
loop a process, so that no lock is needed. Project ids and keys are never labels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

# 1 ms to 10 s. Source: deployment.md, section 9.
DURATION_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class GatewayMetrics(Collector):
    """All numbers of one gateway process.

    Add to the mappings directly: `events[outcome, reason]`, `batches[status]`, `bytes[encoding]`.
    `queue_gauge` is asked when scraped and gives (records, bytes) in flight to Kafka.
    """

    def __init__(self) -> None:
        self.events: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.batches: defaultdict[str, int] = defaultdict(int)
        self.bytes: defaultdict[str, int] = defaultdict(int)
        self.rate_limited = 0
        self.texts_unread = 0
        self.is_rate_limit_local = False
        self.queue_gauge: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self._durations: defaultdict[str, list[int]] = defaultdict(
            lambda: [0] * (len(DURATION_BUCKETS_S) + 1)
        )
        self._duration_sums: defaultdict[str, float] = defaultdict(float)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def observe_duration(self, route: str, seconds: float) -> None:
        """Add one request to the histogram of its route (a template, never a raw path)."""
        self._durations[route][bisect_left(DURATION_BUCKETS_S, seconds)] += 1
        self._duration_sums[route] += seconds

    def render(self) -> bytes:
        """The Prometheus text of this process: these figures and those that every process has."""
        return generate_latest(self._registry) + generate_latest(REGISTRY)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        events = CounterMetricFamily(
            "gosight_ingest_events", "Events taken or refused.", labels=["outcome", "reason"]
        )
        for (outcome, reason), count in self.events.items():
            events.add_metric([outcome, reason], count)
        yield events
        yield _counter("gosight_ingest_batches", "Requests by answer.", "status", self.batches)
        yield _counter("gosight_ingest_bytes", "Bytes of bodies as sent.", "encoding", self.bytes)
        durations = HistogramMetricFamily(
            "gosight_ingest_request_duration_seconds",
            "From the complete headers to the answer.",
            labels=["route"],
        )
        for route, counts in self._durations.items():
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*DURATION_BUCKETS_S, "+Inf"), counts, strict=True):
                total += count
                buckets.append((str(bound), total))
            durations.add_metric([route], buckets, self._duration_sums[route])
        yield durations
        records, size = self.queue_gauge()
        yield GaugeMetricFamily(
            "gosight_ingest_kafka_queue_records", "Records not yet acknowledged.", records
        )
        yield GaugeMetricFamily(
            "gosight_ingest_kafka_queue_bytes", "Their size, as the bound counts it.", size
        )
        yield CounterMetricFamily(
            "gosight_ratelimit_rejections", "Requests over their key's rate.", self.rate_limited
        )
        yield CounterMetricFamily(
            "gosight_ingest_texts_unread",
            "Texts masked as a whole, since reading those before took all that a batch may take.",
            self.texts_unread,
        )
        yield GaugeMetricFamily(
            "gosight_ratelimit_local",
            "1 while Redis is away and each process limits by itself.",
            float(self.is_rate_limit_local),
        )


def _counter(name: str, text: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
