"""Consecutive records of one partition of a topic, as a flow gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self


class Fetched(NamedTuple):
    """One record as it came from the broker."""

    offset: int
    value: bytes
    key: bytes
    created_ms: int
    event_count: int


@dataclass(frozen=True, slots=True)
class PolledBatch:
    """Consecutive records of one partition, in offset order; never empty.

    `keys`, `created_ms` (the broker's time stamp) and `event_counts` (the header `events`: how many
    events the record stands for) can be read even where a value cannot.
    `epoch` numbers the holding of the partition under which the records were read.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    values: Sequence[bytes]
    keys: Sequence[bytes]
    created_ms: Sequence[int]
    event_counts: Sequence[int]
    epoch: int = 0

    @classmethod
    def of(cls, topic: str, partition: int, records: Sequence[Fetched], *, epoch: int = 0) -> Self:
        """Turn rows into columns; `records` is not empty."""
        offsets, values, keys, created_ms, event_counts = zip(*records, strict=True)
        return cls(topic, partition, offsets, values, keys, created_ms, event_counts, epoch)

    @property
    def row_count(self) -> int:
        """Events that the records say they stand for; one each at least."""
        return sum([max(count, 1) for count in self.event_counts])

    @property
    def byte_count(self) -> int:
        """Bytes of all values."""
        return sum(map(len, self.values))
