"""Writing one block of results: rows first, then the positions.

In: a `Block` of chunks of any partitions of this process. Effects, in this order, each repeatable:

1. dead letters of records that cannot be rows, acknowledged by Kafka;
2. rows of `sessions`, of each session the highest revision of the block, of erased ones none;
3. rows of `insights`;
4. positions after the block, of partitions that are still held.

A process that dies in between writes the rows again, perhaps cut into other blocks: both tables
keep one row of a key, so that changes nothing. Chunks of partitions that have left this process are
put aside: their next holder reads them again. What is left out of the first block of a partition
may have been written by the holder before: it is named to who erases.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from connectors.claims import Claims
from connectors.kafka_log import SPANS_MAX, BlockName, Part, PositionStore, RecordProducer, Span
from connectors.project_documents import Documents
from connectors.result_store import ResultStore
from connectors.write_gate import OpenGate, WriteGate
from flows.core.blocks import Block
from flows.core.result_columns import insight_table, session_table
from flows.core.results import ResultChunk, latest
from flows.core.suppression import late_results, without_erased
from flows.dead_letters import dead_letter
from flows.gated import inside, sure_inside
from flows.held_positions import finish_held
from flows.retries import RetryPolicy, try_effect
from flows.streams import count_outcome
from flows.write_figures import (
    BLOCK_ROWS,
    BLOCK_SECONDS,
    DEAD_LETTERS,
    LAST_COMMIT,
    WRITING_SINCE,
)
from schemas.erasure import Erased
from schemas.reasons import DropReason, Stage
from schemas.topics import SESSIONS

FLOW = "results"
SECTION = "retention"  # Of a project's settings.
DAYS_MAX = 730


class ResultWriter:
    """Writes blocks one after the other."""

    def __init__(
        self,
        store: ResultStore,
        positions: PositionStore,
        dead_letters: RecordProducer,
        claims: Claims,
        retention: Documents,
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
        self._retention = retention
        self._gate = gate or OpenGate()
        self._retry = retry or RetryPolicy()
        self._is_stopping = is_stopping
        self._clock_ms = clock_ms
        self._first_done: dict[Part, int] = {}  # The epoch of whose first block it is.

    def write(self, block: Block[ResultChunk]) -> None:
        """Make all effects of a block, in order.

        Raises:
            RetryableError: the world stayed away for too long, or the flow is stopping.
            FatalError: trying again cannot help.
        """
        held = self._claims.held()
        chunks = [chunk for chunk in block.chunks if held.get(_part_of(chunk)) == chunk.epoch]
        chunks.sort(key=_part_of)  # Stable: in order of the log within a partition.
        spans = [_span_of(list(group)) for _, group in groupby(chunks, _part_of)]
        WRITING_SINCE.labels(FLOW).set_to_current_time()
        with BLOCK_SECONDS.labels(FLOW).time():
            for start in range(0, len(spans), SPANS_MAX):
                name = BlockName(tuple(spans[start : start + SPANS_MAX]))
                parts = {span.part for span in name.spans}
                self._write(name, [chunk for chunk in chunks if _part_of(chunk) in parts])
        BLOCK_ROWS.labels(FLOW).observe(sum(chunk.row_count for chunk in chunks))
        WRITING_SINCE.labels(FLOW).set(0)

    def _write(self, name: BlockName, chunks: Sequence[ResultChunk]) -> None:
        letters = [
            dead_letter(_part_of(chunk), poison, _stage_of(chunk), self._clock_ms())
            for chunk in chunks
            for poison in chunk.poisons
        ]
        if letters:
            self._try("dead_letters", lambda: self._dead_letters.produce_all(letters))
            DEAD_LETTERS.labels(FLOW).inc(len(letters))

        # The holder before may have stood still while an erasure passed, inserted what the first
        # records are of, and died before it could know.
        firsts = [c for c in chunks if self._first_done.get(_part_of(c)) != c.epoch]

        def put(erased: Erased) -> Sequence[ResultChunk]:
            kept = [without_erased(chunk, erased) for chunk in chunks]
            self._insert(name, kept)
            late = late_results(firsts, erased)
            if late:
                self._try("late", lambda: self._gate.erase_late(late))
            return kept

        kept = inside(FLOW, self._gate, put, late_results, self._retry, self._is_stopping)
        epochs = {_part_of(chunk): chunk.epoch for chunk in chunks}
        self._try("position", lambda: finish_held(self._positions, self._claims, name, epochs))
        self._first_done.update(epochs)
        for chunk, left in zip(chunks, kept, strict=True):
            _count(chunk, left)
        LAST_COMMIT.labels(FLOW).set_to_current_time()

    def _insert(self, name: BlockName, chunks: Sequence[ResultChunk]) -> None:
        sessions = session_table(
            latest(row for chunk in chunks for row in chunk.sessions),
            partial(self._days, "sessions"),
        )
        insights = insight_table(
            [row for chunk in chunks for row in chunk.insights], partial(self._days, "insights")
        )

        def insert_sessions() -> None:
            sure_inside(self._gate)
            self._store.insert_sessions(sessions, name.token)

        def insert_insights() -> None:
            sure_inside(self._gate)
            self._store.insert_insights(insights, name.token)

        self._try("sessions", insert_sessions)
        self._try("insights", insert_insights)

    def _days(self, what: str, project_id: str) -> int:
        """As the project has set it; 0 if it has not, or not as a number of days."""
        document = self._retention.get(project_id)
        days = document.content.get(what) if document is not None else None
        return days if type(days) is int and 0 < days <= DAYS_MAX else 0

    def _try(self, effect: str, call: Callable[[], None]) -> None:
        try_effect(FLOW, effect, call, self._retry, self._is_stopping)


def _count(chunk: ResultChunk, left: ResultChunk) -> None:
    """Each record in one counter; revisions that a newer one took the place of are stored, too."""
    for reason, records in Counter(poison.reason for poison in chunk.poisons).items():
        count_outcome(FLOW, "rejected", reason.value, records)
    count_outcome(FLOW, "shown", "", len(chunk.previews))
    dropped = chunk.row_count - left.row_count
    count_outcome(FLOW, "dropped", DropReason.SUPPRESSED, dropped)
    stored = chunk.record_count - len(chunk.poisons) - len(chunk.previews) - dropped
    count_outcome(FLOW, "stored", "", stored)


def _stage_of(chunk: ResultChunk) -> Stage:
    return Stage.SESSIONS if chunk.topic == SESSIONS.name else Stage.INSIGHTS


def _part_of(chunk: ResultChunk) -> Part:
    return chunk.topic, chunk.partition


def _span_of(chunks: Sequence[ResultChunk]) -> Span:
    return Span(*_part_of(chunks[0]), chunks[0].first_offset, chunks[-1].last_offset)
