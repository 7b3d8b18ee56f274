"""One suite over the ClickHouse event store and its in-memory twin."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from connectors.clickhouse import connect
from connectors.event_store import ClickHouseEventStore, EventStore, LedgerEntry
from connectors.kafka_log import BlockName, Span
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


def name_of(*rows: EnrichedChunk) -> BlockName:
    """The block that these chunks of different partitions make."""
    return BlockName(tuple(Span(c.topic, c.partition, c.first_offset, c.last_offset) for c in rows))


def at(first_offset: int, last_offset: int, partition: int = 2) -> BlockName:
    """A block of one span."""
    return BlockName((Span(EVENTS_RAW.name, partition, first_offset, last_offset),))


def table_of(rows: EnrichedChunk) -> pa.Table:
    """The rows as the writer inserts them."""
    last = pa.array([rows.last_offset] * rows.row_count, pa.uint64())
    return rows.table.append_column("source_block_last", last)


def write(store: EventStore, *rows: EnrichedChunk, is_complete: bool = True) -> BlockName:
    """Store chunks as one block, with or without its ledger."""
    name = name_of(*rows)
    store.insert_events(pa.concat_tables([table_of(chunk) for chunk in rows]), name.token)
    if is_complete:
        minute_ms = NOW_MS - NOW_MS % 60_000
        entries = [
            LedgerEntry(span, PROJECT, minute_ms, "stored", "", chunk.row_count)
            for span, chunk in zip(name.spans, rows, strict=True)
        ]
        store.insert_ledger(entries, name.token)
    return name


def ids(store: EventStore, before: BlockName, since: Any = TODAY) -> dict[Any, list[str]]:
    """Stored ids of all sessions, sorted."""
    sessions = {(PROJECT, session) for session in SESSIONS}
    found = store.stored_event_ids(sessions, since, before, 100)
    return {key: sorted(values) for key, values in found.items()}


def test_stored_ids_are_found_by_session(store: EventStore) -> None:
    """Only of the sessions asked for, and only since the day asked for."""
    write(store, chunk(0, (EVENT_IDS[0], SESSIONS[0]), (EVENT_IDS[1], SESSIONS[1])))
    after = at(2, 9)
    assert ids(store, after) == {
        (PROJECT, SESSIONS[0]): [EVENT_IDS[0]],
        (PROJECT, SESSIONS[1]): [EVENT_IDS[1]],
    }
    assert ids(store, after, since=TODAY + timedelta(days=2)) == {}


def test_ids_of_a_large_session_are_bounded_and_asked_for_one_by_one(store: EventStore) -> None:
    """One more than the bound tells that there are too many; then only some ids are asked for."""
    session = (PROJECT, SESSIONS[0])
    name = write(store, chunk(0, *((event_id, SESSIONS[0]) for event_id in EVENT_IDS[:4])))
    after = at(9, 9)
    assert len(store.stored_event_ids({session}, TODAY, after, 2)[session]) == 3
    asked = {session: {EVENT_IDS[1], EVENT_IDS[5]}, (PROJECT, SESSIONS[1]): {EVENT_IDS[2]}}
    assert {key: list(ids) for key, ids in store.stored_among(asked, TODAY, after).items()} == {
        session: [EVENT_IDS[1]]
    }
    assert store.stored_among(asked, TODAY, name) == {}


def test_rows_of_the_block_itself_do_not_count(store: EventStore) -> None:
    """What an interrupted write left behind makes no event a repetition of itself."""
    own = chunk(5, (EVENT_IDS[0], SESSIONS[0]))
    other = chunk(7, (EVENT_IDS[1], SESSIONS[1]), partition=3)
    name = write(store, own, other, is_complete=False)
    assert ids(store, name) == {}
    assert ids(store, name_of(own)) == {(PROJECT, SESSIONS[1]): [EVENT_IDS[1]]}
    assert ids(store, name_of(other)) == {(PROJECT, SESSIONS[0]): [EVENT_IDS[0]]}


def test_the_same_block_again_changes_nothing(store: EventStore) -> None:
    """Rows, ledger and position stay as they are."""
    rows = chunk(0, (EVENT_IDS[0], SESSIONS[0]), (EVENT_IDS[1], SESSIONS[0]))
    for _ in range(3):
        write(store, rows)
    assert ids(store, at(9, 9)) == {(PROJECT, SESSIONS[0]): sorted(EVENT_IDS[:2])}
    assert store.stored_ends([(EVENTS_RAW.name, 2)]) == {(EVENTS_RAW.name, 2): 2}
    counts = store.page_view_counts(EVENTS_RAW.name, 2, NOW_MS - 60_000, 9)
    if datetime.now(UTC).timestamp() * 1000 - NOW_MS < 7 * 86_400_000:
        assert sum(counts.values()) == 2


def test_ends_are_told_of_complete_blocks_by_partition(store: EventStore) -> None:
    """Rows without ledger entries have no end; what is left of them is found by looking."""
    first, second = (EVENTS_RAW.name, 2), (EVENTS_RAW.name, 3)
    assert store.stored_ends([first, second]) == {}
    write(
        store,
        chunk(0, (EVENT_IDS[0], SESSIONS[0])),
        chunk(4, (EVENT_IDS[1], SESSIONS[1]), (EVENT_IDS[2], SESSIONS[1]), partition=3),
    )
    assert store.stored_ends([first, second]) == {first: 1, second: 6}
    assert store.stored_ends([second]) == {second: 6}
    left = chunk(1, (EVENT_IDS[3], SESSIONS[0]), (EVENT_IDS[4], SESSIONS[0]))
    write(store, left, is_complete=False)
    assert store.stored_ends([first]) == {first: 1}
    if datetime.now(UTC).timestamp() * 1000 - NOW_MS < 7 * 86_400_000:
        assert store.rows_last({first: 1, second: 6}) == {first: 2}


def test_places_of_rows_tell_what_is_there(store: EventStore) -> None:
    """Exactly the records of the block's spans that have rows."""
    rows = chunk(3, *((event_id, SESSIONS[0]) for event_id in EVENT_IDS[:4]))
    other = chunk(3, (EVENT_IDS[4], SESSIONS[1]), partition=3)
    store.insert_events(table_of(rows).slice(0, 3), "some")
    store.insert_events(table_of(other), "other")
    topic = EVENTS_RAW.name
    assert store.stored_places(at(4, 6), table_of(rows)) == {(topic, 2, 4, 0), (topic, 2, 5, 0)}
    both = name_of(rows, other)
    table = pa.concat_tables([table_of(rows), table_of(other)])
    assert len(store.stored_places(both, table)) == 4


def test_a_token_is_remembered_while_few_blocks_followed(store: EventStore) -> None:
    """Nothing was written since: remembered."""
    assert store.is_remembered(int(datetime.now(UTC).timestamp() * 1000))


def test_topic_ids_are_kept(store: EventStore) -> None:
    """The newest id of each topic."""
    assert store.topic_ids(["a", "b"]) == {}
    store.note_topic_ids({"a": "1", "b": "2"})
    assert store.topic_ids(["a", "c"]) == {"a": "1"}


def test_empty_blocks_are_no_rows(store: EventStore) -> None:
    """A block of repetitions only writes nothing but its ledger."""
    empty = table_of(chunk(4, (EVENT_IDS[0], SESSIONS[0]))).slice(0, 0)
    name = at(4, 4)
    store.insert_events(empty, name.token)
    store.insert_ledger(
        [LedgerEntry(name.spans[0], PROJECT, NOW_MS, "duplicate", "", 1)], name.token
    )
    assert ids(store, at(9, 9)) == {}
    assert store.stored_ends([(EVENTS_RAW.name, 2)]) == {(EVENTS_RAW.name, 2): 5}
