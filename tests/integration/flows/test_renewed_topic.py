"""A topic that was deleted and made anew is refused until it is adopted."""

from __future__ import annotations

import pytest

from connectors.clickhouse import connect
from connectors.errors import FatalError
from connectors.event_store import ClickHouseEventStore
from connectors.kafka_log import BlockName, Span
from connectors.memory_kafka import MemoryPositionStore
from flows.same_topics import check_same_topics
from schemas.topics import EVENTS_RAW, EVENTS_REJECTED
from sql.migrate import migrate_up
from sql.renewed_topics import adopt_topics
from tests.contract.test_event_store import EVENT_IDS, SESSIONS, chunk, write
from tests.stack import RunningStack, fresh_databases

PARTS = [(EVENTS_RAW.name, 2)]


def test_a_renewed_topic_is_refused_and_then_adopted(running_stack: RunningStack) -> None:
    """Old rows stay, and a block of the new topic with the bounds of an old one is stored."""
    old = {EVENTS_RAW.name: "old", EVENTS_REJECTED.name: "same"}
    new = {**old, EVENTS_RAW.name: "new"}
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        client = connect(databases.clickhouse_url)
        store, positions = ClickHouseEventStore(client), MemoryPositionStore()
        check_same_topics(store, old, positions, PARTS)
        check_same_topics(store, old, positions, PARTS)
        write(store, chunk(0, (EVENT_IDS[0], SESSIONS[0])))
        with pytest.raises(FatalError, match=r"gosight\.events\.raw .* topics adopt"):
            check_same_topics(store, new, positions, PARTS)
        assert adopt_topics(client, new) == [EVENTS_RAW.name]
        assert adopt_topics(client, new) == []
        # Tokens come back from the disk at the next start, here as if they had never gone.
        store = ClickHouseEventStore(client)
        check_same_topics(store, new, positions, PARTS)
        assert store.stored_ends(PARTS) == {}
        write(store, chunk(0, (EVENT_IDS[1], SESSIONS[1])))
        assert store.stored_ends(PARTS) == {PARTS[0]: 1}
        rows = client.query("SELECT source_topic, toString(event_id) FROM events").result_rows
        assert sorted(rows) == sorted(
            [(EVENTS_RAW.name, EVENT_IDS[1]), (f"lost.{EVENTS_RAW.name}", EVENT_IDS[0])]
        )
        hourly = client.query("SELECT sum(event_count) FROM events_hourly").result_rows
        assert hourly == [(2,)]
        client.close()


def test_an_emptied_store_is_refused_until_the_offsets_are_deleted(
    running_stack: RunningStack,
) -> None:
    """Else what it had would be skipped for ever; a new one, or one that knows some, is let in."""
    ids = {EVENTS_RAW.name: "same", EVENTS_REJECTED.name: "same"}
    positions = MemoryPositionStore()
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        client = connect(databases.clickhouse_url)
        store = ClickHouseEventStore(client)
        positions.finish(BlockName((Span(*PARTS[0], 0, 6),)))
        for _ in range(2):
            with pytest.raises(FatalError, match=r"holds nothing.*delete the group's offsets"):
                check_same_topics(store, ids, positions, PARTS)
        check_same_topics(store, ids, MemoryPositionStore(), PARTS)
        check_same_topics(store, ids, positions, PARTS)
        client.command("TRUNCATE TABLE source_topics")  # As by a version that noted none.
        write(store, chunk(0, (EVENT_IDS[0], SESSIONS[0])))
        check_same_topics(store, ids, positions, PARTS)
        client.close()
