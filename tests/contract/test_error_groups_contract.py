"""Decisions about errors: PostgreSQL and its twin in memory do the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cli.project_store import connect as connect_now
from cli.project_store import create_project
from connectors.database import Database
from connectors.error_groups import Decision, ErrorGroups, MemoryErrorGroups, PostgresErrorGroups
from connectors.postgres import connect_postgres
from sql.migrate import migrate_up
from tests.stack import RunningStack, fresh_databases

FIRST, SECOND = "0123456789abcdef", "fedcba9876543210"
AT_MS = 1_795_255_200_123


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
async def groups(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ErrorGroups, str, str]]:
    """A store, and two projects that are in it."""
    if request.param == "memory":
        yield MemoryErrorGroups(), "p1", "p2"
        return
    running: RunningStack = request.getfixturevalue("running_stack")
    with fresh_databases(running) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        with connect_now(databases.database_url) as connection:
            projects = [str(create_project(connection, name).id) for name in ("One", "Two")]
        pool = await connect_postgres(databases.database_url)
        yield PostgresErrorGroups(Database(pool)), projects[0], projects[1]
        await pool.close()


async def test_the_last_decision_counts(groups: tuple[ErrorGroups, str, str]) -> None:
    """Of each error, in its project alone, with its moment to the millisecond."""
    store, project, other = groups
    assert await store.decided(project) == {}
    await store.decide(project, FIRST, Decision("resolved", AT_MS), None)
    await store.decide(project, SECOND, Decision("ignored", AT_MS + 1), None)
    await store.decide(project, FIRST, Decision("open", AT_MS + 2), None)
    assert await store.decided(project) == {
        FIRST: Decision("open", AT_MS + 2),
        SECOND: Decision("ignored", AT_MS + 1),
    }
    assert await store.decided(other) == {}
