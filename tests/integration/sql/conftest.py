"""Databases with the schema applied, and one with generated traffic."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import connect
from sql.migrate import migrate_up
from tests.integration.sql.databases import insert_twice
from tests.integration.sql.traffic import Traffic, generate_traffic
from tests.stack import RunningStack, fresh_databases


@pytest.fixture
def empty_databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Two databases without any table."""
    with fresh_databases(running_stack) as databases:
        yield databases


@pytest.fixture(scope="module")
def migrated(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Two databases with all migrations applied, shared by one module's tests."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        yield databases


@pytest.fixture(scope="module")
def client(migrated: RunningStack) -> Iterator[Client]:
    """A client of the migrated ClickHouse database."""
    client = connect(migrated.clickhouse_url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def traffic(client: Client) -> Traffic:
    """Generated events, stored in many blocks of which each was delivered twice."""
    traffic = generate_traffic(seed=20260131)
    for number, block in enumerate(traffic.blocks):
        insert_twice(client, "events", block, f"gosight.events.raw:0:{number}-{number}")
    # And once more when everything is in, as after a restart far behind.
    for number, block in enumerate(traffic.blocks[:20]):
        insert_twice(client, "events", block, f"gosight.events.raw:0:{number}-{number}")
    return traffic
