"""Where a flow is in its Kafka topics, and records to produce.

These shapes are shared by the real connectors (`connectors.kafka`) and their in-memory twins
(`connectors.memory_kafka`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from schemas.log import PolledBatch

Part = tuple[str, int]  # (topic, partition)
EARLIEST = -2  # As an offset: the first record that there is.
# The spans of a block must fit into the metadata of one commit, 4 KiB unless the broker is told.
SPANS_MAX = 64


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Consecutive records of one partition, both ends included."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int

    @property
    def part(self) -> Part:
        """Where the records are."""
        return self.topic, self.partition

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.first_offset}-{self.last_offset}"


@dataclass(frozen=True, slots=True)
class BlockName:
    """The records that one write covers, one span a partition, in order.

    A function of the data's place in the log: the token made of it names the write for ever.
    """

    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        assert 0 < len(self.spans) <= SPANS_MAX
        assert list(self.spans) == sorted(self.spans)

    @property
    def leader(self) -> Part:
        """The partition whose owner finishes the block if its writer could not."""
        return self.spans[0].part

    @property
    def token(self) -> str:
        """The deduplication token."""
        if len(self.spans) == 1:
            return str(self.spans[0])
        return hashlib.sha256(" ".join(map(str, self.spans)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Begun:
    """A note that a block was begun: it may be stored in whole, in part or not at all.

    The whole name is noted at the block's leader only; the other partitions name the leader.
    """

    leader: Part
    at_ms: int
    block: BlockName | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Everything before `next_offset` is stored; `begun` tells of the block that starts there."""

    next_offset: int
    begun: Begun | None = None


class OutRecord(NamedTuple):
    """One record to produce. `key` decides the partition, unless one is named."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = -1


class PositionStore(Protocol):
    """Keeps positions of one consumer group durably, where lag tools look for them."""

    def load(self, parts: Sequence[Part]) -> Mapping[Part, Position]:
        """Positions known for these partitions; a partition never processed is absent.

        Raises:
            RetryableError: the store cannot be reached.
        """

    def begin(self, block: BlockName, at_ms: int) -> None:
        """Note that a block is begun, all of it or nothing of it; durable when it returns.

        Raises:
            RetryableError: the store cannot be reached.
        """

    def finish(self, block: BlockName) -> None:
        """Note that a block is stored; durable when it returns.

        Raises:
            RetryableError: the store cannot be reached.
        """


class SpanReader(Protocol):
    """Reads records again, apart from what a source is reading."""

    def read(self, spans: Sequence[Span]) -> Sequence[PolledBatch]:
        """All records of the spans that there are, in offset order within a partition.

        Raises:
            RetryableError: the broker cannot be reached.
            FatalError: the beginning of a span has left the topic's retention.
        """


class PartOwner(Protocol):
    """What a flow must do when a partition comes to its process or leaves it."""

    def begin_parts(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """Where to read on, or `EARLIEST`; a partition that is not ready yet is absent: ask again.

        May take as long as writing a block does.
        """

    def end_parts(self, parts: Sequence[Part]) -> None:
        """These partitions are no longer read; nothing of them may be remembered."""


class RecordProducer(Protocol):
    """Writes records and waits until each is acknowledged by all in-sync replicas."""

    def produce_all(self, records: Sequence[OutRecord]) -> None:
        """Return when every record is acknowledged, in order within a key.

        Raises:
            RetryableError: at least one record was not acknowledged in time; any subset may have
                been written.
            FatalError: a record can never be written (too large, unknown topic).
        """
