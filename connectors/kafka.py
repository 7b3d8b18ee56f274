"""Kafka for dataflows: a source that never skips and positions that say what is stored.

In: topic partitions. Out: `PolledBatch` items, one item a poll and partition, so that the engine's
cost is paid once for hundreds of records. Guarantees:

- One consumer serves all partitions of a worker (Bytewax builds a part per partition; a consumer
  each would cost five threads each and 1 ms of blocking per idle partition and poll).
- A position that has left the topic's retention stops the flow with a clear message instead of
  jumping over the hole (`auto.offset.reset=error`).
- A group without a position starts at the earliest record.
- Positions are commits of the consumer group, so that lag tools see them; the commit's metadata
  holds the bounds of the block that is being written (see `Position`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import Gauge

from connectors.errors import FatalError, RetryableError
from connectors.kafka_log import Position, PositionStore
from connectors.telemetry import get_logger
from schemas.log import Fetched, PolledBatch
from schemas.topics import Topic

T = TypeVar("T")

EVENT_COUNT_HEADER = "events"
EVENT_COUNT_MAX = 2**31 - 1
# librdkafka may hold this much unread data per partition; its default of 64 MB times twelve
# partitions is more than a whole flow should use.
QUEUED_KBYTES_MAX = 8 * 1024
IDLE_WAIT = timedelta(milliseconds=10)
LAG_REFRESH_S = 5.0
CALL_TIMEOUT_S = 10.0

CONSUMER_LAG = Gauge(
    "gosight_kafka_consumer_lag_records",
    "Records between the last one read and the end of the partition.",
    ["group", "topic", "partition"],
)


def _consumer_config(brokers: str, group: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": brokers,
        "log_level": 2,  # What goes wrong is raised or logged by us, as JSON.
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "queued.max.messages.kbytes": QUEUED_KBYTES_MAX,
        "fetch.wait.max.ms": 100,
        "fetch.error.backoff.ms": 100,
        "isolation.level": "read_committed",
    }


@dataclass
class _Queue:
    """What was fetched of one partition and not yet handed out."""

    topic: str
    partition: int
    position: Position
    records: deque[Fetched] = field(default_factory=deque)


class _WorkerConsumer:
    """The one consumer behind all partitions of a worker; used from that worker's thread only."""

    def __init__(self, brokers: str, group: str, poll_records: int) -> None:
        self._consumer = Consumer(_consumer_config(brokers, group))
        self._group = group
        self._poll_records = poll_records
        self._queues: dict[tuple[str, int], _Queue] = {}
        self._polled_at = 0.0
        self._lag_at = 0.0

    def add(self, topic: str, partition: int, position: Position) -> _Queue:
        queue = _Queue(topic, partition, position)
        self._queues[topic, partition] = queue
        self._consumer.incremental_assign([TopicPartition(topic, partition, position.next_offset)])
        return queue

    def remove(self, queue: _Queue) -> None:
        """Stop reading a partition; the consumer is closed with its last one."""
        if self._queues.pop((queue.topic, queue.partition), None) is None:
            return
        if self._queues:
            self._consumer.incremental_unassign([TopicPartition(queue.topic, queue.partition)])
        else:
            self._consumer.close()

    def earliest(self, topic: str, partition: int) -> int:
        try:
            low, _high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=CALL_TIMEOUT_S
            )
        except KafkaException as error:
            raise RetryableError(f"cannot read where the topic begins: {error}") from error
        return int(low)

    def fill(self) -> None:
        """Fetch what has arrived, without waiting, into the partitions' queues."""
        now = time.monotonic()
        if now - self._polled_at < 0.001 or self._is_full():
            return
        self._polled_at = now
        for message in self._consumer.consume(self._poll_records, timeout=0):
            error = message.error()
            if error is None:
                queue = self._queues[_known(message.topic()), _known(message.partition())]
                queue.records.append(
                    Fetched(
                        _known(message.offset()),
                        message.value() or b"",
                        message.key() or b"",
                        message.timestamp()[1],
                        _event_count(message),
                    )
                )
            else:
                _raise_consumer_error(error)
        if now - self._lag_at >= LAG_REFRESH_S:
            self._lag_at = now
            self._publish_lag()

    def _is_full(self) -> bool:
        """What one busy partition brings must not pile up while the idle ones ask for more."""
        waiting = sum(len(queue.records) for queue in self._queues.values())
        return waiting >= self._poll_records * (len(self._queues) + 1)

    def _publish_lag(self) -> None:
        for queue in self._queues.values():
            partition = TopicPartition(queue.topic, queue.partition)
            _low, high = self._consumer.get_watermark_offsets(partition, cached=True)
            next_offset = self._consumer.position([partition])[0].offset
            if high >= 0:
                read = next_offset if next_offset >= 0 else queue.position.next_offset
                lag = max(0, high - read) + len(queue.records)
                CONSUMER_LAG.labels(self._group, queue.topic, str(queue.partition)).set(lag)


def _raise_consumer_error(error: KafkaError) -> None:
    code = error.code()
    if code == KafkaError._AUTO_OFFSET_RESET:
        raise FatalError(
            f"the stored position is outside of the topic's retention ({error.str()}). Records "
            "may be gone: nothing was skipped. Count what is missing, then go on from the earliest "
            "record by resetting the group's offsets to it (docs/operations.md says how)."
        )
    if error.fatal() or code in (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
    ):
        raise FatalError(f"Kafka refuses to be read: {error.str()}")
    # All else (brokers down, time-outs) is librdkafka's business: it goes on trying by itself.
    get_logger().warning("kafka_consumer_error", reason=error.name(), detail=error.str())


class _SourcePart(StatefulSourcePartition[PolledBatch, int]):
    def __init__(
        self,
        worker: _WorkerConsumer,
        queue: _Queue,
        batch_records: int,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._worker = worker
        self._queue = queue
        self._batch_records = batch_records
        self._is_stopping = is_stopping
        self._next_offset = queue.position.next_offset
        self._pinned_last = queue.position.block_last
        self._wake_at: datetime | None = None

    def next_batch(self) -> list[PolledBatch]:
        if self._is_stopping():
            raise StopIteration
        records = self._queue.records
        if len(records) < self._batch_records:
            self._worker.fill()
        if not records:
            self._wake_at = datetime.now(UTC) + IDLE_WAIT
            return []
        self._wake_at = None
        return [self._take(records)]

    def _take(self, records: deque[Fetched]) -> PolledBatch:
        """Hand out records up to the batch size, never across the end of a pinned block."""
        pinned_last = self._pinned_last
        if pinned_last is not None and records[0].offset > pinned_last:
            pinned_last = self._pinned_last = None
        taken: list[Fetched] = []
        while records and len(taken) < self._batch_records:
            if pinned_last is not None and records[0].offset > pinned_last:
                break
            taken.append(records.popleft())
        self._next_offset = taken[-1].offset + 1
        return PolledBatch.of(self._queue.topic, self._queue.partition, taken, pinned_last)

    def next_awake(self) -> datetime | None:
        return self._wake_at

    def snapshot(self) -> int:
        return self._next_offset

    def close(self) -> None:
        self._worker.remove(self._queue)


def _known(value: T | None) -> T:
    """A field that a delivered message always has."""
    assert value is not None
    return value


def _event_count(message: Message) -> int:
    for header in message.headers() or ():
        name, value = header[0], header[1]
        if name == EVENT_COUNT_HEADER and value is not None and value.isdigit():
            return min(int(value), EVENT_COUNT_MAX)
    return 1


class KafkaSource(FixedPartitionedSource[PolledBatch, int]):
    """Reads topics batch-wise.

    `share` is (index, count): this process reads the partitions whose number modulo `count` is
    `index`, so that independent processes split a topic without talking to each other.
    `positions` is asked where to start; without a store, and for a partition it does not know,
    the recovery store's offset counts, else the earliest record.
    `is_stopping` ends the input when it turns true, so that the flow drains.
    """

    def __init__(
        self,
        brokers: str,
        topics: Sequence[Topic],
        group: str,
        *,
        positions: PositionStore | None = None,
        share: tuple[int, int] = (0, 1),
        batch_records: int = 500,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._brokers = brokers
        self._topics = {topic.name: topic for topic in topics}
        self._group = group
        self._positions = positions
        self._share = share
        self._batch_records = batch_records
        self._is_stopping = is_stopping
        self._workers: dict[int, _WorkerConsumer] = {}

    def list_parts(self) -> list[str]:
        """Names `topic:partition` of this process's share.

        Raises:
            FatalError: a topic does not exist.
            RetryableError: no broker answers.
        """
        admin = AdminClient({"bootstrap.servers": self._brokers, "log_level": 2})
        try:
            metadata = admin.list_topics(timeout=CALL_TIMEOUT_S).topics
        except KafkaException as error:
            raise RetryableError(f"no Kafka broker answers: {error}") from error
        index, count = self._share
        parts = []
        for name in self._topics:
            topic = metadata.get(name)
            if topic is None or topic.error is not None:
                raise FatalError(f"topic {name} does not exist; run `gosight topics create`")
            parts += [f"{name}:{p}" for p in sorted(topic.partitions) if p % count == index]
        return parts

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _SourcePart:
        """One part of the worker that calls; `for_part` is `topic:partition`."""
        topic, _, number = for_part.rpartition(":")
        partition = int(number)
        worker = self._workers.get(threading.get_ident())
        if worker is None:
            worker = _WorkerConsumer(self._brokers, self._group, self._batch_records)
            self._workers[threading.get_ident()] = worker
        position: Position | None = None
        if self._positions is not None:
            position = self._positions.load(topic, [partition]).get(partition)
        if position is None:
            start = resume_state if resume_state is not None else worker.earliest(topic, partition)
            position = Position(start)
        queue = worker.add(topic, partition, position)
        return _SourcePart(worker, queue, self._batch_records, self._is_stopping)


class KafkaPositionStore:
    """Positions as commits of a consumer group; a block's end is in the commit's metadata."""

    def __init__(self, brokers: str, group: str) -> None:
        self._consumer = Consumer(_consumer_config(brokers, group))
        self._lock = threading.Lock()

    def load(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Position]:
        """See `PositionStore.load`."""
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        with self._lock:
            try:
                found = self._consumer.committed(wanted, timeout=CALL_TIMEOUT_S)
            except KafkaException as error:
                raise RetryableError(f"cannot read the group's offsets: {error}") from error
        positions = {}
        for entry in found:
            if entry.error is not None:
                raise RetryableError(f"cannot read the group's offsets: {entry.error}")
            if entry.offset >= 0:
                text = entry.metadata or ""  # Another tool's words are no block of ours.
                last = int(text) if text.isdigit() else None
                positions[entry.partition] = Position(entry.offset, last)
        return positions

    def save(self, topic: str, partition: int, position: Position, *, wait: bool = True) -> None:
        """See `PositionStore.save`."""
        metadata = "" if position.block_last is None else str(position.block_last)
        offset = TopicPartition(topic, partition, position.next_offset, metadata)
        with self._lock:
            try:
                if not wait:
                    self._consumer.commit(offsets=[offset], asynchronous=True)
                    return
                results = self._consumer.commit(offsets=[offset], asynchronous=False)
            except KafkaException as error:
                raise RetryableError(f"cannot commit the group's offsets: {error}") from error
        for result in results or ():
            if result.error is not None:
                raise RetryableError(f"cannot commit the group's offsets: {result.error}")

    def close(self) -> None:
        """Close the connection; the store cannot be used afterwards."""
        self._consumer.close()
