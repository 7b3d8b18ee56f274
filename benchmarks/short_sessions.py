"""Very many short sessions through the behaviour flow: do its memory and its topic stay flat?

Time is in the data: a session begins each 3.6 s and is forgotten an hour later, so that a thousand
are live. A million take `--events 2000000`.

The states' topic is compacted as a busy one is within its hours: with segments of 1 MiB, at once.
Its size is measured when Kafka has caught up with that, after each tenth, and in between.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import psutil
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from benchmarks.bench_machine import (
    KAFKA,
    BenchMachine,
    bench_machine,
    cpu_seconds,
    free_port,
    own_process,
    rss_mb,
    server_process,
)
from benchmarks.insights import read_metrics
from benchmarks.visits import Visits, produce
from schemas.topics import BEHAVIOUR_STATE

BATCH_EVENTS = 2
EACH_MS = 3_600
DAY_MS = 86_400_000
SAMPLES = 10
# As in `connectors.kafka_admin`, but in seconds where that says minutes.
COMPACTION = {
    "segment.bytes": str(1024 * 1024),
    "segment.ms": "5000",
    "min.cleanable.dirty.ratio": "0.05",
    "max.compaction.lag.ms": "5000",
    "delete.retention.ms": "20000",
    "file.delete.delay.ms": "1000",
}
LOOK_EVERY_S = 1.0
SETTLED_S = 22.0  # Tombstones go with the first compaction after their time.
SETTLING_S_MAX = 120.0


class TopicSize(threading.Thread):
    """Looks at what the states' topic takes on disk, again and again."""

    def __init__(self, machine: BenchMachine) -> None:
        super().__init__(name="size", daemon=True)
        self._folders: list[Path] = []
        deadline = time.monotonic() + 10  # Kafka makes them a little after the topic.
        while len(self._folders) < BEHAVIOUR_STATE.partitions:
            assert time.monotonic() < deadline, "the states' topic has no folders"
            self._folders = [*machine.folder.glob(f"kafka/log/{BEHAVIOUR_STATE.name}-*")]
        self.peak_mb = 0.0

    def run(self) -> None:
        """Until the process ends."""
        while True:
            self.peak_mb = max(self.peak_mb, self.now_mb())
            time.sleep(LOOK_EVERY_S)

    def now_mb(self) -> float:
        """Its closed and open segments."""
        size = 0
        for file in (file for folder in self._folders for file in folder.glob("*.log")):
            with contextlib.suppress(FileNotFoundError):  # Kafka has just removed it.
                size += file.stat().st_size
        return size / 1e6

    def settled_mb(self) -> float:
        """When it has not become smaller for a while, and nothing is written."""
        least_mb, since = self.now_mb(), time.monotonic()
        deadline = since + SETTLING_S_MAX
        while time.monotonic() < min(since + SETTLED_S, deadline):
            time.sleep(LOOK_EVERY_S)
            size_mb = self.now_mb()
            if size_mb < 0.99 * least_mb:
                least_mb, since = size_mb, time.monotonic()
        return least_mb


def run(events: int = 200_000) -> dict[str, object]:
    """Figures after each tenth of the sessions."""
    sessions = events // BATCH_EVENTS
    series: dict[str, list[float]] = {
        name: [] for name in ("live", "state_mb", "state_topic_mb", "state_topic_peak_mb", "rss_mb")
    }
    with bench_machine() as machine:
        _compact_soon(machine)
        size = TopicSize(machine)
        size.start()
        visits = Visits(machine.project_id, BATCH_EVENTS)
        first_ms = time.time_ns() // 1_000_000 + DAY_MS
        records = visits.batches(sessions, 1, 1, first_ms, EACH_MS)
        port = free_port()
        environ = {"METRICS_PORT": str(port), "METRICS_HOST": "127.0.0.1"}
        # Visits are ahead of the clock, by hours a second.
        environ["CLOCK_AHEAD_SECONDS_MAX"] = str(DAY_MS)
        kafka = server_process(machine, KAFKA)
        with own_process(machine, "behaviour", ["flows", "behaviour"], port, **environ) as process:
            sent = 0
            for _ in range(SAMPLES):
                sent += produce(machine, islice(records, sessions // SAMPLES), 2_000)
                found = _wait(port, sent * BATCH_EVENTS)
                series["rss_mb"].append(round(rss_mb(process), 1))
                series["live"].append(found["gosight_flow_keys_live"])
                series["state_mb"].append(round(found["gosight_flow_state_bytes"] / 1e6, 2))
                series["state_topic_peak_mb"].append(round(size.peak_mb, 1))
                series["state_topic_mb"].append(round(size.settled_mb(), 1))
                size.peak_mb = 0.0
                latest = {name: values[-1] for name, values in series.items()}
                print(f"{sent:,} sessions: {latest}", file=sys.stderr, flush=True)
            found = read_metrics(port)
            cpu_s = {"cpu": _cpu_us(process, sent), "kafka_cpu": _cpu_us(kafka, sent)}
    return {
        "benchmark": "short_sessions",
        "sessions": sent,
        "transactions": int(found["gosight_flow_transactions_total"]),
        **{f"{name}_us_per_session": value for name, value in cpu_s.items()},
        **series,
    }


def _cpu_us(process: psutil.Process | None, sessions: int) -> float:
    return round(cpu_seconds(process) / sessions * 1e6, 1) if process is not None else 0.0


def _compact_soon(machine: BenchMachine) -> None:
    admin = AdminClient({"bootstrap.servers": machine.urls["KAFKA_BROKERS"]})
    (broker,) = admin.list_topics(timeout=10).brokers
    wanted = [
        (ResourceType.TOPIC, BEHAVIOUR_STATE.name, COMPACTION),
        (ResourceType.BROKER, str(broker), {"log.cleaner.backoff.ms": "1000"}),
    ]
    for kind, name, values in wanted:
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in values.items()
        ]
        resource = ConfigResource(kind, name, incremental_configs=entries)
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(timeout=10)


def _wait(port: int, events: int, timeout_s: float = 1_500) -> dict[str, float]:
    deadline = time.monotonic() + timeout_s
    while (found := read_metrics(port)).get("gosight_flow_events_total", 0) < events:
        if time.monotonic() > deadline:
            raise RuntimeError("the flow does not keep up")
        time.sleep(0.3)
    return found
