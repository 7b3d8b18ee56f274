"""The storage flow: Kafka to ClickHouse, decoded, deduplicated, enriched, written once.

First a backlog, read as fast as it goes (CPU per event, rate), then live traffic at a fixed rate
(p50, p99 from receipt to the row being in ClickHouse).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec
from clickhouse_connect.driver.client import Client

from benchmarks.bench_machine import (
    CLICKHOUSE,
    KAFKA,
    CpuMeter,
    bench_machine,
    cpu_seconds,
    free_port,
    own_process,
    rss_mb,
    server_process,
    start_cpu_seconds,
)
from benchmarks.yardsticks import flat_event_us
from cli.synthetic import Visitors
from connectors.clickhouse import connect
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from schemas.identifiers import session_uuid
from schemas.json_batch import batch_from_json
from schemas.topics import EVENTS_RAW
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch

BATCH_EVENTS = 10
Maker = Callable[[], OutRecord]
LEDGER = (
    "SELECT sumIf(events, outcome = 'received'), sumIf(events, outcome = 'stored') "
    "FROM ledger_minutes"
)
LAGS = (
    "SELECT count(), quantile(0.5)(lag), quantile(0.99)(lag) FROM (SELECT "
    "toUnixTimestamp64Milli(ingested_at) - toUnixTimestamp64Milli(received_at) AS lag "
    "FROM events WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC'))"
)


def run(
    events: int = 400_000, paced_events_per_s: int = 10_000, paced_s: int = 10
) -> dict[str, object]:
    """Figures of the backlog and of the live run."""
    with bench_machine() as machine:
        port = free_port()
        environ = {"METRICS_PORT": str(port), "METRICS_HOST": "127.0.0.1"}
        start_cpu_s = start_cpu_seconds(machine, "storage", ["flows", "storage"], port, **environ)
        producer = KafkaRecordProducer(machine.urls["KAFKA_BROKERS"])
        records = raw_records(machine.project_id)
        backlog = list(islice(records, events // BATCH_EVENTS))
        for start in range(0, len(backlog), 2_000):
            producer.produce_all([make() for make in backlog[start : start + 2_000]])
        live_records = list(islice(records, paced_events_per_s * paced_s // BATCH_EVENTS))
        flat_us = flat_event_us([make().value for make in backlog[:2_000]])
        client = connect(machine.urls["CLICKHOUSE_URL"])
        servers = {
            "store": server_process(machine, CLICKHOUSE),
            "kafka": server_process(machine, KAFKA),
        }
        meter = CpuMeter(servers)
        began = time.perf_counter()
        with own_process(machine, "storage", ["flows", "storage"], port, **environ) as process:
            wait_until_booked(client, events)
            wall_s = time.perf_counter() - began
            own_cpu_s = cpu_seconds(process) - start_cpu_s
            figures = meter.per_event(events)
            memory = rss_mb(process)
            since_ms = time.time_ns() // 1_000_000
            meter = CpuMeter({"live": process, **{f"live_{n}": p for n, p in servers.items()}})
            live = _paced(producer, live_records, paced_s)
            received, stored = wait_until_booked(client, events + live)
            figures.update(meter.per_event(live))
            count, p50_ms, p99_ms = visible_after(client, since_ms)
        rows = client.query("SELECT count(), uniqExact(event_id) FROM events").result_rows[0]
    return {
        "benchmark": "storage",
        "yardstick_flat_event_us": flat_us,
        "events_per_s": round(events / wall_s),
        "cpu_us_per_event": round(own_cpu_s / events * 1e6, 2),
        **figures,
        "start_cpu_s": round(start_cpu_s, 2),
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "paced_events_per_s": paced_events_per_s,
        "rss_mb": round(memory, 1),
        "sent": events + live,
        "received": received,
        "stored": stored,
        "rows": rows[0],
        "distinct": rows[1],
        "live_rows": count,
    }


def visible_after(client: Client, since_ms: int) -> tuple[int, int, int]:
    """Rows received since, and p50 and p99 of the time from receipt to being stored, in ms."""
    rows = client.query(LAGS, parameters={"since": since_ms}).result_rows
    count, p50_ms, p99_ms = rows[0]
    return int(count), round(p50_ms), round(p99_ms)


def raw_records(project_id: str) -> Iterator[Maker]:
    """Endless record makers; the receipt is stamped when a record is made."""
    for batch in Visitors(7).batches(BATCH_EVENTS):
        yield _maker(project_id, batch)


def _maker(project_id: str, batch: dict[str, object]) -> Maker:
    now_ms = time.time_ns() // 1_000_000
    events = batch["events"]
    assert isinstance(events, list)
    for event in events:
        event["timestamp"] = now_ms
    parsed = batch_from_json(msgspec.json.encode({**batch, "sent_at": now_ms}))
    messages = [event for event in parsed.events if isinstance(event, Event)]
    session_text = messages[0].session_id
    key = f"{project_id}:{session_uuid(project_id, session_text)}".encode()

    def make() -> OutRecord:
        raw = RawBatch(
            events=messages,
            sent_at=0,
            sdk_version="bench",
            project_id=project_id,
            session_id=session_text,
            received_at_ms=time.time_ns() // 1_000_000,
            client_ip="203.0.113.7",
            user_agent=messages[0].device.user_agent,
            event_count=len(messages),
            retain_days=90,
            scrubber_version=1,
            batch_id=str(uuid.uuid4()),
        )
        count = str(len(messages)).encode()
        return OutRecord(EVENTS_RAW.name, key, raw.SerializeToString(), (("events", count),))

    return make


def _paced(producer: KafkaRecordProducer, makers: Sequence[Maker], seconds: int) -> int:
    """Send all records evenly within `seconds`, in tenths of a second; return their events."""
    per_tick = max(1, len(makers) // (seconds * 10))
    began = time.perf_counter()
    for tick, start in enumerate(range(0, len(makers), per_tick)):
        wait_s = began + tick * 0.1 - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        producer.produce_all([make() for make in makers[start : start + per_tick]])
    return len(makers) * BATCH_EVENTS


def wait_until_booked(client: Client, events: int, timeout_s: float = 240) -> tuple[int, int]:
    """Wait until the ledger has booked `events`; (received, stored)."""
    deadline = time.monotonic() + timeout_s
    while True:
        received, stored = client.query(LEDGER).result_rows[0]
        if received >= events:
            return int(received), int(stored)
        if time.monotonic() > deadline:
            raise RuntimeError(f"{received} of {events} events stored in {timeout_s} s")
        time.sleep(0.1)
