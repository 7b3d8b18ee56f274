"""The results flow as a real process on real servers: killed, and how soon it shows."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import connect
from connectors.kafka_producer import KafkaRecordProducer
from connectors.live_results import channel, recent_key, state_key
from flows.core.result_columns import insight_table, session_table
from sql.migrate import migrate_up
from tests.flow.result_records import an_insight, record_of, some_results
from tests.stack import RunningStack, fresh_databases

SESSIONS = 400


@pytest.fixture
def databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Empty databases with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack


@contextmanager
def results_flow(
    stack: RunningStack, group: str, log_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m flows results`; killed at the end if it still runs."""
    environ = {
        **os.environ,
        **stack.urls,
        "CONSUMER_GROUP": group,
        "METRICS_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "BATCH_SECONDS": "0.2",
        "BATCH_ROWS": "100",
        "POLL_RECORDS": "20",
        "RUST_BACKTRACE": "0",
    }
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "results"], env=environ, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def stored(client: Client, table: str, project_id: str) -> list[dict[str, Any]]:
    """Rows under FINAL, as plain values."""
    found = client.query(
        f"SELECT * FROM {table} FINAL WHERE project_id = {{project:String}}",
        parameters={"project": project_id},
    )
    return [
        {name: _plain(value) for name, value in zip(found.column_names, row, strict=True)}
        for row in found.result_rows
    ]


def _plain(value: Any) -> Any:
    """As Arrow gives it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    return str(value) if isinstance(value, uuid.UUID) else value


def rows_are(rows: list[dict[str, Any]], expected: list[dict[str, Any]], key: str) -> bool:
    """Whether each expected row is there once, with all the columns that were written."""
    by_key = {row[key]: row for row in rows}
    return len(rows) == len(expected) == len(by_key) and all(
        one[key] in by_key and {name: by_key[one[key]][name] for name in one} == one
        for one in expected
    )


def wait_until(is_done: Any, timeout_s: float = 60) -> None:
    """Until it says so."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def test_sigkill_in_the_middle_changes_nothing(databases: RunningStack, tmp_path: Path) -> None:
    """Killed three times: every session's newest row, every insight once, and all of it live."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    project_id = str(uuid.uuid4())
    now_ms = int(time.time() * 1000)
    results, rows, insights = some_results(chance, project_id, SESSIONS, at_ms=now_ms)
    KafkaRecordProducer(databases.kafka_brokers).produce_all([record_of(r) for r in results])
    client = connect(databases.clickhouse_url)

    def count() -> int:
        found = client.query("SELECT count() FROM sessions FINAL").result_rows
        return int(found[0][0])

    log_path = tmp_path / "flow.log"
    for part in (0.1, 0.4, 0.8):
        with results_flow(databases, project_id, log_path):
            wait_until(lambda part=part: count() >= part * SESSIONS)  # type: ignore[misc]
    expected = session_table(list(rows.values())).to_pylist()
    found = insight_table(list(insights.values())).to_pylist()
    started = '"event":"flow_started"'
    before = log_path.read_text().count(started)
    with results_flow(databases, project_id, log_path) as process:
        wait_until(
            lambda: (
                rows_are(stored(client, "sessions", project_id), expected, "session_id")
                and rows_are(stored(client, "insights", project_id), found, "insight_id")
            )
        )
        # All may have been there before this process began, and before it heeds a signal.
        wait_until(lambda: log_path.read_text().count(started) > before)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    with redis.Redis.from_url(databases.redis_url, decode_responses=True) as live:
        assert set(live.zrange(recent_key(project_id), 0, -1)) <= insights.keys()
        assert live.zcard(recent_key(project_id)) == 200
        for session, row in list(rows.items())[:20]:
            assert live.hget(state_key(session), "revision") == str(row.revision)


def test_an_insight_is_shown_at_once(databases: RunningStack, tmp_path: Path) -> None:
    """Usually within 300 ms of being on the topic; the bound leaves room for a busy machine."""
    project_id = str(uuid.uuid4())
    producer = KafkaRecordProducer(databases.kafka_brokers)
    with (
        redis.Redis.from_url(databases.redis_url) as live,
        live.pubsub(ignore_subscribe_messages=True) as listener,
        results_flow(databases, project_id, tmp_path / "flow.log"),
    ):
        listener.subscribe(channel(project_id))

        def heard() -> bool:
            return listener.get_message(timeout=0.01) is not None

        def announce(timeout_s: float) -> float:
            """Seconds from the acknowledgement to the announcement."""
            name = str(uuid.uuid4())
            now_ms = int(time.time() * 1000)
            producer.produce_all([record_of(an_insight(project_id, name, name, at_ms=now_ms))])
            began, deadline = time.monotonic(), time.monotonic() + timeout_s
            while not heard():
                assert time.monotonic() < deadline, "not in time"
            return time.monotonic() - began

        announce(60)  # The process starts meanwhile.
        delays = sorted(announce(5) for _ in range(20))
    print(f"shown after {statistics.median(delays):.3f} s, at most {delays[-1]:.3f} s")
    assert statistics.median(delays) < 1.0
