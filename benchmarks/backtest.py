"""`gosight backtest` over stored events: how many events of history a core gets through.

Made-up visits are stored, then copied within ClickHouse under other ids until there are enough. One
backtest changes one detector, so that only the events it takes are read; another changes all six.
The rate counts all stored events of the period, whether they had to be read or not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec
import psutil
from clickhouse_connect.driver.client import Client

from benchmarks.bench_machine import CLICKHOUSE, CpuMeter, bench_machine, rss_mb, server_process
from benchmarks.yardsticks import flat_event_us
from cli.backtesting import BacktestReport, run_backtest
from cli.rule_changes import changed_document
from cli.synthetic import Visitors
from connectors.clickhouse import connect, insert_arrow
from connectors.lookups import load_agent_parser
from connectors.stored_sessions import Period
from flows.core.event_rows import RowBuilder
from schemas.json_batch import batch_from_json
from schemas.log import PolledBatch
from schemas.lookups import Place
from schemas.topics import EVENTS_RAW
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch

DAY_MS = 86_400_000
BATCH_EVENTS = 10
MADE_EVENTS = 50_000
BLOCK_BATCHES = 1_000
# Between the events of a visit.
PAUSE_MS = 400
# Another id for each copy, and the same for all events of a session.
_COPY = (
    "INSERT INTO events SELECT * REPLACE ("
    "reinterpretAsUUID(bitXor(reinterpretAsUInt128(session_id), toUInt128({copy}))) AS session_id, "
    "generateUUIDv4() AS event_id, {copy} AS source_partition) "
    "FROM (SELECT * FROM events WHERE source_partition = 0)"
)
ALL_CHANGED = ("exclusions=false", "rage_click.min_clicks=3", "u_turn.max_time_away_ms=5000")


def run(events: int = 1_000_000) -> dict[str, object]:
    """Figures of both backtests."""
    with bench_machine() as machine:
        client = connect(machine.urls["CLICKHOUSE_URL"], timeout_s=600)
        start_ms = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS - 7 * DAY_MS
        flat_us = flat_event_us(_store(client, machine.project_id, events, start_ms))
        stored = int(client.query("SELECT count() FROM events").result_rows[0][0])
        period = Period(machine.project_id, start_ms, start_ms + 2 * DAY_MS)
        server = server_process(machine, CLICKHOUSE)
        figures: dict[str, object] = {}
        for name, changes in (("one", ("rage_click.min_clicks=3",)), ("all", ALL_CHANGED)):
            meter = CpuMeter({"": psutil.Process(), "store": server})
            report = _backtest(client, period, changes)
            figures |= {
                f"{name}_events_per_s": round(stored / report.seconds),
                f"{name}_seconds": round(report.seconds, 1),
                f"{name}_read": report.events,
                f"{name}_fired": sum(
                    kind.sessions.both + kind.sessions.only_old + kind.sessions.only_new
                    for kind in report.types
                ),
                **{f"{name}_{key}": value for key, value in meter.per_event(stored).items()},
            }
        client.close()
    return {
        "benchmark": "backtest",
        "yardstick_flat_event_us": flat_us,
        "stored": stored,
        "sessions": report.sessions,
        **figures,
        "rss_mb": round(rss_mb(psutil.Process()), 1),
    }


def _backtest(client: Client, period: Period, changes: tuple[str, ...]) -> BacktestReport:
    document: Mapping[str, Any] = {}
    return run_backtest(
        client,
        period,
        document,
        changed_document(document, changes, None),
        lambda _total: contextlib.nullcontext(lambda _counts: None),
    )


def _store(client: Client, project_id: str, events: int, start_ms: int) -> list[bytes]:
    """At least so many events of sessions that began within two days; returns some raw records."""
    builder = RowBuilder(load_agent_parser(), lambda _address: Place())
    batches = Visitors(7).batches(BATCH_EVENTS)
    made = min(MADE_EVENTS, events)
    times: dict[str, int] = {}
    values: list[bytes] = []
    for block in range(0, made // BATCH_EVENTS, BLOCK_BATCHES):
        count = min(BLOCK_BATCHES, made // BATCH_EVENTS - block)
        values = [_record(project_id, batch, times, start_ms) for batch in islice(batches, count)]
        polled = PolledBatch(
            topic=EVENTS_RAW.name,
            partition=0,
            offsets=list(range(block, block + count)),
            values=values,
            keys=[b""] * count,
            created_ms=[0] * count,
            event_counts=[BATCH_EVENTS] * count,
        )
        insert_arrow(client, "events", builder.build(polled).table, f"bench-{block}")
    for copy in range(1, -(-events // made)):
        client.command(_COPY.replace("{copy}", str(copy)))
    return values


def _record(project_id: str, batch: dict[str, Any], times: dict[str, int], start_ms: int) -> bytes:
    session = batch["session_id"]
    # Visits begin all through the first day.
    now_ms = times.get(session, start_ms + len(times) * 13_331 % DAY_MS)
    for event in batch["events"]:
        event["timestamp"] = now_ms
        now_ms += PAUSE_MS
    times[session] = now_ms
    parsed = batch_from_json(msgspec.json.encode({**batch, "sent_at": now_ms}))
    messages = [event for event in parsed.events if isinstance(event, Event)]
    return RawBatch(
        events=messages,
        project_id=project_id,
        session_id=messages[0].session_id,
        received_at_ms=now_ms,
        user_agent=messages[0].device.user_agent,
        event_count=len(messages),
        retain_days=90,
    ).SerializeToString()
