"""A block begun by a process that died, finished on the real engine: exact in all tables."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import connect
from connectors.event_store import ClickHouseEventStore, LedgerEntry
from connectors.kafka_log import BlockName, Span
from connectors.memory_kafka import (
    MemoryClaims,
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    MemorySpanReader,
)
from connectors.memory_store import MemoryLiveCounters
from flows.block_writer import BlockWriter
from flows.core.event_blocks import BlockBuilder
from flows.part_starts import PartStarts
from flows.storage import chunk_maker
from schemas.lookups import ParsedAgent, Place
from schemas.topics import EVENTS_RAW
from sql.migrate import migrate_up
from tests.factories import PROJECT, make_event, make_raw, make_uuid, raw_record
from tests.stack import RunningStack, fresh_databases

EVENTS = 40
TO_CHUNKS = chunk_maker(
    BlockBuilder(lambda text: ParsedAgent(text=text), lambda _address: Place(), records_min=2)
)


class World:
    """Records in memory, a real store, and a block over all partitions that was begun just now."""

    def __init__(self, client: Client) -> None:
        chance = random.Random(9)
        self.client = client
        self.store = ClickHouseEventStore(client)
        self.log = MemoryLog()
        self.positions = MemoryPositionStore()
        self.now_ms = int(time.time() * 1000)
        for _ in range(EVENTS):
            session = make_uuid(chance)
            # Of two months, so that one insert makes two parts.
            at_ms = self.now_ms - chance.choice([0, 40]) * 86_400_000
            event = make_event(make_uuid(chance), session, at_ms=at_ms)
            raw = make_raw([event], session, received_at_ms=self.now_ms)
            self.log.append(raw_record(raw))
        spans = [
            Span(*part, 0, len(records) - 1)
            for part, records in self.log.partitions.items()
            if records and part[0] == EVENTS_RAW.name
        ]
        self.name = BlockName(tuple(sorted(spans)))
        self.positions.begin(self.name, self.now_ms)

    def table(self) -> pa.Table:
        """The block's rows."""
        chunks = TO_CHUNKS(list(MemorySpanReader(self.log).read(self.name.spans)))
        ends = {span.part: span.last_offset for span in self.name.spans}
        return pa.concat_tables(
            chunk.table.append_column(
                "source_block_last",
                pa.array([ends[chunk.topic, chunk.partition]] * chunk.row_count, pa.uint64()),
            )
            for chunk in chunks
        )

    def forget_tokens(self) -> None:
        """Let the tables remember one insert only, and let another process make some."""
        for (table,) in self.client.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() "
            "AND match(engine_full, 'deduplication_window')"
        ).result_rows:
            self.client.command(
                f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1"
            )
        other = Span(EVENTS_RAW.name, 99, 0, 1)
        for number in range(2):
            token = f"other {number}"
            self.store.insert_events(self.table().slice(0, 0), token)
            entry = LedgerEntry(other, "other", self.now_ms // 60_000 * 60_000, "received", "", 1)
            self.store.insert_ledger([entry], token)

    def finish(self) -> None:
        """What the next holder of the partitions does first."""
        parts = [span.part for span in self.name.spans]
        writer = BlockWriter(
            self.store,
            self.positions,
            MemoryRecordProducer(self.log),
            MemoryLiveCounters(),
            MemoryClaims(parts),
            TO_CHUNKS,
        )
        owner = PartStarts(self.positions, self.store, MemorySpanReader(self.log), writer)
        starts = owner.begin_parts(parts)
        assert starts == {span.part: span.last_offset + 1 for span in self.name.spans}

    def check(self) -> None:
        """Rows, two views and the ledger."""
        for query in (
            "SELECT count() FROM events",
            "SELECT uniqExact(event_id) FROM events",
            "SELECT sum(event_count) FROM events_hourly",
            f"SELECT sumIf(events, outcome = 'stored') FROM ledger_minutes "
            f"WHERE project_id = '{PROJECT}'",
            f"SELECT sumIf(events, outcome = 'received') FROM ledger_minutes "
            f"WHERE project_id = '{PROJECT}'",
        ):
            assert self.client.query(query).result_rows == [(EVENTS,)], query


@pytest.fixture
def world(running_stack: RunningStack) -> Iterator[World]:
    """Empty databases with the schema."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        client = connect(databases.clickhouse_url)
        yield World(client)
        client.close()


@pytest.mark.parametrize("is_forgotten", [False, True])
@pytest.mark.parametrize("rows", [0, 13, EVENTS], ids=["none", "some", "all"])
def test_a_begun_block_is_finished_exactly(world: World, rows: int, is_forgotten: bool) -> None:
    """Whatever of its rows the dead process got in, and whether its token is remembered or not."""
    if rows == 13 and not is_forgotten:
        pytest.skip("an insert that is remembered was whole: its block is one")
    table = world.table()
    world.store.insert_events(table.slice(0, rows), world.name.token)
    if is_forgotten:
        world.forget_tokens()
        assert not world.store.is_remembered(world.now_ms)
    else:
        assert world.store.is_remembered(world.now_ms)
    world.finish()
    world.check()
    world.finish()
    world.check()


def test_a_block_whose_note_is_lost_is_filled_up(world: World) -> None:
    """The group's offsets are gone: rows are found by partition, and only the rest is written."""
    world.store.insert_events(world.table().slice(0, 25), world.name.token)
    world.positions.positions.clear()
    parts = [span.part for span in world.name.spans]
    writer = BlockWriter(
        world.store,
        world.positions,
        MemoryRecordProducer(world.log),
        MemoryLiveCounters(),
        MemoryClaims(parts),
        TO_CHUNKS,
    )
    owner = PartStarts(world.positions, world.store, MemorySpanReader(world.log), writer)
    starts = owner.begin_parts(parts)
    stored = {part for part, offset in starts.items() if offset > 0}
    assert stored
    counted = world.client.query(
        "SELECT (SELECT count() FROM events), (SELECT sum(event_count) FROM events_hourly), "
        "(SELECT sum(events) FROM ledger_minutes WHERE outcome = 'stored')"
    ).result_rows
    ready = sum(span.last_offset + 1 for span in world.name.spans if span.part in stored)
    assert counted == [(ready, ready, ready)]
