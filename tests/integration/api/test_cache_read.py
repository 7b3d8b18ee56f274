"""Reports that are given again: on the real stores, over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from api.app import create_app
from api.clickhouse_runner import ClickHouseRunner
from api.services import Row, Services
from cli.project_store import connect as connect_projects
from cli.project_store import create_key, create_project
from connectors.clickhouse import connect, insert_arrow
from connectors.keys import KeyStore
from connectors.postgres import PostgresKeySource, connect_postgres
from connectors.redis import RedisKeyCache, connect_redis
from tests.integration.api.read_world import read_stores
from tests.stack import RunningStack

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
LAST_WEEK = TODAY - timedelta(days=8)
OVER = {
    "start_date": (TODAY - timedelta(days=9)).date().isoformat(),
    "end_date": (TODAY - timedelta(days=5)).date().isoformat(),
}
REPORTS: Mapping[str, Mapping[str, str]] = {
    "overview": {},
    "pages": {},
    "performance": {},
    "latency": {},
    "journeys": {},
    "experience": {},
    "heatmaps": {"path": "/"},
    "heatmaps/clicks": {"path": "/"},
    "heatmaps/scroll": {"path": "/"},
    "heatmaps/elements": {"path": "/"},
}


class CountingRunner(ClickHouseRunner):
    """The real one, which also counts what it is asked."""

    asked: list[str]

    async def rows(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """See `ClickHouseRunner.rows`."""
        self.asked.append(query)
        return await super().rows(query, parameters)


@dataclass
class World:
    """A project with a page view of last week, and whoever reads it."""

    databases: RunningStack
    client: TestClient[Any, Any]
    runner: CountingRunner
    project_id: str
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    def store(self, at: datetime, project_id: str = "") -> None:
        """One more page view, of a session of its own."""
        row = {
            "event_id": str(uuid4()),
            "project_id": project_id or self.project_id,
            "session_id": str(uuid4()),
            "anonymous_id": "a",
            "event_type": "page_view",
            "timestamp": at,
            "received_at": at,
            "path": "/",
        }
        client = connect(self.databases.clickhouse_url)
        insert_arrow(client, "events", pa.Table.from_pylist([row]), row["event_id"])
        client.close()

    async def ask(
        self, name: str = "overview", key: str = "", project: str = "", **query: str
    ) -> ClientResponse:
        """An answer, read to its end."""
        path = f"/api/v1/projects/{project or self.project_id}/{name}"
        headers = {"X-GoSight-Key": key or self.key, **self.headers}
        answer = await self.client.get(path, params=query, headers=headers)
        await answer.read()
        return answer

    async def state(self, name: str = "overview", **query: str) -> str:
        """Where an answer is from."""
        return (await self.ask(name, **query)).headers["X-Cache"]

    async def views(self, **query: str) -> int:
        """Page views of the overview."""
        document = await (await self.ask(**query)).json()
        views: int = document["data"]["summary"]["pageviews"]
        return views


@asynccontextmanager
async def cached_world(databases: RunningStack) -> AsyncIterator[World]:
    """The API as `python -m api` builds it, with a project of its own."""
    with connect_projects(databases.database_url) as connection:
        project = create_project(connection, "Cached")
        key, _ = create_key(connection, project.id, name="r", permission="read")
    pool = await connect_postgres(databases.database_url)
    redis = connect_redis(databases.redis_url, timeout_s=2.0)
    runner = CountingRunner(databases.clickhouse_url, threads=4, timeout_s=10)
    runner.asked = []
    try:
        async with read_stores(databases, pool, redis) as reads:
            services = Services(
                queries=runner,
                keys=KeyStore(PostgresKeySource(pool), RedisKeyCache(redis), fresh_s=0.0),
                checks={},
                vital=frozenset(),
                now_ms=lambda: time.time_ns() // 1_000_000,
                reads=reads,
            )
            async with TestClient(TestServer(create_app(services))) as client:
                world = World(databases, client, runner, str(project.id), key)
                world.store(LAST_WEEK)
                yield world
    finally:
        runner.close()
        await redis.aclose()
        await pool.close()


@pytest.fixture
async def world(databases: RunningStack) -> AsyncIterator[World]:
    """See `cached_world`."""
    async with cached_world(databases) as made:
        yield made


@pytest.mark.parametrize("name", REPORTS)
async def test_each_report_is_the_same_when_it_is_given_again(world: World, name: str) -> None:
    """The same data without a question about any of it; no browser may keep it."""
    query = {**OVER, **REPORTS[name]}
    first = await world.ask(name, **query)
    world.runner.asked.clear()
    second = await world.ask(name, **query)
    assert [answer.headers["X-Cache"] for answer in (first, second)] == ["MISS", "HIT"]
    assert int(second.headers["Age"]) < 60
    assert second.headers["Cache-Control"] == "no-store"
    assert (await second.json())["data"] == (await first.json())["data"]
    assert set(world.runner.asked) <= {"period_version", "freshness"}


async def test_a_late_event_changes_a_period_that_is_over(world: World) -> None:
    """With the next request; a period before it or after it stays what it was."""
    later = {"start_date": (TODAY - timedelta(days=2)).date().isoformat()}
    later["end_date"] = later["start_date"]
    assert [await world.views(**OVER), await world.views(**OVER)] == [1, 1]
    await world.ask(**later)
    world.store(LAST_WEEK + timedelta(hours=3))
    assert await world.state(**later) == "HIT"
    assert await world.views(**OVER) == 2
    assert await world.state(**OVER) == "HIT"


async def test_a_session_or_an_insight_that_changes_does_so_too(world: World) -> None:
    """Whichever table of the period is written to."""
    times = {"project_id": world.project_id, "session_id": str(uuid4())}
    tables: Mapping[str, Mapping[str, Any]] = {
        "sessions": {"started_at": LAST_WEEK, "ended_at": LAST_WEEK, "revision": 1},
        "insights": {
            "insight_id": str(uuid4()),
            "insight_type": "rage_click",
            "timestamp": LAST_WEEK,
            "ended_at": LAST_WEEK,
        },
    }
    client = connect(world.databases.clickhouse_url)
    for table, row in tables.items():
        await world.ask(**OVER)
        assert await world.state(**OVER) == "HIT"
        insert_arrow(client, table, pa.Table.from_pylist([{**times, **row}]), str(uuid4()))
        assert await world.state(**OVER) == "MISS", table
    client.close()


async def test_an_open_period_is_made_anew_if_that_is_wanted(world: World) -> None:
    """The freshness is of now, wherever the rest is from."""
    assert await world.views() == 0
    world.store(datetime.now(UTC))
    world.headers = {"Cache-Control": "no-cache"}
    answer = await world.ask()
    assert answer.headers["X-Cache"] == "BYPASS"
    assert (await answer.json())["data"]["summary"]["pageviews"] == 1
    world.headers = {}
    world.runner.asked.clear()
    assert await world.views() == 1
    assert "freshness" in world.runner.asked
    assert await world.state() == "HIT"


async def test_a_hundred_equal_requests_ask_once(world: World) -> None:
    """One set of questions to ClickHouse, and one answer for all."""
    answers = await asyncio.gather(*(world.ask("pages", **OVER) for _ in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len({await answer.text() for answer in answers}) == 1
    assert world.runner.asked.count("pages_table") == 1


async def test_nobody_is_given_what_others_were(world: World) -> None:
    """Another project with the same question, and a caller whose key is no good any more."""
    assert await world.views(**OVER) == 1
    with connect_projects(world.databases.database_url) as connection:
        other = create_project(connection, "Other")
        other_key, _ = create_key(connection, other.id, name="r", permission="read")
        answer = await world.ask(key=other_key, project=str(other.id), **OVER)
        document = await answer.json()
        assert answer.headers["X-Cache"] == "MISS"
        assert document["data"]["summary"]["pageviews"] == 0
        assert (await world.ask(key=other_key, **OVER)).status == 404
        connection.execute(
            "UPDATE api_keys SET is_active = false WHERE project_id = %s", (world.project_id,)
        )
        connection.commit()
    redis = connect_redis(world.databases.redis_url, timeout_s=2.0)
    for name in await redis.keys("apikey:*"):
        await redis.delete(name)
    await redis.aclose()
    answer = await world.ask(**OVER)
    assert (answer.status, "X-Cache" in answer.headers) == (401, False)


async def test_without_redis_reports_are_made_each_time(databases: RunningStack) -> None:
    """Nothing fails."""
    nowhere = {**databases.urls, "REDIS_URL": "redis://127.0.0.1:1/0"}
    async with cached_world(replace(databases, urls=nowhere)) as world:
        assert [await world.views(**OVER), await world.views(**OVER)] == [1, 1]
        assert [await world.state(**OVER) for _ in range(2)] == ["MISS", "MISS"]
