"""One suite over the ClickHouse event store and its in-memory twin."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.clickhouse import connect
from connectors.event_store import BlockBounds, ClickHouseEventStore, EventStore, LedgerEntry
from connectors.kafka_log import Position
from connectors.memory_store import MemoryEventStore
from flows.core.event_rows import EnrichedChunk, RowBuilder
from schemas.log import Fetched, PolledBatch
from schemas.lookups import ParsedAgent, Place
from schemas.topics import EVENTS_RAW
from sql.migrate import migrate_up
from tests.factories import NOW_MS, PROJECT, make_event, make_raw, make_uuid
from tests.stack import fresh_databases

BUILDER = RowBuilder(lambda text: ParsedAgent(text=text), lambda _address: Place())
TODAY = datetime.fromtimestamp(NOW_MS / 1000, UTC).date()
CHANCE = random.Random(11)
SESSIONS = [make_uuid(CHANCE) for _ in range(3)]
EVENT_IDS = [make_uuid(CHANCE) for _ in range(6)]


@pytest.fixture(params=["memory", pytest.param("clickhouse", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> Iterator[EventStore]:
    """Both implementations, empty."""
    if request.param == "memory":
        yield MemoryEventStore()
        return
    with fresh_databases(request.getfixturevalue("running_stack")) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        client = connect(databases.clickhouse_url)
        yield ClickHouseEventStore(client)
        client.close()


def chunk(first_offset: int, *events: tuple[str, str], partition: int = 2) -> EnrichedChunk:
    """One record per (event id, session id), received now."""
    records = [
        Fetched(
            first_offset + place,
            make_raw([make_event(event_id, session)], session).SerializeToString(),
            b"",
            NOW_MS,
            1,
        )
        for place, (event_id, session) in enumerate(events)
    ]
    return BUILDER.build(PolledBatch.of(EVENTS_RAW.name, partition, records))


def write(store: EventStore, rows: EnrichedChunk, *, is_complete: bool = True) -> BlockBounds:
    """Store a chunk as one block, with or without its ledger."""
    bounds = BlockBounds(rows.topic, rows.partition, rows.first_offset, rows.last_offset)
    store.insert_events(rows.table, bounds)
    if is_complete:
        entry = LedgerEntry(PROJECT, NOW_MS - NOW_MS % 60_000, "stored", "", rows.row_count)
        store.insert_ledger([entry], bounds)
    return bounds


def ids(store: EventStore, before: BlockBounds, since: Any = TODAY) -> dict[Any, list[str]]:
    """Stored ids of all sessions, sorted."""
    found = store.stored_event_ids({(PROJECT, session) for session in SESSIONS}, since, before)
    return {key: sorted(values) for key, values in found.items()}


def test_stored_ids_are_found_by_session(store: EventStore) -> None:
    """Only of the sessions asked for, and only since the day asked for."""
    bounds = write(
        store,
        chunk(0, (EVENT_IDS[0], SESSIONS[0]), (EVENT_IDS[1], SESSIONS[1])),
    )
    after = replace(bounds, first_offset=2, last_offset=9)
    assert ids(store, after) == {
        (PROJECT, SESSIONS[0]): [EVENT_IDS[0]],
        (PROJECT, SESSIONS[1]): [EVENT_IDS[1]],
    }
    assert ids(store, after, since=TODAY + timedelta(days=2)) == {}


def test_rows_of_the_block_itself_do_not_count(store: EventStore) -> None:
    """What an interrupted write left behind makes no event a repetition of itself."""
    bounds = write(store, chunk(5, (EVENT_IDS[0], SESSIONS[0])), is_complete=False)
    assert ids(store, bounds) == {}
    other_partition = replace(bounds, partition=3)
    assert ids(store, other_partition) == {(PROJECT, SESSIONS[0]): [EVENT_IDS[0]]}


def test_the_same_block_again_changes_nothing(store: EventStore) -> None:
    """Rows, ledger and position stay as they are."""
    rows = chunk(0, (EVENT_IDS[0], SESSIONS[0]), (EVENT_IDS[1], SESSIONS[0]))
    for _ in range(3):
        bounds = write(store, rows)
    after = replace(bounds, first_offset=9, last_offset=9)
    assert ids(store, after) == {(PROJECT, SESSIONS[0]): sorted(EVENT_IDS[:2])}
    assert store.stored_position(EVENTS_RAW.name, 2) == Position(2)
    counts = store.page_view_counts(EVENTS_RAW.name, 2, NOW_MS - 60_000, 9)
    if datetime.now(UTC).timestamp() * 1000 - NOW_MS < 7 * 86_400_000:
        assert sum(counts.values()) == 2


def test_position_names_a_block_that_was_not_completed(store: EventStore) -> None:
    """Nothing stored: none. Complete: after it. Rows without ledger: its end is pinned."""
    assert store.stored_position(EVENTS_RAW.name, 2) is None
    write(store, chunk(0, (EVENT_IDS[0], SESSIONS[0])))
    assert store.stored_position(EVENTS_RAW.name, 2) == Position(1)
    assert store.stored_position(EVENTS_RAW.name, 3) is None


def test_empty_blocks_are_no_rows(store: EventStore) -> None:
    """A block of repetitions only writes nothing but its ledger."""
    empty = chunk(4, (EVENT_IDS[0], SESSIONS[0])).table.slice(0, 0)
    bounds = BlockBounds(EVENTS_RAW.name, 2, 4, 4)
    store.insert_events(empty, bounds)
    store.insert_ledger([LedgerEntry(PROJECT, NOW_MS, "duplicate", "", 1)], bounds)
    assert ids(store, replace(bounds, first_offset=9)) == {}
    assert store.stored_position(EVENTS_RAW.name, 2) == Position(5)
