"""The flow's graph on a memory broker and a real PostgreSQL: what it takes, and in which order."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from bytewax.errors import BytewaxRuntimeError
from bytewax.testing import run_main

from connectors.alert_outbox import AlertOutbox
from connectors.errors import RetryableError
from connectors.kafka_log import BlockName, OutRecord
from connectors.memory_kafka import (
    MemoryClaims,
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    MemorySource,
    all_parts,
)
from flows.alert_delivery import build_flow
from flows.alert_writer import AlertWriter
from flows.core.alert_records import alert_batch
from flows.each_sink import EachSink
from flows.results import CommittedStarts
from flows.retries import RetryPolicy
from schemas.log import Fetched, PolledBatch
from schemas.reasons import RejectReason, Stage
from schemas.topics import ALERTS, EVENTS_REJECTED
from schemas.v1.alerts_pb2 import AlertTransition
from schemas.v1.pipeline_pb2 import RejectedRecord
from sql.migrate import migrate_up
from tests.alert_transitions import make_transition
from tests.integration.flows.alert_world import make_rule_row
from tests.stack import RunningStack, fresh_databases

NOW_MS = 1_769_853_600_000
PARTS = all_parts([ALERTS])


@pytest.fixture(scope="module")
def database(running_stack: RunningStack) -> Iterator[str]:
    """A PostgreSQL with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack.database_url


class ListedPositions(MemoryPositionStore):
    """A position store that lists commits among the other effects, and can refuse them."""

    def __init__(self, effects: list[str]) -> None:
        super().__init__()
        self.effects = effects
        self.refusals_left = 0

    def finish(self, block: BlockName) -> None:
        """See `PositionStore.finish`."""
        if self.refusals_left:
            self.refusals_left -= 1
            raise RetryableError("told so")
        self.effects.append(f"position {block.spans[0].last_offset}")
        super().finish(block)


class World:
    """A broker and positions that outlive the flow's process, and a rule."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.project_id, self.rule_id = make_rule_row(
            database_url, [{"type": "telegram", "chat_id": "1"}]
        )
        self.log = MemoryLog()
        self.effects: list[str] = []
        self.positions = ListedPositions(self.effects)

    def transition(self, kind: str, number: int) -> AlertTransition:
        """Of a group of this number."""
        return make_transition(
            kind,
            NOW_MS,
            rule_id=self.rule_id,
            project_id=self.project_id,
            group={"path": f"/{number}"},
        )

    def append(self, value: bytes) -> None:
        """A record of the topic."""
        self.log.append(OutRecord(ALERTS.name, f"{self.project_id}:{self.rule_id}".encode(), value))

    def run(self) -> None:
        """One life of the flow, to the end of the log or to its death."""
        claims = MemoryClaims(PARTS)
        outbox = AlertOutbox(self.database_url)
        writer = AlertWriter(
            outbox,
            self.positions,
            MemoryRecordProducer(self.log),
            claims,
            "",
            on_written=lambda: self.effects.append("outbox"),
            retry=RetryPolicy(seconds_max=0.001, wait_s_max=0.001),
            is_stopping=lambda: True,
            clock_ms=lambda: NOW_MS,
        )
        source = MemorySource(self.log, claims, CommittedStarts(self.positions), batch_records=3)
        try:
            run_main(build_flow(source, EachSink(writer.write)))
        finally:
            outbox.close()

    def count(self, table: str) -> int:
        """Rows of this rule."""
        with psycopg.connect(self.database_url) as connection:
            row: Any = connection.execute(
                f"SELECT count(*) FROM {table} WHERE rule_id = %s".encode(), (self.rule_id,)
            ).fetchone()
        return int(row[0])


def test_transitions_are_in_the_outbox_before_the_position(database: str) -> None:
    """Batch by batch: first PostgreSQL, then Kafka."""
    world = World(database)
    for number in range(5):
        world.append(world.transition("fired", number).SerializeToString())
    world.run()
    assert world.effects == ["outbox", "position 2", "outbox", "position 4"]
    assert world.count("alert_history") == world.count("alert_deliveries") == 5


def test_bad_records_are_dead_letters(database: str) -> None:
    """With their bytes and a reason; the ones beside them are taken."""
    world = World(database)
    bad = world.transition("fired", 1)
    bad.kind = "exploded"
    world.append(b"\xff\xff")
    world.append(bad.SerializeToString())
    world.append(world.transition("fired", 2).SerializeToString())
    world.run()
    letters = [RejectedRecord.FromString(v) for v in world.log.values(EVENTS_REJECTED.name)]
    assert [(letter.stage, letter.reason) for letter in letters] == [
        (Stage.ALERTS, RejectReason.UNDECODABLE),
        (Stage.ALERTS, RejectReason.POISON),
    ]
    assert letters[1].payload == bad.SerializeToString()
    assert letters[1].project_id == world.project_id
    assert world.count("alert_history") == 1


def test_what_the_tables_cannot_hold_is_a_dead_letter(database: str) -> None:
    """A record that fails alone, however often it is tried, stops none of the others."""
    world = World(database)
    odd = [world.transition("fired", number) for number in range(5)]
    odd[1].value = odd[3].value = 77.0
    for transition in odd:
        world.append(transition.SerializeToString())
    told = "ALTER TABLE alert_history {} CONSTRAINT told_so"
    with psycopg.connect(database, autocommit=True) as connection:
        only = "CHECK (metric_value IS DISTINCT FROM 77) NOT VALID"
        connection.execute(f"{told.format('ADD')} {only}".encode())
        try:
            world.run()
        finally:
            connection.execute(told.format("DROP").encode())
    letters = [RejectedRecord.FromString(v) for v in world.log.values(EVENTS_REJECTED.name)]
    assert [(letter.stage, letter.reason) for letter in letters] == [
        (Stage.ALERTS, RejectReason.POISON)
    ] * 2
    assert [letter.origin_offset for letter in letters] == [1, 3]
    assert [letter.payload for letter in letters] == [
        odd[1].SerializeToString(),
        odd[3].SerializeToString(),
    ]
    assert letters[0].detail == "PostgreSQL cannot hold it: CheckViolation"
    assert world.effects[-1] == "position 4"
    assert world.count("alert_history") == world.count("alert_deliveries") == 3


def test_a_position_that_is_refused_repeats_nothing(database: str) -> None:
    """The process dies after PostgreSQL and before Kafka, again and again: each message once."""
    world = World(database)
    for number in range(4):
        world.append(world.transition("fired", number).SerializeToString())
    world.positions.refusals_left = 3
    for _ in range(4):
        with suppress(RetryableError, BytewaxRuntimeError):
            world.run()
    assert world.effects[-1] == "position 3"
    assert world.effects.count("outbox") >= 5
    assert world.count("alert_history") == world.count("alert_deliveries") == 4


def test_a_partition_that_is_gone_is_not_written(database: str) -> None:
    """What was read under a holding that is over is left to the next holder."""
    world = World(database)
    claims = MemoryClaims(PARTS)
    writer = AlertWriter(
        AlertOutbox(database), world.positions, MemoryRecordProducer(world.log), claims, ""
    )
    record = Fetched(0, world.transition("fired", 1).SerializeToString(), b"", NOW_MS, 1)
    writer.write(alert_batch(PolledBatch.of(ALERTS.name, 0, [record], epoch=99)))
    assert world.effects == []
    assert world.count("alert_history") == 0


def test_other_rules_are_left_alone(database: str) -> None:
    """A transition of a rule that is not there is counted, and nothing else."""
    world = World(database)
    strange = world.transition("fired", 1)
    strange.rule_id = str(uuid.uuid4())
    world.append(strange.SerializeToString())
    world.run()
    assert world.effects == ["outbox", "position 0"]
    assert world.log.values(EVENTS_REJECTED.name) == []
