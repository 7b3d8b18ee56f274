"""In-memory twins of the Kafka connectors, for tests and dry runs; same contract tests.

A `MemoryLog` is a broker: topics of partitions of records. It can be told to fail, so that what
happens when the world is away is tested without waiting for it.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from connectors.errors import RetryableError
from connectors.kafka_log import OutRecord, Position, PositionStore
from schemas.log import Fetched, PolledBatch
from schemas.topics import BY_NAME, Topic


class MemoryLog:
    """Topics as lists of records per partition."""

    def __init__(self) -> None:
        self.partitions: dict[tuple[str, int], list[Fetched]] = defaultdict(list)
        self.failures_left = 0

    def append(self, record: OutRecord, created_ms: int = 0) -> tuple[int, int]:
        """Write one record; return its partition and offset."""
        partition = zlib.crc32(record.key) % BY_NAME[record.topic].partitions
        records = self.partitions[record.topic, partition]
        counts = [int(value) for name, value in record.headers if name == "events"]
        records.append(
            Fetched(len(records), record.value, record.key, created_ms, counts[0] if counts else 1)
        )
        return partition, len(records) - 1

    def values(self, topic: str) -> list[bytes]:
        """All values of a topic, partition by partition."""
        return [
            record.value
            for number in range(BY_NAME[topic].partitions)
            for record in self.partitions[topic, number]
        ]

    def fail_if_told(self) -> None:
        """Raise as a broker that is away would, as often as `failures_left` says."""
        if self.failures_left:
            self.failures_left -= 1
            raise RetryableError("the memory log was told to fail")


class MemoryRecordProducer:
    """Twin of `KafkaRecordProducer`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def produce_all(self, records: Sequence[OutRecord]) -> None:
        """See `RecordProducer.produce_all`."""
        for record in records:
            self._log.fail_if_told()
            self._log.append(record)


class MemoryPositionStore:
    """Twin of `KafkaPositionStore`."""

    def __init__(self) -> None:
        self.positions: dict[tuple[str, int], Position] = {}

    def load(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Position]:
        """See `PositionStore.load`."""
        return {
            number: self.positions[topic, number]
            for number in partitions
            if (topic, number) in self.positions
        }

    def save(self, topic: str, partition: int, position: Position, *, wait: bool = True) -> None:
        """See `PositionStore.save`."""
        self.positions[topic, partition] = position


class _MemoryPart(StatefulSourcePartition[PolledBatch, int]):
    def __init__(
        self, log: MemoryLog, topic: str, partition: int, position: Position, batch_records: int
    ) -> None:
        self._records = log.partitions[topic, partition]
        self._topic = topic
        self._partition = partition
        self._next_offset = position.next_offset
        self._pinned_last = position.block_last
        self._batch_records = batch_records

    def next_batch(self) -> list[PolledBatch]:
        if self._next_offset >= len(self._records):
            raise StopIteration
        if self._pinned_last is not None and self._next_offset > self._pinned_last:
            self._pinned_last = None
        end = self._next_offset + self._batch_records
        if self._pinned_last is not None:
            end = min(end, self._pinned_last + 1)
        taken = self._records[self._next_offset : end]
        self._next_offset += len(taken)
        return [PolledBatch.of(self._topic, self._partition, taken, self._pinned_last)]

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(milliseconds=1)

    def snapshot(self) -> int:
        return self._next_offset


class MemorySource(FixedPartitionedSource[PolledBatch, int]):
    """Twin of `KafkaSource` that ends when all of the log is read."""

    def __init__(
        self,
        log: MemoryLog,
        topics: Sequence[Topic],
        *,
        positions: PositionStore | None = None,
        batch_records: int = 500,
    ) -> None:
        self._log = log
        self._topics = topics
        self._positions = positions
        self._batch_records = batch_records

    def list_parts(self) -> list[str]:
        """Names `topic:partition`."""
        return [f"{topic.name}:{n}" for topic in self._topics for n in range(topic.partitions)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _MemoryPart:
        """One partition, from the stored position, else the recovered one, else the start."""
        topic, _, number = for_part.rpartition(":")
        position = None
        if self._positions is not None:
            position = self._positions.load(topic, [int(number)]).get(int(number))
        if position is None:
            position = Position(resume_state or 0)
        return _MemoryPart(self._log, topic, int(number), position, self._batch_records)
