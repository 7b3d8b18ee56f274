"""From the last click of an angry burst to its insight: on the topic, and announced in Redis.

A gateway, the behaviour flow and the results flow, with some steady traffic. The clock starts when
the request with the burst's clicks is sent; both flows' waits, transactions and polls are in it.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import redis
from confluent_kafka import Consumer, TopicPartition

from benchmarks.bench_machine import (
    BenchMachine,
    bench_machine,
    free_port,
    gateway_environ,
    own_process,
)
from benchmarks.visits import Visits
from connectors.kafka_producer import KafkaRecordProducer
from connectors.live_results import channel
from schemas.topics import INSIGHTS
from schemas.v1.pipeline_pb2 import Insight

CLICKS = 6


def run(
    events: int = 60_000, bursts: int = 200, background_per_s: int = 1_000
) -> dict[str, object]:
    """p50 and p99 in milliseconds, over `bursts` in the time that `events` of background take."""
    with bench_machine() as machine, ExitStack() as running:
        ports = [free_port() for _ in range(3)]
        running.enter_context(
            own_process(
                machine, "gateway", ["ingest_gateway"], ports[0], **gateway_environ(ports[0])
            )
        )
        for name, port in (("behaviour", ports[1]), ("results", ports[2])):
            environ = {"METRICS_PORT": str(port), "METRICS_HOST": "127.0.0.1"}
            running.enter_context(own_process(machine, name, ["flows", name], port, **environ))
        seconds = events / background_per_s
        background = _Background(machine, background_per_s, seconds)
        topic = _TopicWatch(machine.urls["KAFKA_BROKERS"])
        board = _BoardWatch(machine.urls["REDIS_URL"], machine.project_id)
        for thread in (topic, board, background):
            thread.start()
        time.sleep(3.0)
        sent: dict[str, float] = {}
        for _ in range(bursts):
            session_id = str(uuid.uuid4())
            sent[session_id] = time.perf_counter()
            _send_burst(f"http://127.0.0.1:{ports[0]}", machine.write_key, session_id)
            time.sleep(max(0.0, (seconds - 10) / bursts))
        background.join()
        time.sleep(3.0)
        topic.stopping = board.stopping = True
        topic.join()
        board.join()
        return {
            "benchmark": "latency",
            "bursts": bursts,
            "background_events_per_s": background_per_s,
            **_percentiles("topic", sent, topic.seen),
            **_percentiles("redis", sent, board.seen),
        }


def _percentiles(
    name: str, sent: Mapping[str, float], seen: Mapping[str, float]
) -> dict[str, object]:
    waits = sorted((seen[one] - at) * 1000 for one, at in sent.items() if one in seen)
    return {
        f"{name}_seen": len(waits),
        f"{name}_p50_ms": _at(waits, 0.5),
        f"{name}_p99_ms": _at(waits, 0.99),
        f"{name}_max_ms": _at(waits, 1.0),
    }


def _at(waits: Sequence[float], share: float) -> int:
    return round(waits[min(len(waits) - 1, int(len(waits) * share))]) if waits else 0


def _send_burst(url: str, key: str, session_id: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    page = {"url": "https://fernhill.example/cart", "path": "/cart", "title": "Cart"}
    events = [
        {
            "event_id": str(uuid.uuid4()),
            "event_type": "click",
            "timestamp": now_ms - 150 * (CLICKS - 1 - number),
            "page": page,
            "payload": {
                "position": {"x": 300, "y": 400},
                "target": {"tag": "button", "selector": "#apply", "text": "Apply"},
                "button": 0,
            },
        }
        for number in range(CLICKS)
    ]
    body = {
        "project_key": key,
        "sent_at": now_ms,
        "sdk_version": "bench",
        "session_id": session_id,
        "anonymous_id": session_id,
        "events": events,
    }
    request = urllib.request.Request(
        f"{url}/v1/events", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        if json.load(answer)["events_accepted"] != CLICKS:
            raise RuntimeError("the gateway refused a click")


class _Background(threading.Thread):
    """Sessions at a steady rate, straight into the topic."""

    def __init__(self, machine: BenchMachine, events_per_s: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._producer = KafkaRecordProducer(machine.urls["KAFKA_BROKERS"])
        self._visits = Visits(machine.project_id)
        self._batches = events_per_s // 100
        self._ticks = int(seconds * 10)

    def run(self) -> None:
        """A tenth of a second at a time."""
        sessions = [self._visits.new_session() for _ in range(200)]
        began = time.perf_counter()
        for tick in range(self._ticks):
            now_ms = time.time_ns() // 1_000_000
            chosen = [sessions[(tick * self._batches + n) % 200] for n in range(self._batches)]
            self._producer.produce_all([self._visits.record(one, now_ms) for one in chosen])
            time.sleep(max(0.0, began + (tick + 1) / 10 - time.perf_counter()))


class _TopicWatch(threading.Thread):
    """When each session's first insight of rage was committed."""

    def __init__(self, brokers: str) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, float] = {}
        self.stopping = False
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "benchmark-watch",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                "log_level": 2,
            }
        )
        self._consumer.assign(
            [TopicPartition(INSIGHTS.name, number, 0) for number in range(INSIGHTS.partitions)]
        )

    def run(self) -> None:
        """Until told to stop."""
        while not self.stopping:
            for message in self._consumer.consume(1_000, timeout=0.01):
                if message.error() is None:
                    insight = Insight.FromString(message.value() or b"")
                    if insight.insight_type == "rage_click":
                        self.seen.setdefault(insight.session_id, time.perf_counter())
        self._consumer.close()


class _BoardWatch(threading.Thread):
    """When each session's first insight of rage was announced."""

    def __init__(self, url: str, project_id: str) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, float] = {}
        self.stopping = False
        self._listener = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
        self._listener.subscribe(channel(project_id))

    def run(self) -> None:
        """Until told to stop."""
        while not self.stopping:
            message = self._listener.get_message(timeout=0.1)
            if message is not None:
                insight = json.loads(message["data"])
                if insight["insight_type"] == "rage_click":
                    self.seen.setdefault(insight["session_id"], time.perf_counter())
