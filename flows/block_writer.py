"""Writing one block of the raw topic: the order of effects that makes it exactly once.

In: a `Block` of polled records of any partitions of this process. Effects, in this order, each
repeatable:

1. positions: "a block of these spans is begun", for all its partitions in one commit (the intent:
   after a crash the very same block is written again, and so carries the same token);
2. dead letters of records that cannot be read, acknowledged by Kafka;
3. event rows without duplicates and erased visitors, with the block's token;
4. ledger entries, with the block's token: the block is complete;
5. positions after the block;
6. live figures, which may be lost.

Records of partitions that have left this process are put aside before step 1: nothing of them was
begun, and their next holder reads them again. A claim that is confirmed after step 1, by asking,
was there while the intent was noted: whoever takes over finds it, and writes under the same token.

Steps 3 and 4 happen inside the gate that erasures close (`flows.gated`).

A trouble of the world is retried with growing pauses for a bounded time, then raised: the process
ends, and the block is written again from step 1 by the next one (`flows.part_starts`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
import pyarrow as pa

from connectors.claims import Claims
from connectors.errors import FatalError
from connectors.event_store import EventStore, LedgerEntry, Place
from connectors.kafka_log import (
    SPANS_MAX,
    BlockName,
    Part,
    PositionStore,
    RecordProducer,
    Span,
)
from connectors.live_counters import LiveCounters
from connectors.telemetry import get_logger
from connectors.write_gate import OpenGate, WriteGate
from flows.core.blocks import Block
from flows.core.event_rows import EnrichedChunk, block_table
from flows.core.ledger import LedgerKey, block_ledger
from flows.core.suppression import late_events, without_suppressed
from flows.dead_letters import dead_letter
from flows.gated import inside, note_lost, sure_inside
from flows.held_positions import be_sure
from flows.live_figures import LiveFigures
from flows.new_events import NewEvents
from flows.retries import RetryPolicy, try_effect
from flows.streams import count_outcome
from flows.write_figures import (
    BLOCK_AGE,
    BLOCK_ROWS,
    BLOCK_SECONDS,
    DEAD_LETTERS,
    LAST_COMMIT,
    WRITING_SINCE,
)
from schemas.erasure import Erased, LateRows
from schemas.log import PolledBatch
from schemas.reasons import Stage

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class _Rows:
    """One span of a block: its chunks, which of their rows are new, and which were left out."""

    span: Span
    chunks: Sequence[EnrichedChunk]
    kept: Sequence[Sequence[bool]]
    suppressed: Sequence[Set[int]]

    @property
    def left_out(self) -> _Rows:
        """Those of erased visitors, as if they were new, and nothing else."""
        kept = [
            [row in rows for row in range(chunk.row_count)]
            for chunk, rows in zip(self.chunks, self.suppressed, strict=True)
        ]
        return _Rows(self.span, self.chunks, kept, [frozenset()] * len(kept))

    def with_stored(self, places: Set[Place]) -> _Rows:
        """The same, but that rows left out which are at one of these places are kept."""
        kept: list[Sequence[bool]] = []
        suppressed: list[Set[int]] = []
        for chunk, keep, rows in zip(self.chunks, self.kept, self.suppressed, strict=True):
            found = _places(chunk.table) if rows else []
            stored = {row for row in rows if found[row] in places}
            kept.append([flag or row in stored for row, flag in enumerate(keep)])
            suppressed.append(rows - stored)
        return _Rows(self.span, self.chunks, kept, suppressed)


class BlockWriter:
    """Writes blocks one after the other; one writer per partition at any time."""

    def __init__(
        self,
        store: EventStore,
        positions: PositionStore,
        dead_letters: RecordProducer,
        live: LiveCounters,
        claims: Claims,
        to_chunks: Callable[[Sequence[PolledBatch]], Sequence[EnrichedChunk]],
        *,
        gate: WriteGate | None = None,
        retry: RetryPolicy | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._positions = positions
        self._dead_letters = dead_letters
        self._claims = claims
        self._to_chunks = to_chunks
        self._gate = gate or OpenGate()
        self._retry = retry or RetryPolicy()
        self._is_stopping = is_stopping
        self._clock_ms = clock_ms
        self._new_events = NewEvents(store)
        self._figures = LiveFigures(store, live)

    def write(self, block: Block[PolledBatch]) -> None:
        """Make all effects of a block, in order.

        Raises:
            RetryableError: the world stayed away for too long, or the flow is stopping.
            FatalError: trying again cannot help, or the claims were lost just now.
        """
        WRITING_SINCE.labels("storage").set_to_current_time()
        self._be_sure()
        held = self._claims.held()
        polled = [part for part in block.chunks if held.get(_part_of(part)) == part.epoch]
        polled.sort(key=_part_of)  # Stable: in order of the log within a partition.
        chunks = self._to_chunks(polled)
        spans = [_span_of(list(group)) for _, group in groupby(chunks, _part_of)]
        for start in range(0, len(spans), SPANS_MAX):
            name = BlockName(tuple(spans[start : start + SPANS_MAX]))
            parts = {span.part for span in name.spans}
            own = [chunk for chunk in chunks if _part_of(chunk) in parts]
            with BLOCK_SECONDS.labels("storage").time():
                self._write(name, own, held)
            BLOCK_ROWS.labels("storage").observe(sum(chunk.row_count for chunk in own))
        WRITING_SINCE.labels("storage").set(0)

    def _write(
        self, name: BlockName, chunks: Sequence[EnrichedChunk], held: Mapping[Part, int]
    ) -> None:
        self._try("position", lambda: self._positions.begin(name, self._clock_ms()))
        self._be_sure()
        if not self._is_ours(name, held):
            raise FatalError("the claims were lost while a block was begun; nothing is written")
        kept = self._new(name, chunks)

        def put(erased: Erased) -> Sequence[_Rows]:
            rows = _rows(name, chunks, kept, erased)
            self._insert(_table_of(rows), name.token)
            self._complete(rows, name.token)
            return rows

        rows = self._inside(put)
        if self._is_ours(name, held):  # Else the next holder may have noted more by now.
            self._try("position", lambda: self._positions.finish(name))
        for part in rows:
            self._figures.put(part.chunks, part.kept, self._clock_ms())

    def repeat(self, name: BlockName, polled: Sequence[PolledBatch], begun_ms: int | None) -> None:
        """Write a block that was begun by a process that could not finish it.

        While the block's token is remembered the same insert again is exact, in the table and in
        every view, whatever became of the first one and even if that is still running. Later, and
        without `begun_ms` (then the name is not that of the first insert), only what is missing is
        written: views are then right unless ClickHouse itself died in the middle of that insert.

        Raises:
            RetryableError: the world stayed away for too long, or the flow is stopping.
        """
        self._be_sure()
        chunks = self._to_chunks(sorted(polled, key=_part_of))
        kept = self._new(name, chunks)
        rows = self._inside(lambda erased: self._repeat(name, chunks, kept, begun_ms, erased))
        self._try("position", lambda: self._positions.finish(name))
        get_logger().info("begun_block_finished", spans=len(name.spans), rows=len(rows))

    def _repeat(
        self,
        name: BlockName,
        chunks: Sequence[EnrichedChunk],
        kept: Sequence[Sequence[bool]],
        begun_ms: int | None,
        erased: Erased,
    ) -> Sequence[_Rows]:
        rows: Sequence[_Rows] = _rows(name, chunks, kept, erased)
        token = name.token
        if rows:
            table = _table_of(rows)
            if not self._try("lookup", lambda: self._is_remembered(begun_ms)):
                present = self._try("lookup", lambda: self._store.stored_places(name, table))
                parts = [part.span.part for part in rows]
                ends = self._try("lookup", lambda: self._store.stored_ends(parts))
                rows = [p for p in rows if ends.get(p.span.part, 0) <= p.span.last_offset]
                table = _without(table, present)
                token = f"{name.token} after {len(present)} rows, {len(rows)} spans"
            self._insert(table, token)
            rows = self._with_late(name, rows, erased)
            self._complete(rows, token)
        return rows

    def review(self, name: BlockName, read: Callable[[], Sequence[PolledBatch]]) -> None:
        """Look again at a block that is complete, but whose writer did not say that it was done.

        It may have died before it could ask whether an erasure had passed while it wrote.

        Raises:
            RetryableError: the world stayed away for too long, or the flow is stopping.
            FatalError: as `read`.
        """

        def look(erased: Erased) -> Sequence[_Rows]:
            if not erased:
                return ()
            chunks = self._to_chunks(sorted(read(), key=_part_of))
            every = [[True] * chunk.row_count for chunk in chunks]
            return self._with_late(name, _rows(name, chunks, every, erased), erased)

        self._inside(look)

    def _with_late(self, name: BlockName, rows: Sequence[_Rows], erased: Erased) -> Sequence[_Rows]:
        """The same; what is left out of them, but stored all the same, is kept, and to be erased.

        Its writer stood still while an erasure passed, inserted it, and died before it could know.
        """
        left_out = _table_of([part.left_out for part in rows])
        if not left_out.num_rows:
            return rows
        stored = self._try("lookup", lambda: self._store.stored_places(name, left_out))
        if stored.isdisjoint(_places(left_out)):
            return rows
        rows = [part.with_stored(stored) for part in rows]
        late = _late(rows, erased)
        self._try("late", lambda: self._gate.erase_late(late))
        note_lost("storage", "next")
        return rows

    def _inside(self, work: Callable[[Erased], Sequence[_Rows]]) -> Sequence[_Rows]:
        """Nobody erases rows or counts them anew meanwhile."""
        return inside("storage", self._gate, work, _late, self._retry, self._is_stopping)

    def _insert(self, table: pa.Table, token: str) -> None:
        def insert() -> None:
            sure_inside(self._gate)
            self._store.insert_events(table, token)

        self._try("events", insert)

    def _is_remembered(self, begun_ms: int | None) -> bool:
        return begun_ms is not None and self._store.is_remembered(begun_ms)

    def forget(self, parts: Sequence[Part]) -> None:
        """These partitions have left: nothing of them is remembered."""
        self._new_events.forget()
        self._figures.forget(parts)

    def _is_ours(self, name: BlockName, held: Mapping[Part, int]) -> bool:
        """Whether the partitions of a block are still held as they were."""
        now = self._claims.held()
        is_same = all(now.get(span.part) == held[span.part] for span in name.spans)
        return is_same and self._claims.is_sure()

    def _be_sure(self) -> None:
        self._try("claims", lambda: be_sure(self._claims))

    def _new(self, name: BlockName, chunks: Sequence[EnrichedChunk]) -> Sequence[Sequence[bool]]:
        """Dead letters out; which rows are new."""
        letters = [
            dead_letter(_part_of(chunk), poison, Stage.STORAGE, self._clock_ms())
            for chunk in chunks
            for poison in chunk.poisons
        ]
        if letters:
            self._try("dead_letters", lambda: self._dead_letters.produce_all(letters))
            DEAD_LETTERS.labels("storage").inc(len(letters))
        return self._try("lookup", lambda: self._new_events.mark(name, chunks))

    def _complete(self, rows: Sequence[_Rows], token: str) -> None:
        entries: list[LedgerEntry] = []
        outcomes: Counter[LedgerKey] = Counter()
        for part in rows:
            ledger = block_ledger(part.chunks, part.kept, part.suppressed)
            outcomes.update(ledger)
            entries += [_entry(part.span, key, events) for key, events in sorted(ledger.items())]
        if entries:
            self._try("ledger", lambda: self._store.insert_ledger(entries, token))
        self._new_events.written()
        for key, events in outcomes.items():
            count_outcome("storage", key.outcome.value, key.reason, events)
        LAST_COMMIT.labels("storage").set_to_current_time()
        received = [r.received_at_ms for part in rows for c in part.chunks for r in c.records]
        if received:
            BLOCK_AGE.labels("storage").set(max(0, (self._clock_ms() - max(received)) / 1000))

    def _try(self, effect: str, call: Callable[[], ResultT]) -> ResultT:
        return try_effect("storage", effect, call, self._retry, self._is_stopping)


def _part_of(chunk: EnrichedChunk | PolledBatch) -> Part:
    return chunk.topic, chunk.partition


def _span_of(chunks: Sequence[EnrichedChunk]) -> Span:
    return Span(*_part_of(chunks[0]), chunks[0].first_offset, chunks[-1].last_offset)


def _rows(
    name: BlockName,
    chunks: Sequence[EnrichedChunk],
    kept: Sequence[Sequence[bool]],
    erased: Erased,
) -> list[_Rows]:
    """Duplicates and erased visitors dropped; what is left, span by span."""
    flags, left_out = without_suppressed(chunks, kept, erased)
    pairs = list(zip(chunks, flags, left_out, strict=True))
    found = []
    for span in name.spans:
        own = [pair for pair in pairs if _part_of(pair[0]) == span.part]
        if own:
            found.append(_Rows(span, *(list(column) for column in zip(*own, strict=True))))
    return found


def _late(rows: Sequence[_Rows], erased: Erased) -> Sequence[LateRows]:
    chunks = [chunk for part in rows for chunk in part.chunks]
    return late_events(chunks, [keep for part in rows for keep in part.kept], erased)


def _table_of(rows: Sequence[_Rows]) -> pa.Table:
    """The new rows of all spans, with the last offset of their span."""
    table = block_table([chunk for part in rows for chunk in part.chunks])
    lasts = np.array([part.span.last_offset for part in rows], np.uint64)
    sizes = [sum(chunk.row_count for chunk in part.chunks) for part in rows]
    table = table.append_column("source_block_last", pa.array(np.repeat(lasts, sizes)))
    flags = [flag for part in rows for keep in part.kept for flag in keep]
    return table if all(flags) else table.filter(pa.array(flags, pa.bool_()))


def _without(table: pa.Table, places: Set[Place]) -> pa.Table:
    """The rows that are not at one of these places."""
    return table.filter(pa.array([place not in places for place in _places(table)], pa.bool_()))


def _places(table: pa.Table) -> list[Place]:
    """Where the record of each row is, and which of its events it is."""
    names = ("source_topic", "source_partition", "source_offset", "source_index")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def _entry(span: Span, key: LedgerKey, events: int) -> LedgerEntry:
    return LedgerEntry(span, key.project_id, key.minute_ms, key.outcome.value, key.reason, events)
