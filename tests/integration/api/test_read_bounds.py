"""What reads touch: a part that the project, the period and the session bound, never a table.

Each call is made over HTTP on the real engine, and each query that it asked is held against the
engine's own estimate of what its indexes leave to be read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from aiohttp.test_utils import TestClient, TestServer
from clickhouse_connect.driver.client import Client

from api.app import create_app
from api.services import Services
from benchmarks.api_data import fill
from benchmarks.read_costs import RecordingRunner, costs_of, table_sizes
from cli.project_store import connect as connect_projects
from cli.project_store import create_key, create_project
from connectors.clickhouse import connect, insert_arrow
from connectors.keys import KeyStore
from connectors.postgres import PostgresKeySource, connect_postgres
from connectors.redis import connect_redis
from sql.migrate import migrate_up
from tests.integration.api.read_world import read_stores
from tests.stack import RunningStack, fresh_databases

EVENTS, DAYS = 600_000, 180
END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST, LAST = (END - timedelta(days=60)).date(), (END - timedelta(days=54)).date()
WEEK = {"start_date": FIRST.isoformat(), "end_date": LAST.isoformat(), "timezone": "Asia/Seoul"}
# A week and the one before, of half a year in which one of five projects has most: one in thirteen.
# Whole granules and the edges of parts come on top.
SHARE_MAX = 1 / 5
# Beyond so little nothing is to be gained: some granules of each part that has the day.
GRANULES_ALWAYS = 8
CALLS: Mapping[str, Mapping[str, str]] = {
    "overview": WEEK,
    "sessions": WEEK,
    "sessions?sort=duration": WEEK,
    "sessions?sort=events&order=asc": WEEK,
    "sessions?country=VN&has_rage_click=true&browser=Chrome": WEEK,
    "sessions?path=/page-7": WEEK,
    "sessions?user_id=user-10": WEEK,
    "events": WEEK,
    "events?event_type=click": WEEK,
    "events?user_id=user-10": WEEK,
    "errors": WEEK,
    "errors?grouped=false": WEEK,
    "insights": WEEK,
    "pages": WEEK,
    "performance": WEEK,
    "latency": WEEK,
    "heatmaps?path=/page-7": WEEK,
    "heatmaps/elements?path=/page-7": WEEK,
}


@dataclass(frozen=True)
class Loaded:
    """Stored projects of which one has most."""

    databases: RunningStack
    client: Client
    project_id: str
    key: str
    session_id: str


@pytest.fixture(scope="module")
def loaded(running_stack: RunningStack) -> Iterator[Loaded]:
    """Half a year of five projects, merged as it would be after a while."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        with connect_projects(databases.database_url) as connection:
            project = create_project(connection, "Large")
            key, _ = create_key(connection, project.id, name="r", permission="read")
        client = connect(databases.clickhouse_url, timeout_s=600)
        fill(client, str(project.id), EVENTS, END, days=DAYS, aggregate_days=30)
        for table in ("events", "session_quarters", "sessions", "session_starts", "insights"):
            client.command(f"OPTIMIZE TABLE {table} FINAL")
        (row,) = client.query(
            "SELECT session_id FROM session_starts WHERE project_id = {project:String} "
            "AND started_at >= {day:Date} ORDER BY started_at LIMIT 1",
            parameters={"project": str(project.id), "day": FIRST},
        ).result_rows
        yield Loaded(databases, client, str(project.id), key, str(row[0]))
        client.close()


@asynccontextmanager
async def recorded(loaded: Loaded) -> AsyncIterator[tuple[TestClient[Any, Any], RecordingRunner]]:
    """The API, and what it asks."""
    pool = await connect_postgres(loaded.databases.database_url)
    redis = connect_redis(loaded.databases.redis_url, timeout_s=2.0)
    runner = RecordingRunner(loaded.databases.clickhouse_url)
    try:
        async with read_stores(loaded.databases, pool, redis) as reads:
            services = Services(
                queries=runner,
                keys=KeyStore(PostgresKeySource(pool), None),
                checks={},
                vital=frozenset(),
                now_ms=lambda: time.time_ns() // 1_000_000,
                reads=reads,
            )
            async with TestClient(TestServer(create_app(services))) as client:
                yield client, runner
    finally:
        runner.close()
        await redis.aclose()
        await pool.close()


async def touched(loaded: Loaded, call: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The answer's data after each of its queries was found to be bounded."""
    async with recorded(loaded) as (client, runner):
        path, _, more = call.partition("?")
        url = f"/api/v1/projects/{loaded.project_id}/{path}?{more}"
        async with client.get(url, params=query, headers={"X-GoSight-Key": loaded.key}) as answer:
            document: dict[str, Any] = await answer.json()
            assert answer.status == 200, document
    sizes = table_sizes(loaded.client)
    assert sizes["events"][1] > 70
    assert runner.asked
    for name, parameters in runner.asked:
        for cost in costs_of(loaded.client, name, parameters):
            granules_max = max(GRANULES_ALWAYS, SHARE_MAX * sizes[cost.table][1])
            assert cost.granules <= granules_max, (cost, sizes[cost.table])
    return document


@pytest.mark.parametrize("call", CALLS)
async def test_a_week_reads_a_week(loaded: Loaded, call: str) -> None:
    """Of each table that any of its queries reads; and it finds something there."""
    data = (await touched(loaded, call, CALLS[call]))["data"]
    assert data or call.endswith("user_id=user-10")


@pytest.mark.parametrize("call", ["", "/events", "/journey", "/experience"])
async def test_a_session_reads_its_days(loaded: Loaded, call: str) -> None:
    """Its row by its id, its events by its days and the index of sessions."""
    data = (await touched(loaded, f"sessions/{loaded.session_id}{call}", {}))["data"]
    assert data


async def test_a_deep_page_reads_less_than_the_first(loaded: Loaded) -> None:
    """In the order of starts, what was listed already is not read again."""
    reached: list[int] = []
    async with recorded(loaded) as (client, runner):
        cursor: dict[str, str] = {}
        for _ in range(20):
            url = f"/api/v1/projects/{loaded.project_id}/sessions"
            query = {"per_page": "100", "start_date": (END - timedelta(days=90)).date().isoformat()}
            query["end_date"] = END.date().isoformat()
            headers = {"X-GoSight-Key": loaded.key}
            async with client.get(url, params={**query, **cursor}, headers=headers) as answer:
                document = await answer.json()
            cursor = {"cursor": document["meta"]["next_cursor"]}
            (asked,) = [one for one in runner.asked if one[0] == "sessions_list"]
            reached.append(sum(cost.rows for cost in costs_of(loaded.client, *asked)))
            runner.asked.clear()
    assert reached[-1] < reached[0]


async def test_a_session_that_began_earlier_is_listed_once(loaded: Loaded) -> None:
    """Where it begins now, whatever it was before; its former places are filled from behind."""
    with connect_projects(loaded.databases.database_url) as connection:
        project_id = str(create_project(connection, "Moved").id)
        key, _ = create_key(connection, UUID(project_id), name="r", permission="read")
    sessions, start = 30, END - timedelta(days=100)
    rows = [
        {
            "project_id": project_id,
            "session_id": str(UUID(int=7_000 + number)),
            "started_at": at,
            "ended_at": start + timedelta(hours=number, minutes=5),
            "duration_ms": 3_600_000 if number % 2 else 2_000,
            "revision": revision,
            "is_closed": True,
        }
        for number in range(sessions)
        for revision, at in [
            (1, start + timedelta(hours=number)),
            # Every second one was found to have begun five days before all of them.
            *([(2, start - timedelta(days=5))] if number % 2 else []),
        ]
    ]
    for row in rows:
        insert_arrow(loaded.client, "sessions", pa.Table.from_pylist([row]), str(row))
    found: list[str] = []
    async with recorded(loaded) as (client, _runner):
        following: str | None = ""
        while following is not None and len(found) <= sessions:
            span = {"start_date": start.isoformat(), "end_date": END.isoformat()}
            query = {**span, "per_page": "4", "order": "asc"}
            if following:
                query["cursor"] = following
            url = f"/api/v1/projects/{project_id}/sessions"
            async with client.get(url, params=query, headers={"X-GoSight-Key": key}) as answer:
                document = await answer.json()
            found += [row["id"] for row in document["data"]]
            following = document["meta"]["next_cursor"]
            assert len(document["data"]) == 4 or following is None
        assert found == [str(UUID(int=7_000 + number)) for number in range(0, sessions, 2)]
        url = f"/api/v1/projects/{project_id}/overview"
        closed = {"start_date": start.isoformat()}
        closed["end_date"] = (start + timedelta(days=9)).isoformat()
        async with client.get(url, params=closed, headers={"X-GoSight-Key": key}) as answer:
            summary = (await answer.json())["data"]["summary"]
        # Those that hold are two seconds long, those that were moved an hour.
        assert summary["avg_session_duration"] == 2.0
