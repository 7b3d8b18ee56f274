"""In-memory twins of the Kafka connectors, for tests and dry runs; same contract tests.

A `MemoryLog` is a broker: topics of partitions of records. It can be told to fail, so that what
happens when the world is away is tested without waiting for it.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from connectors.claims import Claims
from connectors.errors import RetryableError
from connectors.kafka_log import (
    Begun,
    BlockName,
    OutRecord,
    Part,
    PartOwner,
    Position,
    Span,
)
from schemas.log import Fetched, PolledBatch
from schemas.topics import BY_NAME, Topic


class MemoryLog:
    """Topics as lists of records per partition."""

    def __init__(self) -> None:
        self.partitions: dict[tuple[str, int], list[Fetched]] = defaultdict(list)
        self.failures_left = 0

    def append(self, record: OutRecord, created_ms: int = 0) -> tuple[int, int]:
        """Write one record; return its partition and offset."""
        partition = record.partition
        if partition < 0:
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
    """Twin of `KafkaPositionStore`; it can be told to fail."""

    def __init__(self) -> None:
        self.positions: dict[Part, Position] = {}
        self.failures: list[tuple[Literal["before", "after"], str]] = []

    def load(self, parts: Sequence[Part]) -> Mapping[Part, Position]:
        """See `PositionStore.load`."""
        return {part: self.positions[part] for part in parts if part in self.positions}

    def begin(self, block: BlockName, at_ms: int) -> None:
        """See `PositionStore.begin`."""
        self._fail_if_told("before", "position")
        for span in block.spans:
            named = block if span.part == block.leader else None
            begun = Begun(block.leader, at_ms, named)
            self.positions[span.part] = Position(span.first_offset, begun)
        self._fail_if_told("after", "position")

    def finish(self, block: BlockName) -> None:
        """See `PositionStore.finish`."""
        self._fail_if_told("before", "end")
        for span in block.spans:
            self.positions[span.part] = Position(span.last_offset + 1)
        self._fail_if_told("after", "end")

    def _fail_if_told(self, when: Literal["before", "after"], name: str) -> None:
        if (when, name) in self.failures:
            self.failures.remove((when, name))
            raise RetryableError(f"the memory positions were told to fail {when} the {name}")


class MemorySpanReader:
    """Twin of `KafkaSpanReader`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def read(self, spans: Sequence[Span]) -> Sequence[PolledBatch]:
        """See `SpanReader.read`."""
        found = [
            (span, self._log.partitions[span.part][span.first_offset : span.last_offset + 1])
            for span in spans
        ]
        return [PolledBatch.of(*span.part, records) for span, records in found if records]


class MemoryClaims:
    """Twin of `PostgresClaims`: the test says what is held."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.epochs: dict[Part, int] = dict.fromkeys(parts, 1)
        self.asked: set[Part] = set()
        self.sure = True
        self.is_broken = False  # All was held by another meanwhile; only asking finds that out.

    def held(self) -> Mapping[Part, int]:
        """See `Claims.held`."""
        return dict(self.epochs)

    def asked_back(self) -> Collection[Part]:
        """See `Claims.asked_back`."""
        return set(self.asked)

    def give_back(self, parts: Collection[Part]) -> None:
        """See `Claims.give_back`."""
        for part in parts:
            self.epochs.pop(part, None)
        self.asked.difference_update(parts)

    def is_sure(self) -> bool:
        """See `Claims.is_sure`."""
        return self.sure

    def confirm(self) -> bool:
        """See `Claims.confirm`."""
        if self.is_broken:
            self.is_broken = False
            self.epochs = {part: epoch + 1 for part, epoch in self.epochs.items()}
        return self.sure


def all_parts(topics: Iterable[Topic]) -> list[Part]:
    """Every partition of the topics as the registry has them."""
    return [(topic.name, number) for topic in topics for number in range(topic.partitions)]


class _MemoryPart(StatelessSourcePartition[PolledBatch]):
    def __init__(
        self, log: MemoryLog, claims: Claims, owner: PartOwner, batch_records: int
    ) -> None:
        self._log = log
        self._claims = claims
        self._owner = owner
        self._batch_records = batch_records
        self._next: dict[Part, tuple[int, int]] = {}  # Epoch and offset.

    def next_batch(self) -> list[PolledBatch]:
        asked = self._claims.asked_back()
        gone = [part for part in self._next if part in asked]
        held = self._claims.held()
        gone += [part for part, (epoch, _) in self._next.items() if held.get(part) != epoch]
        if gone:
            for part in set(gone):
                del self._next[part]
            self._owner.end_parts(sorted(set(gone)))
        self._claims.give_back(asked)
        held = self._claims.held()
        new = [part for part in held if part not in self._next]
        if new:
            for part, offset in self._owner.begin_parts(new).items():
                self._next[part] = (held[part], max(0, offset))
        for part, (epoch, offset) in sorted(self._next.items()):
            records = self._log.partitions[part][offset : offset + self._batch_records]
            if records:
                self._next[part] = (epoch, offset + len(records))
                return [PolledBatch.of(*part, records, epoch=epoch)]
        raise StopIteration

    def close(self) -> None:
        self._owner.end_parts(list(self._next))


class _NoPart(StatelessSourcePartition[PolledBatch]):
    def next_batch(self) -> list[PolledBatch]:
        raise StopIteration


class MemorySource(DynamicSource[PolledBatch]):
    """Twin of `KafkaSource` that ends when all is read of the partitions that are ready."""

    def __init__(
        self, log: MemoryLog, claims: Claims, owner: PartOwner, *, batch_records: int = 500
    ) -> None:
        self._log = log
        self._claims = claims
        self._owner = owner
        self._batch_records = batch_records

    def build(
        self, _step_id: str, worker_index: int, _worker_count: int
    ) -> StatelessSourcePartition[PolledBatch]:
        """The reading part for the first worker."""
        if worker_index != 0:
            return _NoPart()
        return _MemoryPart(self._log, self._claims, self._owner, self._batch_records)
