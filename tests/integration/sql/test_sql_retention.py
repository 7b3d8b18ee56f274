"""How long rows stay, and that what was counted from them stays longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from clickhouse_connect.driver.client import Client

from tests.integration.sql.databases import insert_twice, rows_of

pytestmark = pytest.mark.integration

# Limits are counted in whole days and read later than this: cases stay clear of both by a day.
NOW = datetime.now(UTC)


def session(project_id: str, number: int, start: datetime, retain_days: int) -> dict[str, Any]:
    """One session of one moment."""
    return {
        "session_id": str(UUID(int=number + 1)),
        "project_id": project_id,
        "started_at": start,
        "ended_at": start,
        "revision": 1,
        "retain_days": retain_days,
    }


def refresh(client: Client) -> None:
    """Have the daily figures counted now."""
    client.command("SYSTEM REFRESH VIEW sessions_daily_mv")
    client.command("SYSTEM WAIT VIEW sessions_daily_mv")


def test_each_row_goes_after_its_own_limit(client: Client) -> None:
    """Rows of one table follow their projects' limits; 0 is the default, never "at once"."""
    project = str(uuid4())
    # (days ago, retain_days, is still there)
    cases = [
        (0, 2, True),
        (4, 1, False),
        (80, 90, True),
        (92, 90, False),
        (92, 200, True),
        (30, 0, True),
        (92, 0, False),
        (700, 730, True),
        (10, 4_000_000_000, True),
        (740, 20_000, False),
    ]
    rows = [
        {
            "event_id": str(UUID(int=number)),
            "project_id": project,
            "session_id": str(UUID(int=1)),
            "event_type": "page_view",
            "path": "/",
            "timestamp": NOW - timedelta(days=days),
            "received_at": NOW - timedelta(days=days),
            "retain_days": retain_days,
        }
        for number, (days, retain_days, _) in enumerate(cases)
    ]
    insert_twice(client, "events", rows, project)
    client.command("OPTIMIZE TABLE events FINAL")
    found = rows_of(
        client,
        f"SELECT toString(event_id) FROM events WHERE project_id = '{project}' ORDER BY event_id",
    )
    kept = {str(UUID(int=number)) for number, case in enumerate(cases) if case[2]}
    assert {event_id for (event_id,) in found} == kept
    # What was counted stays counted.
    assert rows_of(
        client, f"SELECT sum(event_count) FROM events_hourly_mv WHERE project_id = '{project}'"
    ) == [(len(cases),)]


def test_sessions_go_after_their_limit(client: Client) -> None:
    """A session goes by the day it started and its project's limit."""
    project = str(uuid4())
    for number, (days, retain_days) in enumerate([(28, 30), (32, 30), (32, 0)]):
        row = session(project, number, NOW - timedelta(days=days), retain_days)
        insert_twice(client, "sessions", [row], f"{project}:{number}")
    client.command("OPTIMIZE TABLE sessions FINAL")
    assert rows_of(
        client,
        f"SELECT toString(session_id) FROM sessions WHERE project_id = '{project}' "
        "ORDER BY session_id",
    ) == [(str(UUID(int=1)),), (str(UUID(int=3)),)]


def test_days_outlive_the_sessions_they_were_counted_from(client: Client) -> None:
    """A counted day stays when its sessions are gone, whatever is counted afterwards."""
    project = str(uuid4())
    start = NOW - timedelta(days=28)
    insert_twice(client, "sessions", [session(project, 0, start, 30)], f"{project}:0")
    refresh(client)
    client.command(
        f"ALTER TABLE sessions DELETE WHERE project_id = '{project}'",
        settings={"mutations_sync": 2},
    )
    later = session(project, 1, NOW - timedelta(days=1), 30)
    insert_twice(client, "sessions", [later], f"{project}:1")
    refresh(client)
    assert rows_of(
        client,
        "SELECT day, sum(session_count) FROM sessions_daily_mv FINAL "
        f"WHERE project_id = '{project}' GROUP BY day ORDER BY day",
    ) == [(start.date(), 1), ((NOW - timedelta(days=1)).date(), 1)]


def test_ledger_entries_go_after_30_days_and_minutes_stay(client: Client) -> None:
    """The entries serve the flow, the minutes the reports."""
    project = str(uuid4())
    minute = (NOW - timedelta(days=33)).replace(second=0, microsecond=0)
    row = {
        "project_id": project,
        "minute": int(minute.timestamp()),
        "outcome": "received",
        "reason": "",
        "events": 7,
        "source_topic": project,
        "source_partition": 0,
        "block_first": 0,
        "block_last": 6,
    }
    insert_twice(client, "ledger_entries", [row], project)
    for table in ("ledger_entries", "ledger_minutes", "flow_positions"):
        client.command(f"OPTIMIZE TABLE {table} FINAL")
    where = f"WHERE project_id = '{project}'"
    assert rows_of(client, f"SELECT count() FROM ledger_entries {where}") == [(0,)]
    assert rows_of(client, f"SELECT sum(events) FROM ledger_minutes {where}") == [(7,)]
    assert rows_of(
        client, f"SELECT next_offset FROM flow_positions WHERE source_topic = '{project}'"
    ) == [(7,)]
