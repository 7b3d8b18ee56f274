"""The API on the real PostgreSQL, ClickHouse and Redis, with some stored events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.app import create_app
from api.clickhouse_runner import ClickHouseRunner
from api.services import Services
from cli.project_store import connect as connect_postgres_now
from cli.project_store import create_key, create_project
from connectors.clickhouse import connect, insert_arrow
from connectors.database import Database
from connectors.goal_book import GoalBook
from connectors.keys import KeyStore
from connectors.postgres import PostgresKeySource, connect_postgres
from connectors.redis import RedisKeyCache, connect_redis
from sql.migrate import migrate_up
from tests.integration.api.account_world import World, account_world
from tests.integration.api.alert_world import alert_services
from tests.integration.api.read_world import read_stores
from tests.integration.api.reading import Reader
from tests.stack import RunningStack, fresh_databases
from tests.stored_scenes import StoredScenes, store_scenes

EVENTS = 25
MINUTE_MS = 60_000
# By session: a known site under two of its names, two foreign ones, and none.
REFERRERS = ("google.com", "news.google.co.uk", "blog.example", "notgoogle.example", "")


@dataclass(frozen=True)
class Shop:
    """A project with its keys and what is stored of it."""

    databases: RunningStack
    project_id: str
    read_key: str
    write_key: str
    foreign_key: str
    last_ms: int


def moment(at_ms: int) -> datetime:
    """A time as rows hold it."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)


def event_rows(project_id: str, last_ms: int) -> list[dict[str, Any]]:
    """One event a second up to `last_ms`, of five sessions; every fifth is a page view."""
    return [
        {
            "event_id": str(UUID(int=1000 + number)),
            "project_id": project_id,
            "session_id": str(UUID(int=number % 5)),
            "user_id": "ann" if number % 5 == 0 else "",
            "anonymous_id": f"a{number % 5}",
            "event_type": "page_view" if number % 5 == 0 else "click",
            "timestamp": moment(last_ms - number * 1000),
            "received_at": moment(last_ms),
            "path": "/cart" if number % 2 else "/",
            "browser": "Firefox" if number % 5 else "Chrome",
            "country": "Sweden",
            "country_code": "SE",
            "referrer_domain": REFERRERS[number % 5],
            "payload": '{"button":0}',
        }
        for number in range(EVENTS)
    ]


@pytest.fixture(scope="module")
def shop(running_stack: RunningStack) -> Iterator[Shop]:
    """Two projects with keys; one has events and a ledger that adds up."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        with connect_postgres_now(databases.database_url) as connection:
            project = create_project(connection, "Shop")
            other = create_project(connection, "Other")
            read_key, _ = create_key(connection, project.id, name="r", permission="read")
            write_key, _ = create_key(connection, project.id, name="w", permission="write")
            foreign_key, _ = create_key(connection, other.id, name="r", permission="read")
        project_id = str(project.id)
        last_ms = time.time_ns() // 1_000_000 - 5_000
        client = connect(databases.clickhouse_url)
        rows = event_rows(project_id, last_ms)
        insert_arrow(client, "events", pa.Table.from_pylist(rows), "raw:0:0-0")
        bookings = [("received", "", 30), ("stored", "", 25), ("duplicate", "", 3)]
        bookings.append(("rejected", "too_old", 2))
        entries = [
            {
                "project_id": project_id,
                "minute": moment(last_ms // MINUTE_MS * MINUTE_MS),
                "outcome": outcome,
                "reason": reason,
                "events": events,
                "source_topic": "raw",
                "source_partition": 0,
                "block_first": 0,
                "block_last": 0,
            }
            for outcome, reason, events in bookings
        ]
        insert_arrow(client, "ledger_entries", pa.Table.from_pylist(entries), "raw:0:0-0")
        client.close()
        yield Shop(databases, project_id, read_key, write_key, foreign_key, last_ms)


@pytest.fixture(scope="module")
def databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Empty databases with all tables."""
    with fresh_databases(running_stack) as fresh:
        migrate_up(fresh.database_url, fresh.clickhouse_url)
        yield fresh


@pytest.fixture
async def world(databases: RunningStack) -> AsyncIterator[World]:
    """The account side, open to everybody, without limits."""
    async with account_world(databases) as made:
        yield made


@asynccontextmanager
async def api_client(databases: RunningStack) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the API as `python -m api` builds it, on a free port."""
    pool = await connect_postgres(databases.database_url)
    redis = connect_redis(databases.redis_url, timeout_s=2.0)
    runner = ClickHouseRunner(databases.clickhouse_url, threads=4, timeout_s=10)
    try:
        async with read_stores(databases, pool, redis) as reads:
            services = Services(
                queries=runner,
                keys=KeyStore(PostgresKeySource(pool), RedisKeyCache(redis), fresh_s=0.0),
                checks={"clickhouse": runner.check},
                vital=frozenset({"clickhouse"}),
                now_ms=lambda: time.time_ns() // 1_000_000,
                reads=reads,
                alerts=alert_services(databases, pool),
                goals=GoalBook(Database(pool)),
            )
            async with TestClient(TestServer(create_app(services))) as client:
                yield client
    finally:
        runner.close()
        await redis.aclose()
        await pool.close()


@dataclass(frozen=True)
class SceneShop:
    """A project with all scenes, another with one event, and keys."""

    databases: RunningStack
    scenes: StoredScenes
    read_key: str
    admin_key: str
    other_project: str
    other_key: str


@pytest.fixture(scope="module")
def scene_shop(running_stack: RunningStack) -> Iterator[SceneShop]:
    """Stores with all scenes, shared by one module's tests."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        with connect_postgres_now(databases.database_url) as connection:
            project = create_project(connection, "Scenes")
            other = create_project(connection, "Other")
            read_key, _ = create_key(connection, project.id, name="r", permission="read")
            admin_key, _ = create_key(connection, project.id, name="a", permission="admin")
            other_key, _ = create_key(connection, other.id, name="r", permission="read")
        client = connect(databases.clickhouse_url)
        scenes = store_scenes(client, str(project.id))
        client.close()
        yield SceneShop(databases, scenes, read_key, admin_key, str(other.id), other_key)


@pytest.fixture
async def reader(scene_shop: SceneShop) -> AsyncIterator[Reader]:
    """A caller with a read key of the project with all scenes."""
    async with api_client(scene_shop.databases) as client:
        yield Reader(client, scene_shop.read_key, scene_shop.scenes, scene_shop.other_project)
