"""What every flow does with streams: split off what is refused, count, key.

In: Bytewax streams. Out: Bytewax streams. A refused item is data, not an exception, and it cannot
be forgotten: `split_rejected` asks for the sink of the refused before it gives out the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream
from bytewax.outputs import Sink
from prometheus_client import Counter

from connectors.kafka_log import OutRecord
from schemas.reasons import RejectReason, Stage
from schemas.topics import EVENTS_REJECTED
from schemas.v1.pipeline_pb2 import RejectedRecord

InT = TypeVar("InT")
OutT = TypeVar("OutT")

FLOW_EVENTS = Counter(
    "gosight_flow_events_total", "Events by what became of them.", ["flow", "outcome", "reason"]
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """What a stage refused: the letter to write, without the moment of writing."""

    letter: RejectedRecord

    def record(self, now_ms: int) -> OutRecord:
        """The dead letter as a record, keyed by project."""
        letter = RejectedRecord()
        letter.CopyFrom(self.letter)
        letter.rejected_at_ms = now_ms
        return OutRecord(
            EVENTS_REJECTED.name, letter.project_id.encode(), letter.SerializeToString()
        )


@dataclass(frozen=True, slots=True)
class Accepted(Generic[OutT]):
    """What a stage let through."""

    item: OutT


Parsed = Accepted[OutT] | Rejected


def rejected(
    stage: Stage, reason: RejectReason, payload: bytes, *, detail: str = "", event_count: int = 1
) -> Rejected:
    """A refused record with its original bytes; add what is known of its origin to the letter."""
    return Rejected(
        RejectedRecord(
            stage=stage,
            reason=reason,
            detail=detail[:500],
            payload_kind="record",
            payload=payload,
            payload_bytes=len(payload),
            event_count=event_count,
        )
    )


def count_outcome(flow: str, outcome: str, reason: str, events: int) -> None:
    """Count events by what became of them; per batch, not per event."""
    FLOW_EVENTS.labels(flow, outcome, reason).inc(events)


def split_rejected(
    step_id: str,
    stream: Stream[InT],
    parse: Callable[[InT], Iterable[Parsed[OutT]]],
    rejected_sink: Sink[OutRecord],
    *,
    flow: str,
    clock_ms: Callable[[], int],
) -> Stream[OutT]:
    """Parse each item into any number of results; refused ones go to the sink, counted.

    `parse` must not raise for what an item holds. Shape: item -> accepted items, in order.
    """

    def parse_batch(items: list[InT]) -> list[Parsed[OutT]]:
        return [result for item in items for result in parse(item)]

    def accepted_of(results: list[Parsed[OutT]]) -> list[OutT]:
        return [result.item for result in results if isinstance(result, Accepted)]

    def records_of(results: list[Parsed[OutT]]) -> list[OutRecord]:
        refused = [result for result in results if isinstance(result, Rejected)]
        now_ms = clock_ms()
        for result in refused:
            count_outcome(flow, "rejected", result.letter.reason, result.letter.event_count)
        return [result.record(now_ms) for result in refused]

    parsed = op.flat_map_batch(f"{step_id}_parse", stream, parse_batch)
    letters = op.flat_map_batch(f"{step_id}_rejected", parsed, records_of)
    op.output(f"{step_id}_dead_letters", letters, rejected_sink)
    return op.flat_map_batch(f"{step_id}_accepted", parsed, accepted_of)


def key_by(step_id: str, stream: Stream[InT], key_of: Callable[[InT], str]) -> KeyedStream[InT]:
    """Key items; equal keys meet on one worker and keep their order."""
    return op.key_on(step_id, stream, key_of)
