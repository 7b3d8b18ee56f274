"""A topic that was deleted and made anew is refused until it is adopted."""

from __future__ import annotations

import pytest

from connectors.clickhouse import connect
from connectors.errors import FatalError
from connectors.event_store import ClickHouseEventStore
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
        store = ClickHouseEventStore(client)
        check_same_topics(store, old)
        check_same_topics(store, old)
        write(store, chunk(0, (EVENT_IDS[0], SESSIONS[0])))
        with pytest.raises(FatalError, match=r"gosight\.events\.raw .* topics adopt"):
            check_same_topics(store, new)
        assert adopt_topics(client, new) == [EVENTS_RAW.name]
        assert adopt_topics(client, new) == []
        check_same_topics(store, new)
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
