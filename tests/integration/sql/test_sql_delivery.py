"""Repeated, concurrent and different blocks: what is counted, in the tables and in their views."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import connect, insert_arrow
from tests.integration.sql.databases import answers, insert_twice, rows_of
from tests.integration.sql.traffic import Row, generate_traffic
from tests.stack import RunningStack

pytestmark = pytest.mark.integration

# An hour ago: within every limit of age.
MINUTE_S = int(time.time()) // 60 * 60 - 3_600
COUNTED = {
    "events": "count()",
    "events_hourly": "sum(event_count)",
    "session_quarters": "sum(event_count)",
    "page_performance": "sum(view_count)",
    "click_heatmap": "sum(click_count)",
    "element_clicks": "sum(click_count)",
    "scroll_depth": "uniqMerge(total_sessions)",
    "page_time": "sum(view_count)",
}


def counts(client: Client) -> dict[str, int]:
    """What each table counts by now."""
    return {
        table: rows_of(client, f"SELECT {counted} FROM {table}")[0][0]
        for table, counted in COUNTED.items()
    }


def entry(project_id: str, outcome: str, events: int, **more: Any) -> dict[str, Any]:
    """One row of the ledger."""
    return {
        "project_id": project_id,
        "minute": MINUTE_S,
        "outcome": outcome,
        "reason": "",
        "events": events,
        "source_topic": "gosight.events.raw",
        "source_partition": 3,
        "block_first": 10,
        "block_last": 19,
    } | more


def test_a_block_delivered_again_changes_nothing(client: Client) -> None:
    """Each block twice, in any order, over two months: base and all views count it once."""
    traffic = generate_traffic(seed=7, events=900, blocks=9)
    for number, block in enumerate(traffic.blocks):
        insert_twice(client, "events", block, f"again:0:{number}")
    once = counts(client)
    assert once["events"] == len(traffic.rows)
    assert once["events_hourly"] == len(traffic.rows)
    assert all(once.values())
    for number, block in reversed(list(enumerate(traffic.blocks))):
        insert_twice(client, "events", block, f"again:0:{number}")
    assert counts(client) == once


def test_a_block_delivered_at_the_same_time_by_two_writers_counts_once(
    migrated: RunningStack, client: Client
) -> None:
    """A killed writer's insert that is still running beside its successor's does no harm."""
    before = counts(client)
    block = pa.Table.from_pylist([dict(row) for row in generate_traffic(8, 300, 1).rows])
    clients = [connect(migrated.clickhouse_url) for _ in range(4)]
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(lambda one: insert_arrow(one, "events", block, "together:0:1"), clients))
    after = counts(client)
    for one in clients:
        one.close()
    assert after["events"] - before["events"] == 300
    assert after["events_hourly"] - before["events_hourly"] == 300


def test_equal_rows_under_different_tokens_are_both_counted_in_the_ledger(client: Client) -> None:
    """Two blocks may well have the same counts: only the token says that they are one."""
    project = str(uuid4())
    insert_twice(client, "ledger_entries", [entry(project, "stored", 5)], f"{project}:10-19")
    insert_twice(client, "ledger_entries", [entry(project, "stored", 5)], f"{project}:20-29")
    found = answers(
        client,
        "ledger_totals",
        project_id=project,
        start_ms=MINUTE_S * 1000,
        end_ms=MINUTE_S * 1000 + 60_000,
    )
    assert found == [{"outcome": "stored", "reason": "", "events": 10}]


def test_an_event_stored_under_two_tokens_is_found(client: Client) -> None:
    """A client's late repetition that slips through is one row after merging, and is reported."""
    project = str(uuid4())
    row: Row = generate_traffic(seed=9, events=1, blocks=1).rows[0] | {"project_id": project}
    insert_twice(client, "events", [row], f"{project}:1-1")
    insert_twice(client, "events", [dict(row) | {"browser": "Opera"}], f"{project}:2-2")
    # Its clock was corrected differently the second time: merging cannot see that it is the same.
    moved = dict(row) | {"timestamp": row["timestamp"].replace(microsecond=123_000)}
    received_ms = int(row["received_at"].timestamp() * 1000)
    asked = {"project_id": project, "start_ms": received_ms, "end_ms": received_ms + 1}
    assert answers(client, "duplicates_check", **asked) == [
        {"rows": 1, "distinct_events": 1, "repeated": 0, "rows_before_merge": 2}
    ]
    assert rows_of(client, f"SELECT browser FROM events FINAL WHERE project_id = '{project}'") == [
        ("Opera",)
    ]
    insert_twice(client, "events", [moved], f"{project}:3-3")
    (found,) = answers(client, "duplicates_check", **asked)
    assert (found["rows"], found["distinct_events"], found["repeated"]) == (2, 1, 1)


def test_positions_are_the_highest_offset_written(client: Client) -> None:
    """Each partition's next offset follows its furthest block, whatever the order of arrival."""
    topic = f"topic-{uuid4()}"
    blocks: Sequence[tuple[int, int, int]] = ((0, 20, 29), (0, 0, 9), (1, 0, 4), (0, 10, 19))
    for partition, first, last in blocks:
        row = entry(
            "p",
            "received",
            1,
            source_topic=topic,
            source_partition=partition,
            block_first=first,
            block_last=last,
        )
        insert_twice(client, "ledger_entries", [row], f"{topic}:{partition}:{first}-{last}")
    found = rows_of(
        client,
        "SELECT source_partition, max(next_offset) FROM flow_positions_mv "
        f"WHERE source_topic = '{topic}' GROUP BY source_partition ORDER BY source_partition",
    )
    assert found == [(0, 30), (1, 5)]


def test_the_ledger_adds_up_per_minute(client: Client) -> None:
    """Minutes add their blocks and outcomes; what is missing shows as unaccounted."""
    project = str(uuid4())
    whole = [("received", "", 10), ("stored", "", 6), ("duplicate", "", 1)]
    whole += [("rejected", "too_old", 2), ("dropped", "suppressed", 1)]
    for block in range(3):
        rows = [entry(project, outcome, n, reason=reason) for outcome, reason, n in whole]
        insert_twice(client, "ledger_entries", rows, f"{project}:a{block}")
    lost = [
        entry(project, "received", 4, minute=MINUTE_S + 60),
        entry(project, "stored", 3, minute=MINUTE_S + 60),
    ]
    insert_twice(client, "ledger_entries", lost, f"{project}:b")
    asked = {
        "project_id": project,
        "start_ms": MINUTE_S * 1000,
        "end_ms": MINUTE_S * 1000 + 120_000,
    }
    assert [tuple(row.values()) for row in answers(client, "ledger_by_minute", **asked)] == [
        (MINUTE_S * 1000, 30, 18, 3, 6, 3, 0),
        ((MINUTE_S + 60) * 1000, 4, 3, 0, 0, 0, 1),
    ]
    assert [tuple(row.values()) for row in answers(client, "ledger_totals", **asked)] == [
        ("dropped", "suppressed", 3),
        ("duplicate", "", 3),
        ("received", "", 34),
        ("rejected", "too_old", 6),
        ("stored", "", 21),
    ]
    reasons = answers(client, "ledger_reasons_by_minute", **asked)
    assert [tuple(row.values()) for row in reasons] == [
        (MINUTE_S * 1000, "dropped", "suppressed", 3),
        (MINUTE_S * 1000, "duplicate", "", 3),
        (MINUTE_S * 1000, "received", "", 30),
        (MINUTE_S * 1000, "rejected", "too_old", 6),
        (MINUTE_S * 1000, "stored", "", 18),
        ((MINUTE_S + 60) * 1000, "received", "", 4),
        ((MINUTE_S + 60) * 1000, "stored", "", 3),
    ]
    # The second minute lies outside when the period ends where it begins.
    asked["end_ms"] = MINUTE_S * 1000 + 60_000
    assert len(answers(client, "ledger_by_minute", **asked)) == 1
