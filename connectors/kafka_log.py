"""What a flow sees of a Kafka topic: polled batches, positions, and records to produce.

These shapes are shared by the real connectors (`connectors.kafka`) and their in-memory twins
(`connectors.memory_kafka`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PolledBatch:
    """Consecutive records of one partition, in offset order; never empty.

    `event_counts[i]` is what the producer said in the header `events`: how many events the record
    at `offsets[i]` stands for, readable even if the record itself is not.
    `pinned_last` is set while a block that was begun before a restart is read again: all records
    of this batch belong to the block that ends at that offset.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    values: Sequence[bytes]
    event_counts: Sequence[int]
    pinned_last: int | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition is durably processed.

    Everything before `next_offset` is stored. If `block_last` is set, a block from `next_offset`
    to `block_last` (inclusive) was begun: it may be stored in whole, in part or not at all, and
    must be written again with exactly these bounds.
    """

    next_offset: int
    block_last: int | None = None


@dataclass(frozen=True, slots=True)
class OutRecord:
    """One record to produce. `key` decides the partition."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class PositionStore(Protocol):
    """Keeps positions of one consumer group durably, where lag tools look for them."""

    def load(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Position]:
        """Positions known for these partitions; a partition never processed is absent.

        Raises:
            RetryableError: the store cannot be reached.
        """

    def save(self, topic: str, partition: int, position: Position) -> None:
        """Store a position; durable when it returns.

        Raises:
            RetryableError: the store cannot be reached.
        """


class RecordProducer(Protocol):
    """Writes records and waits until each is acknowledged by all in-sync replicas."""

    def produce_all(self, records: Sequence[OutRecord]) -> None:
        """Return when every record is acknowledged, in order within a key.

        Raises:
            RetryableError: at least one record was not acknowledged in time; any subset may have
                been written.
            FatalError: a record can never be written (too large, unknown topic).
        """
