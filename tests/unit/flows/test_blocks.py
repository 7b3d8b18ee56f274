"""Cutting a partition's records into blocks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.blocks import Block, BlockCutter, OpenBlock


@dataclass(frozen=True)
class Run:
    """A chunk of consecutive records without content."""

    first_offset: int
    last_offset: int
    row_count: int
    byte_count: int = 1


def feed(
    cutter: BlockCutter[Run], runs: list[Run], times: list[int]
) -> tuple[OpenBlock[Run] | None, list[Block[Run]]]:
    """Give runs at times; wake the cutter whenever its deadline has passed."""
    state: OpenBlock[Run] | None = None
    blocks: list[Block[Run]] = []
    for run, now_ms in zip(runs, times, strict=True):
        if state is not None:
            wake_at_ms = cutter.wake_at_ms(state)
            if wake_at_ms is not None and wake_at_ms <= now_ms:
                state, made = cutter.on_time(state, now_ms)
                blocks += made
        state, made = cutter.on_event(state, run, now_ms)
        blocks += made
    return state, blocks


def ends(blocks: list[Block[Run]]) -> list[tuple[int, int]]:
    """First and last offset of each block."""
    return [(block.chunks[0].first_offset, block.chunks[-1].last_offset) for block in blocks]


def test_block_ends_when_it_has_enough_rows() -> None:
    """Rows are counted over chunks; the chunk that reaches the bound is the last of its block."""
    cutter: BlockCutter[Run] = BlockCutter(rows_max=10, age_ms_max=1_000)
    state, blocks = feed(cutter, [Run(0, 0, 4), Run(1, 1, 4), Run(2, 2, 4), Run(3, 3, 1)], [0] * 4)
    assert ends(blocks) == [(0, 2)]
    assert state is not None
    assert state.row_count == 1


def test_block_ends_when_its_first_chunk_is_old() -> None:
    """The age is that of the first chunk, and an exact deadline counts."""
    cutter: BlockCutter[Run] = BlockCutter(rows_max=100, age_ms_max=1_000)
    state, blocks = feed(cutter, [Run(0, 4, 5), Run(5, 9, 5), Run(10, 10, 1)], [0, 999, 1_000])
    assert ends(blocks) == [(0, 9)]
    assert state is not None
    assert cutter.wake_at_ms(state) == 2_000


def test_block_ends_when_it_has_enough_bytes() -> None:
    """Whatever has no rows is bounded, too."""
    cutter: BlockCutter[Run] = BlockCutter(bytes_max=10)
    state, blocks = feed(cutter, [Run(0, 0, 0, 6), Run(1, 1, 0, 6), Run(2, 2, 0, 6)], [0] * 3)
    assert ends(blocks) == [(0, 1)]
    assert state is not None


def test_bounds_are_checked() -> None:
    """A cutter that could never or always cut is refused."""
    with pytest.raises(ValueError, match="room"):
        BlockCutter(rows_max=0)


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 5), st.integers(0, 9), st.integers(0, 700)), min_size=1
    ),
    rows_max=st.integers(1, 30),
)
@settings(deadline=None)
def test_blocks_cover_the_log_without_gap_or_overlap(
    sizes: list[tuple[int, int, int]], rows_max: int
) -> None:
    """Whatever the sizes and pauses, blocks and the open rest are the input, in order."""
    cutter: BlockCutter[Run] = BlockCutter(rows_max=rows_max, age_ms_max=1_000)
    runs, times, offset, now_ms = [], [], 0, 0
    for records, rows, pause_ms in sizes:
        runs.append(Run(offset, offset + records - 1, rows))
        offset += records
        now_ms += pause_ms
        times.append(now_ms)
    state, blocks = feed(cutter, runs, times)
    rest = state.chunks if state is not None else ()
    assert [run for block in blocks for run in block.chunks] + list(rest) == runs
    found = ends(blocks)
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(found))
