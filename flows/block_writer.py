"""Writing one block of the raw topic: the order of effects that makes it exactly once.

In: a `Block` of enriched chunks. Effects, in this order, each repeatable:

1. position: "from `first` on, writing up to `last`" (the intent: after a crash the same block is
   cut again, and so carries the same token);
2. dead letters of records that cannot be read, acknowledged by Kafka;
3. event rows without duplicates, with the block's token;
4. ledger entries, with the block's token: the block is complete;
5. position after the block (for lag tools; not waited for, the next intent says it again);
6. live figures, which may be lost.

A trouble of the world is retried with growing pauses for a bounded time, then raised: the process
ends, and the block is written again from step 1 by the next one.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import pyarrow as pa
import stamina
from prometheus_client import Gauge

from connectors.errors import FatalError, RetryableError
from connectors.event_store import BlockBounds, EventStore, LedgerEntry
from connectors.kafka_log import OutRecord, Position, PositionStore, RecordProducer
from connectors.live_counters import LiveCounters
from connectors.telemetry import get_logger
from flows.core.blocks import Block
from flows.core.duplicates import SeenEvents
from flows.core.event_rows import EnrichedChunk, Poison
from flows.core.ledger import LedgerKey, block_ledger
from flows.live_figures import LiveFigures
from flows.streams import count_outcome
from schemas.reasons import Stage
from schemas.topics import EVENTS_REJECTED
from schemas.v1.pipeline_pb2 import RejectedRecord

ResultT = TypeVar("ResultT")
# An event is at most 7 days old when it is received, so a repetition of it is found within them.
REPEAT_DAYS = 8
# A letter holds the record and what is said of it, and must fit into a record itself.
PAYLOAD_BYTES_MAX = EVENTS_REJECTED.max_message_bytes - 8 * 1024
REJECTION_NAMESPACE = uuid.UUID("8f3c2f0e-6d0b-5d4e-9a6f-0f4b7d1f6f53")

BLOCK_AGE = Gauge(
    "gosight_flow_event_lag_seconds", "Age, at storing, of the newest record stored.", ["flow"]
)
WRITING_SINCE = Gauge(
    "gosight_flow_writing_since_timestamp_seconds",
    "When the block that is being written was begun; 0 while none is.",
    ["flow"],
)
LAST_COMMIT = Gauge(
    "gosight_flow_last_commit_timestamp_seconds", "When a block was last completed.", ["flow"]
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long the world may be away before the process gives up and is started again."""

    seconds_max: float = 600.0
    wait_s_max: float = 2.0


class BlockWriter:
    """Writes blocks one after the other; one writer per partition at any time."""

    def __init__(
        self,
        store: EventStore,
        positions: PositionStore,
        dead_letters: RecordProducer,
        live: LiveCounters,
        *,
        retry: RetryPolicy | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
        may_write: Callable[[], bool] = lambda: True,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._positions = positions
        self._dead_letters = dead_letters
        self._figures = LiveFigures(store, live)
        self._retry = retry or RetryPolicy()
        self._is_stopping = is_stopping
        self._may_write = may_write
        self._clock_ms = clock_ms
        self._seen = SeenEvents()

    def write(self, block: Block[EnrichedChunk]) -> None:
        """Make all effects of a block, in order.

        Raises:
            RetryableError: the world stayed away for too long, or the flow is stopping.
            FatalError: trying again cannot help, or another process writes this partition now.
        """
        if not self._may_write():
            raise FatalError("another process took the lease of this partition; nothing is written")
        WRITING_SINCE.labels("storage").set_to_current_time()
        first = block.chunks[0]
        bounds = BlockBounds(first.topic, first.partition, block.first_offset, block.last_offset)
        position = Position(bounds.first_offset, bounds.last_offset)
        self._try("position", lambda: self._positions.save(first.topic, first.partition, position))
        letters = [_dead_letter(bounds, poison, self._clock_ms()) for poison in _poisons(block)]
        if letters:
            self._try("dead_letters", lambda: self._dead_letters.produce_all(letters))
        kept = self._new_rows(block, bounds)
        rows = _kept_rows(block, kept)
        self._try("events", lambda: self._store.insert_events(rows, bounds))
        ledger = block_ledger(block.chunks, kept)
        if ledger:
            entries = [_entry(key, events) for key, events in sorted(ledger.items())]
            self._try("ledger", lambda: self._store.insert_ledger(entries, bounds))
        after = Position(bounds.last_offset + 1)
        self._try(
            "position",
            lambda: self._positions.save(first.topic, first.partition, after, wait=False),
        )
        self._figures.put(block, kept, self._clock_ms())
        self._seen.forget_oldest()
        self._report(block, ledger)
        WRITING_SINCE.labels("storage").set(0)

    def _new_rows(self, block: Block[EnrichedChunk], bounds: BlockBounds) -> list[list[bool]]:
        sessions = self._seen.unknown_sessions(block.chunks)
        if sessions:
            since = _first_day(block) - timedelta(days=REPEAT_DAYS)
            stored = self._try(
                "lookup", lambda: self._store.stored_event_ids(sessions, since, bounds)
            )
            self._seen.load(stored, sessions)
        return self._seen.mark_new(block.chunks)

    def _try(self, effect: str, call: Callable[[], ResultT]) -> ResultT:
        def is_passing(error: Exception) -> bool:
            if not isinstance(error, RetryableError) or self._is_stopping():
                return False
            get_logger().warning("effect_retried", effect=effect, detail=str(error))
            return True

        for attempt in stamina.retry_context(
            on=is_passing,
            attempts=None,
            timeout=self._retry.seconds_max,
            wait_initial=min(0.1, self._retry.wait_s_max),
            wait_jitter=min(1.0, self._retry.wait_s_max),
            wait_max=self._retry.wait_s_max,
        ):
            with attempt:
                return call()
        raise AssertionError("a retry context ends with a result or an error")

    def _report(self, block: Block[EnrichedChunk], ledger: Counter[LedgerKey]) -> None:
        for key, events in ledger.items():
            count_outcome("storage", key.outcome.value, key.reason, events)
        LAST_COMMIT.labels("storage").set_to_current_time()
        newest = max(
            (record.received_at_ms for chunk in block.chunks for record in chunk.records),
            default=None,
        )
        if newest is not None:
            BLOCK_AGE.labels("storage").set(max(0, (self._clock_ms() - newest) / 1000))


def _poisons(block: Block[EnrichedChunk]) -> Iterable[Poison]:
    return (poison for chunk in block.chunks for poison in chunk.poisons)


def _first_day(block: Block[EnrichedChunk]) -> date:
    first_ms = min(record.minute_ms for chunk in block.chunks for record in chunk.records)
    return datetime.fromtimestamp(first_ms / 1000, UTC).date()


def _kept_rows(block: Block[EnrichedChunk], kept: Sequence[Sequence[bool]]) -> pa.Table:
    rows = pa.concat_tables([chunk.table for chunk in block.chunks])
    flags = [flag for keep in kept for flag in keep]
    return rows if all(flags) else rows.filter(pa.array(flags, pa.bool_()))


def _entry(key: LedgerKey, events: int) -> LedgerEntry:
    return LedgerEntry(key.project_id, key.minute_ms, key.outcome.value, key.reason, events)


def _dead_letter(bounds: BlockBounds, poison: Poison, now_ms: int) -> OutRecord:
    """The same poison always gives the same rejection id, however often it is met."""
    name = f"{bounds.topic}:{bounds.partition}:{poison.offset}"
    is_too_large = len(poison.value) > PAYLOAD_BYTES_MAX
    record = RejectedRecord(
        rejection_id=str(uuid.uuid5(REJECTION_NAMESPACE, name)),
        project_id=poison.project_id,
        stage=Stage.STORAGE,
        reason=poison.reason,
        detail=poison.detail[:500],
        received_at_ms=poison.created_ms,
        rejected_at_ms=now_ms,
        payload_kind="record",
        payload=b"" if is_too_large else poison.value,
        payload_withheld=is_too_large,
        payload_bytes=len(poison.value),
        event_count=poison.event_count,
        origin_topic=bounds.topic,
        origin_partition=bounds.partition,
        origin_offset=poison.offset,
    )
    return OutRecord(EVENTS_REJECTED.name, poison.project_id.encode(), record.SerializeToString())
