"""One suite over the ClickHouse result store and its in-memory twin."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from connectors.clickhouse import connect
from connectors.memory_results import MemoryResultStore
from connectors.result_store import ClickHouseResultStore, ResultStore
from flows.core.insight import Insight
from flows.core.result_columns import insight_table, session_table
from flows.core.session_row import SessionRow
from sql.migrate import migrate_up
from tests.factories import PROJECT, make_uuid
from tests.flow.result_records import a_row, an_insight
from tests.stack import RunningStack, fresh_databases

CHANCE = random.Random(8)
SESSION, OTHER = make_uuid(CHANCE), make_uuid(CHANCE)


@dataclass
class World:
    """One implementation, and how what it keeps is read back."""

    store: ResultStore
    revisions: Callable[[], dict[str, int]]
    insights: Callable[[], dict[str, int]]

    def put(self, *results: SessionRow | Insight, token: str) -> None:
        """One block."""
        rows = [result for result in results if isinstance(result, SessionRow)]
        found = [result for result in results if isinstance(result, Insight)]
        self.store.insert_sessions(session_table(rows), token)
        self.store.insert_insights(insight_table(found), token)


@pytest.fixture(params=["memory", pytest.param("clickhouse", marks=pytest.mark.integration)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Both implementations, empty."""
    if request.param == "memory":
        memory = MemoryResultStore()
        yield World(
            memory,
            lambda: {session: row["revision"] for (_, session), row in memory.sessions.items()},
            lambda: dict.fromkeys(memory.insights, 1),
        )
        return
    with fresh_databases(request.getfixturevalue("running_stack")) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        client = connect(databases.clickhouse_url)

        def rows(query: str) -> dict[str, int]:
            return dict(client.query(query).result_rows)

        yield World(
            ClickHouseResultStore(client),
            lambda: rows("SELECT toString(session_id), revision FROM sessions FINAL"),
            lambda: rows("SELECT toString(insight_id), count() FROM insights FINAL GROUP BY 1"),
        )
        client.close()


def test_the_highest_revision_stays_in_any_order(world: World) -> None:
    """Also within one block, and when the same comes again under another name."""
    world.put(a_row(PROJECT, SESSION, 2), a_row(PROJECT, SESSION, 1), token="a")
    assert world.revisions() == {SESSION: 2}
    world.put(a_row(PROJECT, SESSION, 3), a_row(PROJECT, OTHER, 1), token="b")
    for token in ("a", "c"):
        world.put(a_row(PROJECT, SESSION, 2), a_row(PROJECT, SESSION, 1), token=token)
    assert world.revisions() == {SESSION: 3, OTHER: 1}


@pytest.mark.integration
def test_a_block_of_a_renewed_topic_is_not_a_repetition(running_stack: RunningStack) -> None:
    """It may have the offsets of one that was stored, but other records."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        client = connect(databases.clickhouse_url)
        for topic_id, session in (("old", SESSION), ("new", OTHER)):
            store = ClickHouseResultStore(client, [topic_id])
            for _ in range(2):
                store.insert_sessions(session_table([a_row(PROJECT, session, 1)]), "0-0")
                store.insert_insights(insight_table([an_insight(PROJECT, session, SESSION)]), "0-0")
        for table in ("sessions", "insights"):
            assert client.query(f"SELECT count() FROM {table}").result_rows == [(2,)]
        client.close()


def test_an_insight_is_one_row(world: World) -> None:
    """However often it comes, and in whatever blocks."""
    first, second = an_insight(PROJECT, SESSION, SESSION), an_insight(PROJECT, OTHER, SESSION)
    world.put(first, token="a")
    world.put(first, token="a")
    world.put(second, first, token="b")
    assert world.insights() == {SESSION: 1, OTHER: 1}


def test_nothing_to_store_is_no_trouble(world: World) -> None:
    """A block may hold previews only."""
    world.put(token="a")
    assert (world.revisions(), world.insights()) == ({}, {})
