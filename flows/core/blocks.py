"""Cutting what a process reads into the blocks that are written as one.

In: chunks of consecutive records, of any partitions. Out: `Block`s: a run of chunks in the order
they came. A block ends when it has `rows_max` rows or `bytes_max` bytes, or when its first chunk is
`age_ms_max` old. All partitions of a process share its blocks: ClickHouse pays for each insert, so
twelve small ones cost many times what one costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Chunk(Protocol):
    """What the cutter needs to know of a run of records."""

    @property
    def row_count(self) -> int:
        """Rows it will add to the store."""

    @property
    def byte_count(self) -> int:
        """Memory it takes, about."""


ChunkT = TypeVar("ChunkT", bound=Chunk)


@dataclass(frozen=True, slots=True)
class Block(Generic[ChunkT]):
    """Chunks that are written as one; never empty."""

    chunks: tuple[ChunkT, ...]


@dataclass(frozen=True, slots=True)
class OpenBlock(Generic[ChunkT]):
    """Chunks waiting, their rows and bytes, and when the first of them came."""

    chunks: tuple[ChunkT, ...]
    row_count: int
    byte_count: int
    opened_at_ms: int


@dataclass(frozen=True, slots=True)
class BlockCutter(Generic[ChunkT]):
    """A Machine with one key for all of a process; state is at most one open block.

    Source of the defaults: ClickHouse asks for at least 1,000, better 10,000 to 100,000 rows an
    insert and about one insert a second a table; visible within a second asks for the short age.
    """

    rows_max: int = 20_000
    age_ms_max: int = 1_000
    bytes_max: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.rows_max < 1 or self.age_ms_max < 0 or self.bytes_max < 1:
            raise ValueError("a block needs room for a row and a non-negative age")

    def on_event(
        self, state: OpenBlock[ChunkT] | None, event: ChunkT, now_ms: int
    ) -> tuple[OpenBlock[ChunkT] | None, Sequence[Block[ChunkT]]]:
        """Add a chunk; cut after it or not."""
        if state is None:
            state = OpenBlock((event,), event.row_count, event.byte_count, now_ms)
        else:
            state = OpenBlock(
                (*state.chunks, event),
                state.row_count + event.row_count,
                state.byte_count + event.byte_count,
                state.opened_at_ms,
            )
        return self.on_time(state, now_ms)

    def on_time(
        self, state: OpenBlock[ChunkT], now_ms: int
    ) -> tuple[OpenBlock[ChunkT] | None, Sequence[Block[ChunkT]]]:
        """Cut the open block when it is full or old enough."""
        if (
            state.row_count >= self.rows_max
            or state.byte_count >= self.bytes_max
            or now_ms >= state.opened_at_ms + self.age_ms_max
        ):
            return None, [Block(state.chunks)]
        return state, []

    def wake_at_ms(self, state: OpenBlock[ChunkT]) -> int | None:
        """The open block's age limit."""
        return state.opened_at_ms + self.age_ms_max
