"""One suite over the Kafka connectors and their in-memory twins."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connectors.errors import FatalError, RetryableError
from connectors.kafka import KafkaPositionStore, KafkaSource, KafkaSpanReader
from connectors.kafka_admin import (
    LiveTopic,
    check_topics,
    ensure_topics,
    partition_faults,
    read_topics,
)
from connectors.kafka_log import (
    EARLIEST,
    Begun,
    BlockName,
    OutRecord,
    Part,
    Position,
    PositionStore,
    RecordProducer,
    Span,
    SpanReader,
)
from connectors.kafka_producer import KafkaRecordProducer, KafkaSink
from connectors.memory_kafka import (
    MemoryClaims,
    MemoryLog,
    MemoryPositionStore,
    MemoryRecordProducer,
    MemorySource,
    MemorySpanReader,
    all_parts,
)
from schemas.log import PolledBatch
from schemas.topics import BEHAVIOUR_STATE, EVENTS_ERRORS, EVENTS_RAW, INSIGHTS, TOPICS

TOPIC = INSIGHTS
PARTS = all_parts([TOPIC])


class Starts:
    """A `PartOwner` that knows where to start, or says nothing of a partition."""

    def __init__(self, starts: Mapping[Part, int] | None = None) -> None:
        self.starts = starts
        self.ended: list[Part] = []

    def begin_parts(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """The starts told, or the earliest record for all."""
        if self.starts is None:
            return dict.fromkeys(parts, EARLIEST)
        return {part: self.starts[part] for part in parts if part in self.starts}

    def end_parts(self, parts: Sequence[Part]) -> None:
        """Noted."""
        self.ended += parts


@dataclass
class Broker:
    """One implementation: how to produce, keep positions, and read until nothing more comes."""

    producer: RecordProducer
    positions: PositionStore
    spans: SpanReader
    read: Callable[[MemoryClaims, Starts], list[PolledBatch]]


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
            MemorySpanReader(log),
            lambda claims, starts: _run(MemorySource(log, claims, starts, batch_records=4)),
        )
        return
    brokers = request.getfixturevalue("running_stack").kafka_brokers
    group = f"contract-{uuid.uuid4()}"

    def read(claims: MemoryClaims, starts: Starts) -> list[PolledBatch]:
        until = time.monotonic() + 3
        return _run(
            KafkaSource(
                brokers,
                group,
                claims,
                starts,
                batch_records=4,
                is_stopping=lambda: time.monotonic() > until,
            )
        )

    store = KafkaPositionStore(brokers, group)
    yield Broker(KafkaRecordProducer(brokers), store, KafkaSpanReader(brokers, group), read)
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
    batches = broker.read(MemoryClaims(PARTS), Starts())
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
    name = BlockName((Span(TOPIC.name, 0, 5, 9), Span(TOPIC.name, 1, 7, 7)))
    broker.positions.begin(name, 1_234)
    first, second, third = PARTS
    assert broker.positions.load(PARTS) == {
        first: Position(5, Begun(first, 1_234, name)),
        second: Position(7, Begun(first, 1_234)),
    }
    follower = BlockName((Span(TOPIC.name, 1, 8, 20), Span(TOPIC.name, 2, 0, 3)))
    broker.positions.finish(name)
    broker.positions.begin(follower, 1_235)
    assert broker.positions.load(PARTS) == {
        first: Position(10),
        second: Position(8, Begun(second, 1_235, follower)),
        third: Position(0, Begun(second, 1_235)),
    }
    broker.positions.finish(follower)
    assert broker.positions.load(PARTS) == {
        first: Position(10),
        second: Position(21),
        third: Position(4),
    }


def test_reading_goes_on_where_the_owner_says(broker: Broker) -> None:
    """No record before the start, none of a partition that is not ready."""
    run = uuid.uuid4().hex
    broker.producer.produce_all(records(run, 60))
    places = of_run(broker.read(MemoryClaims(PARTS), Starts()), run)
    number = max({p for p, *_ in places}, key=lambda p: sum(q == p for q, *_ in places))
    offsets = [offset for p, offset, _v in places if p == number]
    assert len(offsets) >= 10
    starts = Starts({(TOPIC.name, number): offsets[3]})
    batches = broker.read(MemoryClaims(PARTS), starts)
    assert {batch.partition for batch in batches} == {number}
    assert batches[0].offsets[0] == offsets[3]
    assert starts.ended == [(TOPIC.name, number)]


def test_spans_are_read_again(broker: Broker) -> None:
    """Exactly their records, of several partitions."""
    run = uuid.uuid4().hex
    broker.producer.produce_all(records(run, 60))
    places = of_run(broker.read(MemoryClaims(PARTS), Starts()), run)
    spans = []
    for number in sorted({p for p, *_ in places}):
        offsets = [offset for p, offset, _v in places if p == number]
        spans.append(Span(TOPIC.name, number, offsets[1], offsets[-2]))
    found = of_run(broker.spans.read(spans), run)
    assert sorted(found) == sorted(
        place
        for place in places
        for span in spans
        if place[0] == span.partition and span.first_offset <= place[1] <= span.last_offset
    )


def test_what_is_asked_back_is_read_no_more(broker: Broker) -> None:
    """The partition ends for its owner before it is given back; the others go on."""
    run = uuid.uuid4().hex
    broker.producer.produce_all(records(run, 60))
    claims, starts = MemoryClaims(PARTS), Starts()
    asked = PARTS[0]
    end_parts = starts.end_parts

    def end(parts: Sequence[Part]) -> None:
        assert asked in claims.held() or asked in starts.ended
        end_parts(parts)

    starts.end_parts = end  # type: ignore[method-assign]
    begin_parts = starts.begin_parts

    def begin(parts: Sequence[Part]) -> Mapping[Part, int]:
        claims.asked.add(asked)
        return begin_parts(parts)

    starts.begin_parts = begin  # type: ignore[method-assign]
    batches = broker.read(claims, starts)
    assert asked in starts.ended
    assert asked not in claims.held()
    assert sum(len(b.offsets) for b in batches if b.partition == asked[1]) <= 4


@pytest.mark.integration
def test_a_position_outside_of_retention_stops_the_flow(running_stack: Any) -> None:
    """Nothing is skipped in silence."""
    part = (EVENTS_ERRORS.name, 0)
    until = time.monotonic() + 10
    source = KafkaSource(
        running_stack.kafka_brokers,
        f"contract-{uuid.uuid4()}",
        MemoryClaims([part]),
        Starts({part: 1_000_000}),
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


@pytest.mark.integration
def test_a_note_of_the_version_before_is_understood(running_stack: Any) -> None:
    """It was the last offset of a block of one partition, under the same token."""
    group = f"contract-{uuid.uuid4()}"
    consumer = Consumer({"bootstrap.servers": running_stack.kafka_brokers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(TOPIC.name, 0, 5, "9")], asynchronous=False)
    consumer.close()
    positions = KafkaPositionStore(running_stack.kafka_brokers, group)
    (position,) = positions.load([PARTS[0]]).values()
    name = BlockName((Span(TOPIC.name, 0, 5, 9),))
    assert position == Position(5, Begun(PARTS[0], 0, name))
    assert name.token == f"{TOPIC.name}:0:5-9"
    positions.close()


def known_topic(brokers: str, name: str) -> LiveTopic:
    """The topic, once the broker that is asked has heard of it."""
    for _ in range(50):
        with suppress(FatalError):
            return read_topics(brokers, [name])[name]
        time.sleep(0.1)
    return read_topics(brokers, [name])[name]


@pytest.mark.integration
def test_topics_have_an_id_for_ever(running_stack: Any) -> None:
    """A topic that is deleted and made anew has another one; a missing one is named."""
    brokers = running_stack.kafka_brokers
    admin = AdminClient({"bootstrap.servers": brokers})
    name = f"renewed-{uuid.uuid4().hex}"
    ids = []
    for _ in range(2):
        admin.create_topics([NewTopic(name, 2, 1)], operation_timeout=30)[name].result()
        found = known_topic(brokers, name)
        assert found.partitions == (0, 1)
        ids.append(found.topic_id)
        admin.delete_topics([name], operation_timeout=30)[name].result()
    assert ids[0] != ids[1]
    with pytest.raises(FatalError, match=name):
        read_topics(brokers, [name])


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
    assert len(TOPICS) == 10


def test_partitions_may_be_added_but_not_to_events_alone() -> None:
    """What the operations page tells people to do is no fault; forgetting half of it is one."""
    counts = {topic.name: topic.partitions for topic in TOPICS}
    assert partition_faults(counts) == []
    assert partition_faults({**counts, EVENTS_RAW.name: 13}) == [
        f"{BEHAVIOUR_STATE.name} has 12 partitions instead of 13"
    ]
    assert partition_faults({**counts, EVENTS_RAW.name: 13, BEHAVIOUR_STATE.name: 13}) == []
    assert partition_faults({**counts, INSIGHTS.name: 2}) == [
        f"{INSIGHTS.name} has 2 partitions instead of 3"
    ]


@pytest.mark.integration
def test_topics_that_are_kept_less_safely_are_told(running_stack: Any) -> None:
    """Too few copies, too few of them asked to confirm, and records that would not fit."""
    name = EVENTS_ERRORS.name
    faults = check_topics(running_stack.kafka_brokers, replication=3, min_insync_replicas=2)
    assert len(faults) == 2 * len(TOPICS)
    assert f"{name} has 1 copies instead of 3" in faults
    assert f"{name} has min.insync.replicas 1 instead of 2" in faults
    try:
        _set_topic(running_stack.kafka_brokers, name, "max.message.bytes", "1048588")
        faults = check_topics(running_stack.kafka_brokers)
        assert faults == [f"{name} has max.message.bytes 1048588 instead of 4194304"]
        _set_topic(running_stack.kafka_brokers, name, "max.message.bytes", "8388608")
        assert check_topics(running_stack.kafka_brokers) == []
    finally:
        _set_topic(running_stack.kafka_brokers, name, "max.message.bytes", "4194304")


def _set_topic(brokers: str, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": brokers})
    for changed in admin.incremental_alter_configs([resource]).values():
        changed.result()
