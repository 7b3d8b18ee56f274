"""Where a flow is in a Kafka topic, and records to produce.

These shapes are shared by the real connectors (`connectors.kafka`) and their in-memory twins
(`connectors.memory_kafka`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


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

    def save(self, topic: str, partition: int, position: Position, *, wait: bool = True) -> None:
        """Store a position; durable when it returns, unless told not to wait.

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
