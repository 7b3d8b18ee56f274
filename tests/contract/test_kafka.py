"""One suite over the Kafka connectors and their in-memory twins."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main

from connectors.errors import FatalError, RetryableError
from connectors.kafka import KafkaPositionStore, KafkaSource
from connectors.kafka_admin import check_topics, ensure_topics
from connectors.kafka_log import OutRecord, Position, PositionStore, RecordProducer
from connectors.kafka_producer import KafkaRecordProducer, KafkaSink
from connectors.memory_kafka import (
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    MemorySource,
)
from schemas.log import PolledBatch
from schemas.topics import EVENTS_ERRORS, INSIGHTS, TOPICS

TOPIC = INSIGHTS


@dataclass
class Broker:
    """One implementation: how to produce, keep positions, and read until nothing more comes."""

    producer: RecordProducer
    positions: PositionStore
    read: Callable[[PositionStore | None], list[PolledBatch]]


def _run(source: Any) -> list[PolledBatch]:
    out: list[PolledBatch] = []
    flow = Dataflow("read")
    op.output("out", op.input("in", flow, source), TestingSink(out))
    run_main(flow)
    return out


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.integration)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Both implementations, with a consumer group of their own."""
    if request.param == "memory":
        log = MemoryLog()
        yield Broker(
            MemoryRecordProducer(log),
            MemoryPositionStore(),
            lambda positions: _run(
                MemorySource(log, [TOPIC], positions=positions, batch_records=4)
            ),
        )
        return
    brokers = request.getfixturevalue("running_stack").kafka_brokers
    group = f"contract-{uuid.uuid4()}"

    def read(positions: PositionStore | None) -> list[PolledBatch]:
        until = time.monotonic() + 3
        return _run(
            KafkaSource(
                brokers,
                [TOPIC],
                group,
                positions=positions,
                batch_records=4,
                is_stopping=lambda: time.monotonic() > until,
            )
        )

    store = KafkaPositionStore(brokers, group)
    yield Broker(KafkaRecordProducer(brokers), store, read)
    store.close()


def records(run: str, count: int) -> list[OutRecord]:
    """Records of some keys that are told apart by `run`."""
    return [
        OutRecord(TOPIC.name, f"{run}-{i % 5}".encode(), f"{run}:{i}".encode(), (("events", b"3"),))
        for i in range(count)
    ]


def of_run(batches: Sequence[PolledBatch], run: str) -> list[tuple[int, int, bytes]]:
    """(partition, offset, value) of one run's records."""
    return [
        (batch.partition, offset, value)
        for batch in batches
        for offset, value in zip(batch.offsets, batch.values, strict=True)
        if value.startswith(run.encode())
    ]


def test_what_is_acknowledged_can_be_read_in_order(broker: Broker) -> None:
    """Every record once, in order within its key, with its key and its event count."""
    run = uuid.uuid4().hex
    broker.producer.produce_all(records(run, 40))
    batches = broker.read(None)
    found = of_run(batches, run)
    assert sorted(value for *_place, value in found) == sorted(r.value for r in records(run, 40))
    for key in range(5):
        numbers = [int(v.split(b":")[1]) for *_p, v in found if int(v.split(b":")[1]) % 5 == key]
        assert numbers == sorted(numbers)
    assert all(len(batch.offsets) <= 4 for batch in batches)
    own = [b for b in batches if any(v.startswith(run.encode()) for v in b.values)]
    assert all(
        count == 3
        for batch in own
        for count, value in zip(batch.event_counts, batch.values, strict=True)
        if value.startswith(run.encode())
    )


def test_positions_come_back_as_they_were_saved(broker: Broker) -> None:
    """With and without a block that was begun; an unknown partition is absent."""
    broker.positions.save(TOPIC.name, 0, Position(5, 9))
    broker.positions.save(TOPIC.name, 1, Position(7))
    broker.positions.save(TOPIC.name, 1, Position(8), wait=False)
    broker.positions.save(TOPIC.name, 0, Position(6, 9))
    assert broker.positions.load(TOPIC.name, [0, 1, 2]) == {0: Position(6, 9), 1: Position(8)}


def test_reading_goes_on_at_the_position_and_ends_the_begun_block_there(broker: Broker) -> None:
    """No record before the position, and no batch across the old block's end."""
    run = uuid.uuid4().hex
    broker.producer.produce_all(records(run, 60))
    places = of_run(broker.read(None), run)
    partition = max({p for p, *_ in places}, key=lambda p: sum(q == p for q, *_ in places))
    offsets = [offset for p, offset, _v in places if p == partition]
    assert len(offsets) >= 10
    first, last = offsets[1], offsets[6]
    broker.positions.save(TOPIC.name, partition, Position(first, last))
    batches = [b for b in broker.read(broker.positions) if b.partition == partition]
    assert batches[0].offsets[0] == first
    pinned = [batch for batch in batches if batch.pinned_last is not None]
    assert {batch.pinned_last for batch in pinned} == {last}
    assert pinned[-1].offsets[-1] == last
    assert all(batch.offsets[0] > last for batch in batches[len(pinned) :])


@pytest.mark.integration
def test_a_position_outside_of_retention_stops_the_flow(running_stack: Any) -> None:
    """Nothing is skipped in silence."""
    brokers = running_stack.kafka_brokers
    group = f"contract-{uuid.uuid4()}"
    positions = KafkaPositionStore(brokers, group)
    positions.save(EVENTS_ERRORS.name, 0, Position(1_000_000))
    until = time.monotonic() + 10
    source = KafkaSource(
        brokers,
        [EVENTS_ERRORS],
        group,
        positions=positions,
        is_stopping=lambda: time.monotonic() > until,
    )
    with pytest.raises(RuntimeError) as raised:
        _run(source)
    causes: list[BaseException] = [raised.value]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    assert any(isinstance(cause, FatalError) and "retention" in str(cause) for cause in causes), (
        causes
    )
    positions.close()


@pytest.mark.integration
def test_no_broker_is_an_error_and_not_a_success() -> None:
    """An unreachable broker never looks like written records."""
    producer = KafkaRecordProducer("127.0.0.1:1", timeout_s=1)
    with pytest.raises(RetryableError, match="not acknowledged"):
        producer.produce_all([OutRecord(TOPIC.name, b"k", b"v")])


@pytest.mark.integration
def test_the_sink_writes_and_raises(running_stack: Any) -> None:
    """A batch is done when it is acknowledged; a record that cannot be written raises."""
    part = KafkaSink(running_stack.kafka_brokers).build("sink", 0, 1)
    part.write_batch([OutRecord(TOPIC.name, b"k", b"v")])
    with pytest.raises(FatalError):
        part.write_batch([OutRecord(TOPIC.name, b"k", b"x" * 5_000_000)])


@pytest.mark.integration
def test_topics_are_as_the_registry_says(running_stack: Any) -> None:
    """Created once; created again they change nothing; the check finds no difference."""
    assert ensure_topics(running_stack.kafka_brokers) == []
    assert check_topics(running_stack.kafka_brokers) == []
    assert len(TOPICS) == 7
