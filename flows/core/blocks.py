"""Cutting a partition's records into the blocks that are written as one.

In: chunks of consecutive records of one partition (anything with offsets, a size and an optional
pin). Out: `Block`s: consecutive, gapless in the order of the log, each a run of chunks.
A block ends when it has `rows_max` rows, when its first chunk is `age_ms_max` old, or, for a block
that was begun before a restart, exactly where it ended then (`pinned_last`): a repeated write must
have the bounds, and so the deduplication token, of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Chunk(Protocol):
    """What the cutter needs to know of a run of consecutive records of one partition."""

    @property
    def first_offset(self) -> int:
        """Offset of the first record."""

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""

    @property
    def row_count(self) -> int:
        """Rows it will add to the store."""

    @property
    def pinned_last(self) -> int | None:
        """End of the earlier block it belongs to, if it is read again."""


ChunkT = TypeVar("ChunkT", bound=Chunk)


@dataclass(frozen=True, slots=True)
class Block(Generic[ChunkT]):
    """Chunks that are written as one, in offset order; never empty."""

    chunks: tuple[ChunkT, ...]

    @property
    def first_offset(self) -> int:
        """Offset of the first record."""
        return self.chunks[0].first_offset

    @property
    def last_offset(self) -> int:
        """Offset of the last record; for a block read again, its end of then."""
        pinned = self.chunks[-1].pinned_last
        return self.chunks[-1].last_offset if pinned is None else pinned

    @property
    def row_count(self) -> int:
        """Rows of all chunks."""
        return sum(chunk.row_count for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class OpenBlock(Generic[ChunkT]):
    """State of one partition: chunks waiting, their rows, and when the first of them came."""

    chunks: tuple[ChunkT, ...]
    row_count: int
    opened_at_ms: int


@dataclass(frozen=True, slots=True)
class BlockCutter(Generic[ChunkT]):
    """A Machine keyed by partition; state is at most one open block.

    Source of the defaults: ClickHouse asks for at least 1,000, better 10,000 to 100,000 rows an
    insert and about one insert a second a table; visible within a second asks for the short age.
    """

    rows_max: int = 20_000
    age_ms_max: int = 1_000

    def __post_init__(self) -> None:
        if self.rows_max < 1 or self.age_ms_max < 0:
            raise ValueError("a block needs room for a row and a non-negative age")

    def on_event(
        self, state: OpenBlock[ChunkT] | None, event: ChunkT, now_ms: int
    ) -> tuple[OpenBlock[ChunkT] | None, Sequence[Block[ChunkT]]]:
        """Add a chunk; cut before it, after it, or not."""
        blocks: list[Block[ChunkT]] = []
        if state is not None and state.chunks[-1].pinned_last != event.pinned_last:
            # The block begun before the restart ended without a record at its last offset.
            blocks.append(Block(state.chunks))
            state = None
        if state is None:
            state = OpenBlock((event,), event.row_count, now_ms)
        else:
            state = OpenBlock(
                (*state.chunks, event), state.row_count + event.row_count, state.opened_at_ms
            )
        if self._is_complete(state, now_ms):
            blocks.append(Block(state.chunks))
            state = None
        return state, blocks

    def on_time(
        self, state: OpenBlock[ChunkT], now_ms: int
    ) -> tuple[OpenBlock[ChunkT] | None, Sequence[Block[ChunkT]]]:
        """Cut the open block when it is old enough."""
        if self._is_complete(state, now_ms):
            return None, [Block(state.chunks)]
        return state, []

    def wake_at_ms(self, state: OpenBlock[ChunkT]) -> int | None:
        """The open block's age limit; a pinned block waits for its end, however long."""
        if state.chunks[-1].pinned_last is not None:
            return None
        return state.opened_at_ms + self.age_ms_max

    def _is_complete(self, state: OpenBlock[ChunkT], now_ms: int) -> bool:
        last = state.chunks[-1]
        if last.pinned_last is not None:
            return last.last_offset >= last.pinned_last
        return state.row_count >= self.rows_max or now_ms >= state.opened_at_ms + self.age_ms_max
