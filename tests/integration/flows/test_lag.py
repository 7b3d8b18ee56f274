"""The lag of a group: right when it is new, idle, stuck, and after its partitions change hands."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client import REGISTRY

from connectors import kafka_lag
from connectors.kafka import KafkaPositionStore
from connectors.kafka_lag import FOLLOW_S, LagMonitor, TrackedPositions
from connectors.kafka_log import BlockName, OutRecord, Part, Span
from connectors.kafka_producer import KafkaRecordProducer
from tests.stack import RunningStack

PARTITIONS = 3


class World:
    """A topic of its own and a group."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        self.topic = f"lag-{uuid.uuid4().hex}"
        self.group = uuid.uuid4().hex
        self._producer = KafkaRecordProducer(brokers)
        admin = AdminClient({"bootstrap.servers": brokers})
        admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(20)

    def put(self, records: int) -> None:
        """Write records; all have one key, so they are in one partition."""
        self._producer.produce_all([OutRecord(self.topic, b"a", b"x")] * records)

    def monitor(self, parts: tuple[int, ...] = tuple(range(PARTITIONS))) -> LagMonitor:
        """A monitor that was refreshed once."""
        found = LagMonitor(self.brokers, self.group, lambda: [(self.topic, p) for p in parts])
        refresh(found)
        return found

    def published(self, metric: str) -> dict[str, float]:
        """The gauge by partition."""
        found = {}
        for family in REGISTRY.collect():
            for sample in family.samples:
                labels = sample.labels
                if sample.name == metric and labels.get("topic") == self.topic:
                    found[labels["partition"]] = sample.value
        return found

    def positions(self, monitor: LagMonitor) -> TrackedPositions:
        """Positions that the monitor is told of."""
        return TrackedPositions(KafkaPositionStore(self.brokers, self.group), monitor)

    def span(self, number: int, first: int, last: int) -> BlockName:
        """A block of one span."""
        return BlockName((Span(self.topic, number, first, last),))

    def full_partition(self) -> int:
        """The one partition with records."""
        lags = self.published("gosight_kafka_consumer_lag_records")
        (number,) = [int(partition) for partition, lag in lags.items() if lag]
        return number


def refresh(monitor: LagMonitor) -> None:
    """Ask Kafka; a topic made a moment ago may have no leader yet."""
    deadline = time.monotonic() + 20
    while True:
        try:
            monitor.refresh()
        except KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def world(running_stack: RunningStack) -> Iterator[World]:
    """A topic with nothing in it."""
    found = World(running_stack.kafka_brokers)
    yield found
    AdminClient({"bootstrap.servers": found.brokers}).delete_topics([found.topic])


def test_a_new_group_is_behind_by_the_whole_topic(world: World) -> None:
    """Without a position everything waits, since its first record; empty partitions do not."""
    world.put(5)
    time.sleep(1.1)
    monitor = world.monitor()
    assert monitor.known_parts() == PARTITIONS
    assert monitor.lag_records() == 5
    assert 1.0 < monitor.lag_seconds() < 20
    records = world.published("gosight_kafka_consumer_lag_records")
    assert sorted(records.values()) == [0, 0, 5]
    assert sorted(world.published("gosight_kafka_partition_end_offset").values()) == [0, 0, 5]
    seconds = world.published("gosight_kafka_consumer_lag_seconds")
    assert [p for p, value in seconds.items() if value > 0] == [
        p for p, value in records.items() if value > 0
    ]


def test_an_idle_partition_is_not_behind(world: World) -> None:
    """What is written is not behind, however old; a record after a pause counts from itself."""
    world.put(2)
    monitor = world.monitor()
    number = world.full_partition()
    world.positions(monitor).finish(world.span(number, 0, 1))
    assert (monitor.lag_records(), monitor.lag_seconds()) == (0, 0.0)
    time.sleep(1.5)
    assert monitor.lag_seconds() == 0.0
    world.put(1)
    monitor.refresh()
    assert monitor.lag_records() == 1
    assert monitor.lag_seconds() < 1.4


def test_a_stuck_flow_is_seen_to_fall_behind(world: World) -> None:
    """While nothing is written, records and seconds grow; a begun block is not a written one."""
    world.put(3)
    monitor = world.monitor()
    number = world.full_partition()
    positions = world.positions(monitor)
    positions.finish(world.span(number, 0, 0))
    positions.begin(world.span(number, 1, 2), 0)
    monitor.refresh()
    assert monitor.lag_records() == 2
    before_s = monitor.lag_seconds()
    world.put(4)
    time.sleep(0.5)
    monitor.refresh()
    assert monitor.lag_records() == 6
    assert monitor.lag_seconds() >= before_s + 0.5


def test_a_new_process_takes_over_where_the_group_is(world: World) -> None:
    """After a restart or another share the lag is the group's, without anything being written."""
    world.put(10)
    first = world.monitor()
    number = world.full_partition()
    KafkaPositionStore(world.brokers, world.group).finish(world.span(number, 0, 6))
    refresh(first)
    assert first.lag_records() == 3
    with_it, without_it = (
        world.monitor((number,)),
        world.monitor(tuple(p for p in range(PARTITIONS) if p != number)),
    )
    assert with_it.lag_records() == 3
    assert (without_it.lag_records(), without_it.lag_seconds()) == (0, 0.0)


def test_lost_offsets_do_not_look_like_lag(world: World) -> None:
    """What the store knows to be written counts, also if the group's offsets are gone."""
    world.put(10)
    monitor = world.monitor()
    number = world.full_partition()

    monitor.written((world.topic, number), 10)
    assert monitor.lag_records() == 0
    refresh(monitor)
    assert monitor.lag_records() == 0


def test_positions_before_the_retention_do_not_stop_the_figures(world: World) -> None:
    """Records that Kafka has dropped still count as not written."""
    world.put(4)
    monitor = world.monitor()
    number = world.full_partition()
    KafkaPositionStore(world.brokers, world.group).finish(world.span(number, 0, 0))
    admin = AdminClient({"bootstrap.servers": world.brokers})
    for done in admin.delete_records([TopicPartition(world.topic, number, 3)]).values():
        done.result(20)
    other = world.monitor()
    assert other.lag_records() == 3
    assert other.lag_seconds() > 0
    assert monitor.lag_records() == 4


def test_a_partition_that_has_left_is_not_spoken_of(world: World) -> None:
    """Its next holder tells; nothing of it counts here, and it may come back."""
    world.put(5)
    held: list[Part] = [(world.topic, number) for number in range(PARTITIONS)]
    monitor = LagMonitor(world.brokers, world.group, lambda: list(held))
    refresh(monitor)
    number = world.full_partition()
    held.remove((world.topic, number))
    refresh(monitor)
    assert (monitor.lag_records(), monitor.known_parts()) == (0, PARTITIONS - 1)
    assert str(number) not in world.published("gosight_kafka_consumer_lag_records")
    held.append((world.topic, number))
    refresh(monitor)
    assert monitor.lag_records() == 5


def test_partitions_that_were_just_taken_are_asked_for_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts is ready as soon as it has its partitions, not at the next refresh."""
    monkeypatch.setattr(kafka_lag, "REFRESH_S", 3_600.0)
    held: list[Part] = []
    world.monitor()  # All partitions have leaders now.
    monitor = LagMonitor(world.brokers, world.group, lambda: list(held))
    monitor.start()
    try:
        time.sleep(2 * FOLLOW_S)  # It has looked and found none.
        held += [(world.topic, number) for number in range(PARTITIONS)]
        deadline = time.monotonic() + 60
        while monitor.known_parts() < PARTITIONS and time.monotonic() < deadline:
            time.sleep(0.02)
        assert monitor.known_parts() == PARTITIONS
    finally:
        monitor.close()


def test_marks_of_transactions_are_no_lag(running_stack: RunningStack) -> None:
    """A partition that is written to its last record is not behind, whatever ends it."""
    world = World(running_stack.kafka_brokers)
    producer = Producer(
        {"bootstrap.servers": world.brokers, "transactional.id": uuid.uuid4().hex, "log_level": 2}
    )
    producer.init_transactions(20)
    for value in (b"1", b"2"):
        producer.begin_transaction()
        producer.produce(world.topic, key=b"a", value=value)
        producer.commit_transaction(20)
    monitor = world.monitor()
    number = world.full_partition()
    world.positions(monitor).finish(world.span(number, 0, 2))  # Record, mark, record; mark.
    refresh(monitor)
    assert monitor.lag_records() == 0
